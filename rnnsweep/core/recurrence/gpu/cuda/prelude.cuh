// What the loops take from CUDA, for both types.

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

#if REAL_BYTES == 4
#define FMA fmaf
#define FREXP frexpf
#define LDEXP ldexpf
__device__ __forceinline__ real tanh_of(real x) { return tanhf(x); }
__device__ __forceinline__ real root_of(real x) { return sqrtf(x); }
__device__ __forceinline__ real exp_of(real x) { return expf(x); }
__device__ __forceinline__ real log1p_of(real x) { return log1pf(x); }
__device__ __forceinline__ real size_of(real x) { return fabsf(x); }
#else
#define FMA fma
#define FREXP frexp
#define LDEXP ldexp
__device__ __forceinline__ real tanh_of(real x) { return tanh(x); }
__device__ __forceinline__ real root_of(real x) { return sqrt(x); }
__device__ __forceinline__ real exp_of(real x) { return exp(x); }
__device__ __forceinline__ real log1p_of(real x) { return log1p(x); }
__device__ __forceinline__ real size_of(real x) { return fabs(x); }
#endif

// The first step that is any own one of a tile of samples from `start` on; `each`: lengths of all sequences, not of rows.
__device__ __forceinline__ int first_step(const long long* lengths, bool each, long long row, int start, int items, int B, int T) {
  if (!each) return T - (int)lengths[row];
  int begins = T;
  for (int b = start; b < start + items && b < B; ++b) {
    const int at = T - (int)lengths[row * B + b];
    begins = at < begins ? at : begins;
  }
  return begins;
}

#ifndef SHARED  // the tests' stand-in for a device has its own
#define SHARED(name) extern __shared__ __align__(16) real name[]
#endif

// e with size = m 2^e, 1/2 <= m < 1; 0 for 0 and what is not finite, as `numerics.exponent_of`. size >= 0.
__device__ __forceinline__ int exponent_of(real size) {
  int e = 0;
  if (size > real(0) && size < INFINITY) FREXP(size, &e);
  return e;
}

// x 2^power, exact unless the result leaves the range: two factors, since one could overflow where the product does not.
__device__ __forceinline__ real scaled(real x, int power) {
  const int half = power >> 1;
  return x * LDEXP(real(1), half) * LDEXP(real(1), power - half);
}

#ifndef EMULATED
// Copies from memory into shared memory that go on beside the program, in groups.
__device__ __forceinline__ void copy_beside(real* to, const real* from, int bytes) {
  const unsigned place = (unsigned)__cvta_generic_to_shared(to);
  if (bytes == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(place), "l"(from));
  else if (bytes == 8) asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(place), "l"(from));
  else asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(place), "l"(from));
}
#define COPY(to, from, count) copy_beside(to, from, (count) * REAL_BYTES)
#define COPIES_END() asm volatile("cp.async.commit_group;")
#define COPIES_WAIT(groups) asm volatile("cp.async.wait_group %0;" ::"n"(groups))
#endif
