// What sampling says of each row: Q, dS and whether the step is used (`recurrence.base.StepRule`), from delta_T and what
// the tangent recursion made of it. One program per row; a warp sums one sample.

struct Job {
  const real *last, *first, *change;  // delta_T, delta_{T-h} and its change
  const long long* exponents;         // of the latter two
  const real *q_min, *q_max, *r0;
  double *norms;                      // [4, B] of each row: |delta_T|, |delta_{T-h}|, its square, and the sample's part of dS
  double *q, *log_change, *size;
  bool *used, *degenerate;
  long long B, last_row;              // last_row: entries of `last` from one row to the next
};

constexpr int WARPS = THREADS / 32;

__device__ __forceinline__ double over_warp(double sum) {
  #pragma unroll
  for (int lanes = 16; lanes; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
  return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) judge(const Job job) {
  SHARED(sizes);  // of each warp the largest |delta_T|
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32, B = (int)job.B, count = B * U;
  const long long row = blockIdx.x;
  const real *last = job.last + row * job.last_row, *first = job.first + row * count, *change = job.change + row * count;
  real most = real(0);
  for (int i = thread; i < count; i += THREADS) {
    const real size = size_of(last[i]);
    most = size > most || size != size ? size : most;  // NaN stays
  }
  #pragma unroll
  for (int lanes = 16; lanes; lanes /= 2) {
    const real other = __shfl_xor_sync(0xffffffffu, most, lanes);
    most = other > most || other != other ? other : most;
  }
  if (lane == 0) sizes[warp] = most;
  __syncthreads();
  for (int i = 0; i < WARPS; ++i) most = sizes[i] > most || sizes[i] != sizes[i] ? sizes[i] : most;
  const int power = exponent_of(most);
  double* norms = job.norms + row * 4 * B;
  for (int b = warp; b < B; b += WARPS) {
    double above = 0.0, below = 0.0, moved = 0.0;
    for (int u = lane; u < U; u += 32) {
      // Before squaring: in float64 too a delta of 1e-170 has a square of 0.
      const double end = ldexp((double)last[b * U + u], -power), begin = first[b * U + u];
      above = fma(end, end, above);
      below = fma(begin, begin, below);
      moved = fma(begin, (double)change[b * U + u], moved);
    }
    above = over_warp(above);
    below = over_warp(below);
    moved = over_warp(moved);
    if (lane) continue;
    norms[b] = sqrt(above);
    norms[B + b] = sqrt(below);
    norms[2 * B + b] = below;
    norms[3 * B + b] = moved;
  }
  __syncthreads();
  if (warp) return;
  double above = 0.0, below = 0.0, size = 0.0, moved = 0.0, logs = 0.0;
  for (int b = lane; b < B; b += 32) {
    above += norms[b];
    below += norms[B + b];
    size += norms[2 * B + b];
    moved += norms[3 * B + b];
    if (MEAN_OF_LOGS) logs += log10(norms[b] / norms[B + b]);
  }
  above = over_warp(above);
  below = over_warp(below);
  size = over_warp(size);
  moved = over_warp(moved);
  logs = over_warp(logs);
  if (lane) return;
  const double of_two = 0.30102999566398119521, exponent = (double)job.exponents[row];
  // What the scaling took out of the ratio, as a power of ten.
  const double q = (MEAN_OF_LOGS ? logs / B : log10(above / below)) + ((double)power - exponent) * of_two;
  // dS is a product of two deltas: both were scaled, hence twice.
  const double log_change = log10(fabs(moved)) + 2.0 * exponent * of_two, relative = log10(fabs(moved) / (0.5 * size));
  const double low = job.q_min[row], high = job.q_max[row], way = UPWARDS ? moved : -moved;
  const bool in_range = q >= low && q <= high, helps = (q > high && way > 0.0) || (q < low && way < 0.0);
  // Nothing can be said of a first delta that is 0 or not finite, nor of a dS that is no number: refused, not guessed.
  const bool degenerate = !(fabs(q) < INFINITY) || moved != moved;
  // In logarithms, as |dS| itself may lie outside of float64.
  const bool large = (RELATIVE ? relative : log_change) > log10((double)job.r0[row]);
  job.q[row] = q;
  job.log_change[row] = log_change;
  job.size[row] = size;
  job.used[row] = (in_range || helps) && !large && !degenerate;
  job.degenerate[row] = degenerate;
}
