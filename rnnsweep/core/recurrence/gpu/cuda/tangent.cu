// The tangent recursion of the simple cell: delta_{T-h} and its change under w_rec + step (docs/maths.md#sampling).
//
// Three products per step, W delta, W ddelta and S delta, by three groups of warps at once, or one after another. Both deltas are brought to
// max|delta| in [1/2, 1) before every step by an exact power of two. As a product is linear, the power is taken off the
// product's result: finding the maximum and multiplying then go on side by side.

struct Job {
  const real *h, *kept, *delta, *total, *w_rec, *step, *own;
  const long long* horizon;
  real *out, *change, *scratch;
  long long *exponents;
  long long T, B, w_rec_row;
};

typedef Product<U, U, COLUMNS, SLICES, STRIDE, ITEMS, WIDTH> Out;
constexpr int OUT = U;
constexpr int GROUPS = (ITEMS + TOGETHER - 1) / TOGETHER;  // of samples that a thread takes at a time
constexpr int TURNS = (U * GROUPS + THREADS - 1) / THREADS;
constexpr int MATRIX = Out::ROWS * STRIDE, VECTORS = Out::ROWS * WIDTH;
constexpr int SUMS = up(ITEMS * OUT, LANE), OTHERS = APART ? THREADS / 3 : 0;

extern "C" __global__ void __launch_bounds__(THREADS, PROGRAMS) tangent(const Job job) {
  SHARED(memory);
  const int thread = threadIdx.x, T = (int)job.T, B = (int)job.B;
  const long long row = blockIdx.x, tile = row * gridDim.y + blockIdx.y;
  const int start = blockIdx.y * ITEMS;
  real* deltas = memory;            // [K, WIDTH] each
  real* changes = deltas + VECTORS;
  real* sums = changes + VECTORS;   // W delta, W ddelta, S delta
  real* sizes = sums + 3 * SUMS;    // of each warp the largest |delta|
  real* turned = RESIDENT ? sizes + 32 : job.scratch + tile * 2 * MATRIX;
  real* turned_step = turned + MATRIX;
  const long long size = (long long)B * U;
  const real* h = job.h + row * (T + 1) * size;
  const real* kept = job.kept + row * T * size * KEPT;
  const real* own = job.own + row * (OWN * U);
  const int horizon = (int)job.horizon[row];

  for (int i = thread; i < Out::PLACES * Out::ROWS; i += THREADS) {
    const int n = i / Out::ROWS, k = i % Out::ROWS;
    const bool in = n < U && k < U;
    turned[Out::place(k, n)] = in ? job.w_rec[row * job.w_rec_row + n * U + k] : real(0);
    turned_step[Out::place(k, n)] = in ? job.step[(row * U + n) * U + k] : real(0);
  }
  for (int i = thread; i < 2 * VECTORS; i += THREADS) deltas[i] = real(0);
  __syncthreads();
  real d[TURNS][TOGETHER], dd[TURNS][TOGETHER], g[TURNS][TOGETHER], dg[TURNS][TOGETHER];
  #pragma unroll
  for (int turn = 0; turn < TURNS; ++turn)
    #pragma unroll
    for (int j = 0; j < TOGETHER; ++j) {
      const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U), b = start + item + j;
      const bool on = place < U * GROUPS && item + j < ITEMS && b < B;
      d[turn][j] = on ? job.delta[(row * B + b) * U + u] : real(0);
      g[turn][j] = on && job.total ? job.total[(row * B + b) * U + u] : real(0);
      dd[turn][j] = dg[turn][j] = real(0);
    }
  long long exponent = 0;
  for (int back = 1; back <= horizon; ++back) {
    const int t = T - 1 - back;
    real most = real(0);
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) {
        const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U);
        const real size_here = size_of(d[turn][j]);
        most = size_here > most || size_here != size_here ? size_here : most;  // NaN stays
        if (place < U * GROUPS && item + j < ITEMS) {
          deltas[u * WIDTH + item + j] = d[turn][j];
          changes[u * WIDTH + item + j] = dd[turn][j];
        }
      }
    for (int lanes = 16; lanes; lanes /= 2) {
      const real other = __shfl_xor_sync(0xffffffffu, most, lanes);
      most = other > most || other != other ? other : most;
    }
    if (thread % 32 == 0) sizes[thread / 32] = most;
    __syncthreads();
    for (int warp = 0; warp < THREADS / 32; ++warp) most = sizes[warp] > most || sizes[warp] != sizes[warp] ? sizes[warp] : most;
    const int power = exponent_of(most);
    exponent += power;
    Out::run(thread, turned, deltas, sums, OUT);
    Out::run(thread - OTHERS, turned, changes, sums + SUMS, OUT);
    Out::run(thread - 2 * OTHERS, turned_step, deltas, sums + 2 * SUMS, OUT);
    __syncthreads();
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) {
        const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U), b = start + item + j;
        if (place >= U * GROUPS || item + j >= ITEMS || b >= B) break;
        const int at = (item + j) * OUT + u;
        real mine[OWN ? OWN : 1], keep[KEPT ? KEPT : 1], before[1], after[1], none[1], error[1], past[1], seen[2];
        #pragma unroll
        for (int i = 0; i < OWN; ++i) mine[i] = own[i * U + u];
        #pragma unroll
        for (int i = 0; i < KEPT; ++i) keep[i] = kept[t * size + (long long)b * U + u];
        before[0] = h[t * size + (long long)b * U + u];
        after[0] = h[(t + 1) * size + (long long)b * U + u];
        // What goes past the step is that of the same step's g: brought to the scale of this step's products.
        const real more = LEAKY ? past_of(mine, scaled(g[turn][j], -power)) : real(0);
        const real more_change = LEAKY ? past_of(mine, scaled(dg[turn][j], -power)) : real(0);
        g[turn][j] = scaled(sums[at], -power) + more;
        dg[turn][j] = scaled(sums[SUMS + at] + sums[2 * SUMS + at], -power) + more_change;
        if (PAIRED) continue;
        seen[0] = g[turn][j];
        pull_of(keep, before, after, mine, seen, error, past, none);
        d[turn][j] = error[0];
        seen[0] = dg[turn][j];
        pull_of(keep, before, after, mine, seen, error, past, none);
        dd[turn][j] = error[0];
      }
    if (PAIRED) {  // pairs exchange their errors
      __syncthreads();
      #pragma unroll
      for (int turn = 0; turn < TURNS; ++turn)
        #pragma unroll
        for (int j = 0; j < TOGETHER; ++j) {
          const int place = thread + turn * THREADS, item = TOGETHER * (place / U);
          if (place >= U * GROUPS || item + j >= ITEMS) break;
          sums[(item + j) * OUT + place % U] = g[turn][j];
          sums[SUMS + (item + j) * OUT + place % U] = dg[turn][j];
        }
      __syncthreads();
      #pragma unroll
      for (int turn = 0; turn < TURNS; ++turn)
        #pragma unroll
        for (int j = 0; j < TOGETHER; ++j) {
          const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U), b = start + item + j;
          if (place >= U * GROUPS || item + j >= ITEMS || b >= B) break;
          real mine[OWN ? OWN : 1], keep[1], state[1], none[1], error[1], past[1], seen[2];
          for (int i = 0; i < OWN; ++i) mine[i] = own[i * U + u];
          keep[0] = kept[t * size + (long long)b * U + u];
          state[0] = real(0);  // the slope is kept
          seen[0] = g[turn][j];
          seen[1] = sums[(item + j) * OUT + (u ^ 1)];
          pull_of(keep, state, state, mine, seen, error, past, none);
          d[turn][j] = error[0];
          seen[0] = dg[turn][j];
          seen[1] = sums[SUMS + (item + j) * OUT + (u ^ 1)];
          pull_of(keep, state, state, mine, seen, error, past, none);
          dd[turn][j] = error[0];
        }
    }
  }
  #pragma unroll
  for (int turn = 0; turn < TURNS; ++turn)
    #pragma unroll
    for (int j = 0; j < TOGETHER; ++j) {
      const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U), b = start + item + j;
      if (place >= U * GROUPS || item + j >= ITEMS || b >= B) break;
      job.out[(row * B + b) * U + u] = d[turn][j];
      job.change[(row * B + b) * U + u] = dd[turn][j];
    }
  if (thread == 0) job.exponents[tile] = exponent;
}
