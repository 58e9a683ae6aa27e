// The tangent recursion of the simple cell: delta_{T-h} and its change under w_rec + step (docs/maths.md#sampling).
//
// Per step W delta, and W ddelta + S delta: one pass over both matrices and both vectors, which reads each number from
// shared memory once. Where the trace has the same delta (KNOWN: nothing came in after delta_T, and nothing was cut off)
// and its size is far from the type's ends, it is read instead of W delta; from the first step on where it is not, it is
// made here to the end. Both deltas are brought to max|delta| in [1/2, 1) before every step by an exact power of two. As a
// product is linear, the power is taken off the product's result: finding the maximum and multiplying go on side by side.

struct Job {
  const real *h, *kept, *delta, *total, *w_rec, *step, *own;  // delta: of all steps, of which the last counts if not KNOWN
  const long long* horizon;
  real *out, *change, *scratch;
  long long *exponents;
  long long T, B, w_rec_row, step_row;  // entries from one row to the next
};

typedef Product<U, U, COLUMNS, SLICES, STRIDE, ITEMS, WIDTH> Out;
constexpr int OUT = U;
constexpr int GROUPS = (ITEMS + TOGETHER - 1) / TOGETHER;  // of samples that a thread takes at a time
constexpr int TURNS = (U * GROUPS + THREADS - 1) / THREADS;
constexpr int MATRIX = Out::ROWS * STRIDE, VECTORS = Out::ROWS * WIDTH;
constexpr int SUMS = up(ITEMS * OUT, LANE);
constexpr real SMALLEST = REAL_BYTES == 4 ? real(8e-25) : real(1e-270);  // 2^-80, 2^-900: small entries have all digits

// W delta into `sums`, W ddelta + S delta behind it. Both at once take twice as many registers as one after the other.
template <bool OF_DELTA, bool OF_CHANGE>
__device__ __forceinline__ void products(int thread, const real* turned, const real* turned_step, const real* deltas, real* sums) {
  const int lane = thread % 32, warp = thread / 32;
  if (warp >= Out::WARPS) return;
  // as `Product::run`: more columns than warps, the same warps again
  for (int base = warp * Out::OF_WARP; base < Out::GROUPS; base += Out::WARPS * Out::OF_WARP) {
    const int slice = lane / Out::OF_WARP, group = base + lane % Out::OF_WARP;
    const int first = slice * STRIDE + (group < Out::GROUPS ? group : 0) * Out::EACH;
    const real *w = turned + first, *s = turned_step + first, *v = deltas + slice * WIDTH;
    real sum[COLUMNS][ITEMS], change[COLUMNS][ITEMS];
    Out::clear(sum);
    Out::clear(change);
    #pragma unroll UNROLL
    for (int i = 0; i < Out::OF_SLICE; ++i) {
      real weight[Out::PARTS * Out::EACH], item[up(ITEMS, LANE)], more[Out::PARTS * Out::EACH], moved[up(ITEMS, LANE)];
      Out::weights(w, weight);
      read(v, item, ITEMS);
      if (OF_DELTA) Out::add(weight, item, sum);
      if (OF_CHANGE) {
        read(v + VECTORS, moved, ITEMS);
        Out::add(weight, moved, change);
        Out::weights(s, more);
        Out::add(more, item, change);
      }
      w += SLICES * STRIDE;
      s += SLICES * STRIDE;
      v += SLICES * WIDTH;
    }
    if (OF_DELTA) Out::write(slice, group, sum, sums, OUT);
    if (OF_CHANGE) Out::write(slice, group, change, sums + SUMS, OUT);
  }
}

__device__ __forceinline__ real larger(real x, real most) {
  const real size = size_of(x);
  return size > most || size != size ? size : most;
}

// The largest entry of the program's threads; NaN stays.
__device__ __forceinline__ real largest(int thread, real most, real* sizes) {
  #pragma unroll
  for (int lanes = 16; lanes; lanes /= 2) {
    const real other = __shfl_xor_sync(0xffffffffu, most, lanes);
    most = other > most || other != other ? other : most;
  }
  if (thread % 32 == 0) sizes[thread / 32] = most;
  __syncthreads();
  for (int warp = 0; warp < THREADS / 32; ++warp) most = sizes[warp] > most || sizes[warp] != sizes[warp] ? sizes[warp] : most;
  return most;
}

extern "C" __global__ void __launch_bounds__(THREADS, PROGRAMS) tangent(const Job job) {
  SHARED(memory);
  const int thread = threadIdx.x, T = (int)job.T, B = (int)job.B;
  const long long row = blockIdx.x, tile = row * gridDim.y + blockIdx.y;
  const int start = blockIdx.y * ITEMS;
  real* deltas = memory;              // [K, WIDTH] each
  real* changes = deltas + VECTORS;
  real* sums = changes + VECTORS;     // of delta, and of its change
  real* sizes = sums + 2 * SUMS;      // of each warp the largest |delta|
  real* turned = RESIDENT ? sizes + 32 : job.scratch + tile * 2 * MATRIX;
  real* turned_step = turned + MATRIX;
  const int size = B * U, horizon = (int)job.horizon[row];
  const real* own = job.own + row * (OWN * U);

  // Lanes bring four columns by eight k at a time: whole sectors of memory, and every bank once.
  static_assert(COLUMNS % 4 == 0, "columns come in fours");
  constexpr int EIGHTS = up(Out::ROWS, 8) / 8;
  #pragma unroll 4
  for (int i = thread; i < Out::PLACES * EIGHTS * 8; i += THREADS) {
    const int n = i / 32 / EIGHTS * 4 + i % 4, k = i / 32 % EIGHTS * 8 + i / 4 % 8, to = Out::place(k, n);
    const real *from = job.w_rec + row * job.w_rec_row + n * U + k, *from_step = job.step + row * job.step_row + n * U + k;
    if (k >= Out::ROWS) continue;
    if (n >= U || k >= U) turned[to] = turned_step[to] = real(0);
    else if (RESIDENT) {  // without waiting for each
      COPY(turned + to, from, 1);
      COPY(turned_step + to, from_step, 1);
    } else {
      turned[to] = *from;
      turned_step[to] = *from_step;
    }
  }
  COPIES_END();
  for (int i = thread; i < 2 * VECTORS; i += THREADS) deltas[i] = real(0);

  real d[TURNS][TOGETHER], dd[TURNS][TOGETHER], g[TURNS][TOGETHER], dg[TURNS][TOGETHER];
  real next[TURNS][TOGETHER], ahead[TURNS][TOGETHER];  // deltas of the trace, one and two steps on
  real keep[TURNS][TOGETHER][1], after[TURNS][TOGETHER][1], mine[TURNS][OWN ? OWN : 1];
  bool on[TURNS][TOGETHER];
  int at[TURNS], entry[TURNS];  // in the vectors, and of a step's entries in memory
  #pragma unroll
  for (int turn = 0; turn < TURNS; ++turn) {
    const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U);
    at[turn] = u * WIDTH + item;
    entry[turn] = (start + item) * U + u;
    #pragma unroll
    for (int i = 0; i < OWN; ++i) mine[turn][i] = place < U * GROUPS ? own[i * U + u] : real(0);
    #pragma unroll
    for (int j = 0; j < TOGETHER; ++j) {
      on[turn][j] = place < U * GROUPS && item + j < ITEMS && start + item + j < B;
      d[turn][j] = on[turn][j] ? job.delta[(row * T + T - 1) * size + entry[turn] + j * U] : real(0);
      ahead[turn][j] = KNOWN && on[turn][j] && horizon > 0 ? job.delta[(row * T + T - 2) * size + entry[turn] + j * U] : real(0);
      next[turn][j] = real(0);
      g[turn][j] = LEAKY && on[turn][j] && job.total ? job.total[row * size + entry[turn] + j * U] : real(0);
      dd[turn][j] = dg[turn][j] = keep[turn][j][0] = after[turn][j][0] = real(0);
    }
  }
  COPIES_WAIT(0);
  __syncthreads();

  bool known = KNOWN;
  int coming = 0;  // of known deltas the exponent at hand
  if (KNOWN) {
    real most = real(0);
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) most = larger(d[turn][j], most);
    coming = exponent_of(largest(thread, most, sizes));
    __syncthreads();
  }
  const real* deltas_known = job.delta + (row * T + T - 2) * size;
  const real* states = job.h + (row * (T + 1) + T) * size;  // after the step that the recursion goes through
  const real* slopes = job.kept + (row * T + T - 1) * size * KEPT;
  long long exponent = 0;
  for (int back = 1; back <= horizon; ++back) {
    states -= size;
    slopes -= size * KEPT;
    deltas_known -= size;
    real most = real(0);
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) {
        if (KNOWN) next[turn][j] = ahead[turn][j];
        most = larger(known ? next[turn][j] : d[turn][j], most);
        if (!on[turn][j]) continue;
        deltas[at[turn] + j] = d[turn][j];
        changes[at[turn] + j] = dd[turn][j];
        // what is wanted after the products is on its way while they are made
        after[turn][j][0] = states[entry[turn] + j * U];
        if (KEPT) keep[turn][j][0] = slopes[entry[turn] + j * U];
        if (KNOWN && known && back < horizon) ahead[turn][j] = deltas_known[entry[turn] + j * U];
      }
    most = largest(thread, most, sizes);
    const int power = KNOWN && known ? coming : exponent_of(most);
    exponent += power;
    known = KNOWN && known && most >= SMALLEST && most < INFINITY;
    if (known) coming = exponent_of(most) - (int)exponent;
    // two factors, as of `scaled`
    const real first = LDEXP(real(1), -power >> 1), second = LDEXP(real(1), -power - (-power >> 1));
    if (KNOWN && known) products<false, true>(thread, turned, turned_step, deltas, sums);
    else if (AT_ONCE) products<true, true>(thread, turned, turned_step, deltas, sums);
    else {
      products<true, false>(thread, turned, turned_step, deltas, sums);
      products<false, true>(thread, turned, turned_step, deltas, sums);
    }
    __syncthreads();
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) {
        const int from = on[turn][j] ? entry[turn] - start * U + j * OUT : 0;
        // What goes past the step is that of the same step's g: brought to the scale of this step's products.
        const real more = LEAKY ? past_of(mine[turn], g[turn][j] * first * second) : real(0);
        const real more_change = LEAKY ? past_of(mine[turn], dg[turn][j] * first * second) : real(0);
        g[turn][j] = sums[from] * first * second + more;
        dg[turn][j] = sums[SUMS + from] * first * second + more_change;
      }
    if (PAIRED) {  // pairs exchange their errors
      __syncthreads();
      #pragma unroll
      for (int turn = 0; turn < TURNS; ++turn)
        #pragma unroll
        for (int j = 0; j < TOGETHER; ++j) {
          if (!on[turn][j]) continue;
          sums[entry[turn] - start * U + j * OUT] = g[turn][j];
          sums[SUMS + entry[turn] - start * U + j * OUT] = dg[turn][j];
        }
      __syncthreads();
    }
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) {
        real none[1], error[1], past[1], seen[2] = {g[turn][j], real(0)}, moved[2] = {dg[turn][j], real(0)};
        const real before[1] = {real(0)};  // read by gradients of parameters only
        if (PAIRED) {
          const int other = on[turn][j] ? (entry[turn] - start * U + j * OUT) ^ 1 : 0;
          seen[1] = sums[other];
          moved[1] = sums[SUMS + other];
        }
        pull_of(keep[turn][j], before, after[turn][j], mine[turn], seen, error, past, none);
        d[turn][j] = on[turn][j] ? (KNOWN && known ? scaled(next[turn][j], -(int)exponent) : error[0]) : real(0);
        pull_of(keep[turn][j], before, after[turn][j], mine[turn], moved, error, past, none);
        dd[turn][j] = on[turn][j] ? error[0] : real(0);
      }
  }
  #pragma unroll
  for (int turn = 0; turn < TURNS; ++turn)
    #pragma unroll
    for (int j = 0; j < TOGETHER; ++j) {
      if (!on[turn][j]) continue;
      job.out[row * size + entry[turn] + j * U] = d[turn][j];
      job.change[row * size + entry[turn] + j * U] = dd[turn][j];
    }
  if (thread == 0) job.exponents[tile] = exponent;
}
