// The term `NormRatio` of one row: squared norms of the errors that steps hand back (x) and get (g), what they add to the
// term, and the weight of each sample's x (x) delta in its gradient.
//
// One program per row. A warp sums one sample's squares, four samples at a time; what follows is a thread per sample.

struct Job {
  const real *x, *last, *steps;
  const long long* lengths;
  const bool* rows;  // that want the term; others get 0
  real *norms, *weights, *value, *share;  // norms: [2, T, B] of each row
  double bound;
  long long T, B, each;
};

constexpr int WARPS = THREADS / 32, AT_A_TIME = 4;

__device__ __forceinline__ real over_warp(real sum) {
  #pragma unroll
  for (int lanes = 16; lanes; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
  return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) norm_ratio(const Job job) {
  SHARED(memory);
  double* parts = reinterpret_cast<double*>(memory);  // of each warp: the term, and how many samples are active
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32, T = (int)job.T, B = (int)job.B, count = T * B;
  const long long row = blockIdx.x;
  if (!job.rows[row]) {
    if (thread == 0) job.value[row] = job.share[row] = real(0);
    return;
  }
  const real* x = job.x + row * count * U;
  const real* last = STEPS ? nullptr : job.last + row * B * U;
  const real* steps = STEPS ? job.steps + row * count * U : nullptr;
  real* above = job.norms + row * 2 * count;  // |x|^2
  real* below = above + count;                // |g|^2
  for (int first = warp * AT_A_TIME; first < count; first += WARPS * AT_A_TIME) {
    real xx[AT_A_TIME], gg[AT_A_TIME];
    #pragma unroll
    for (int j = 0; j < AT_A_TIME; ++j) xx[j] = gg[j] = real(0);
    #pragma unroll 4
    for (int u = lane; u < U; u += 32)
      #pragma unroll
      for (int j = 0; j < AT_A_TIME; ++j) {
        const int sample = first + j;
        if (sample >= count) continue;
        const real mine = x[sample * U + u];
        xx[j] = FMA(mine, mine, xx[j]);
        if (STEPS) {  // what came from the step after, and the step's own
          const real g = (sample + B < count ? x[(sample + B) * U + u] : real(0)) + steps[sample * U + u];
          gg[j] = FMA(g, g, gg[j]);
        }
      }
    #pragma unroll
    for (int j = 0; j < AT_A_TIME; ++j) {
      const int sample = first + j;
      const real size = over_warp(xx[j]), total = STEPS ? over_warp(gg[j]) : real(0);
      if (lane || sample >= count) continue;
      above[sample] = size;
      if (STEPS) below[sample] = total;
      else if (sample >= B) below[sample - B] = size;  // g_t is x_{t+1}
    }
  }
  if (!STEPS)
    for (int b = warp; b < B; b += WARPS) {
      real gg = real(0);
      for (int u = lane; u < U; u += 32) gg = FMA(last[b * U + u], last[b * U + u], gg);
      gg = over_warp(gg);
      if (lane == 0) below[count - B + b] = gg;
    }
  __syncthreads();

  // In float64 whatever the loop's type: the sum runs over all steps and samples of a row.
  auto look = [&](int sample, double& term, double& slope) {
    const double g = below[sample];
    const int begins = T - (int)job.lengths[job.each ? row * B + sample % B : row];
    // NaN compares false: a sample without a norm is inactive, and cannot spoil the others.
    if (!(g >= job.bound) || sample / B < begins) return false;
    const double ratio = above[sample] / g, root = sqrt(ratio);
    const double off = (SQUARED ? ratio : root) - 1.0;
    term = off * off;
    if (SQUARED) slope = 4.0 * off / g;
    else slope = root != 0.0 ? 2.0 * (1.0 - 1.0 / root) / g : 0.0;  // of a norm at 0: 0, as everywhere in core
    return true;
  };
  double total = 0.0, active = 0.0, term, slope;
  for (int sample = thread; sample < count; sample += THREADS)
    if (look(sample, term, slope)) {
      total += term;
      active += 1.0;
    }
  #pragma unroll
  for (int lanes = 16; lanes; lanes /= 2) {
    total += __shfl_xor_sync(0xffffffffu, total, lanes);
    active += __shfl_xor_sync(0xffffffffu, active, lanes);
  }
  if (lane == 0) {
    parts[warp] = total;
    parts[WARPS + warp] = active;
  }
  __syncthreads();
  total = active = 0.0;
  for (int i = 0; i < WARPS; ++i) {
    total += parts[i];
    active += parts[WARPS + i];
  }
  // Nothing active: the term is 0, not 0 / 0.
  const double divisor = MEAN && active > 0.0 ? active : (double)B;
  for (int sample = thread; sample < count; sample += THREADS)
    job.weights[row * count + sample] = look(sample, term, slope) ? real(slope / divisor) : real(0);
  if (thread) return;
  double steps_of = 0.0;
  for (int b = 0; b < B; ++b) steps_of += (double)job.lengths[job.each ? row * B + b : row];
  job.value[row] = real(total / divisor);
  job.share[row] = real(active / steps_of);
}
