// The backward loop of a cell: see forward.cu for how it is cut. Per step: the cell's formulas take the error g of the
// state to that of x and to what goes past x to the state before; then all threads form the product of x's errors with the
// transposed w_rec, which comes on top. Gradients of weights are sums over all steps that are formed afterwards.

struct Job {
  const real *h, *kept, *last, *steps, *w_rec, *own, *second;
  const long long* lengths;
  real *dx, *back, *down, *dh0, *scratch;
  long long T, B, given, each, w_rec_row;
};

constexpr int K = PRODUCT * U;
constexpr int N = READ * U;
typedef Product<K ? K : 1, N ? N : 1, COLUMNS, SLICES, STRIDE, ITEMS, WIDTH> Out;
constexpr int OUT = N, BLOCKS = INPUTS + SECOND;
typedef Product<U, U, SECOND_COLUMNS, SECOND_SLICES, SECOND_STRIDE, ITEMS, SECOND_WIDTH> Through;  // the cell's own matrix
constexpr int MATRIX = Out::ROWS * STRIDE, VECTORS = Out::ROWS * WIDTH;
constexpr int SECOND_MATRIX = Through::ROWS * SECOND_STRIDE, SECOND_VECTORS = Through::ROWS * SECOND_WIDTH;

extern "C" __global__ void __launch_bounds__(THREADS, PROGRAMS) backward(const Job job) {
  SHARED(memory);
  const int thread = threadIdx.x, T = (int)job.T, B = (int)job.B;
  const int turn_of_warps = blockIdx.x / MULTIPROCESSORS;  // programs of one multiprocessor begin so far apart
  const long long row = blockIdx.x, tile = row * gridDim.y + blockIdx.y;
  real* vectors = memory;
  real* sums = vectors + (N ? VECTORS : 0);
  real* reads = sums + (N ? up(ITEMS * OUT, LANE) : 0);  // errors of what the cell's own matrix made, and of what it read
  real* found = reads + (SECOND ? SECOND_VECTORS : 0);
  real* matrix = RESIDENT ? found + (SECOND ? up(ITEMS * U, LANE) : 0) : job.scratch + tile * (MATRIX + SECOND * SECOND_MATRIX);
  real* second = matrix + MATRIX;
  const int start = blockIdx.y * ITEMS;
  const long long size = (long long)B * U * STATES;
  const real* h = job.h + row * (T + 1) * size;
  const real* kept = job.kept + row * T * (long long)B * (KEPT * U);
  const real* own = job.own + row * (OWN * U);
  real* dx = job.dx + row * T * (long long)B * (BLOCKS * U);
  real* back = job.back ? job.back + row * T * size : nullptr;
  const long long given = (long long)B * job.given;  // of one step's direct part
  const real* steps = job.steps + (STEPS ? row * T * given : 0);

  const int begins = first_step(job.lengths, job.each, row, start, ITEMS, B, T);
  if (N) {
    for (int i = thread; i < Out::PLACES * Out::ROWS; i += THREADS) {
      const int n = i / Out::ROWS, k = i % Out::ROWS;  // along the rows of w_rec, as they lie in memory
      matrix[Out::place(k, n)] = n < N && k < K ? job.w_rec[row * job.w_rec_row + n * K + k] : real(0);
    }
    for (int i = thread; i < VECTORS; i += THREADS) vectors[i] = real(0);
  }
  if (SECOND) {
    for (int i = thread; i < Through::ROWS * Through::PLACES; i += THREADS) {
      const int k = i / Through::PLACES, n = i % Through::PLACES;
      second[Through::place(k, n)] = n < U && k < U ? job.second[row * U * U + (TURNED ? k * U + n : n * U + k)] : real(0);
    }
    for (int i = thread; i < SECOND_VECTORS; i += THREADS) reads[i] = real(0);
  }
  real g[TURNS][TOGETHER][STATES], before[TURNS][TOGETHER][STATES], after[TURNS][TOGETHER][STATES], keep[TURNS][TOGETHER][KEPT ? KEPT : 1];
  real direct[STEPS ? TURNS : 1][STEPS ? TOGETHER : 1][STATES], down[TURNS][TOGETHER][DOWN ? DOWN : 1], errors[SECOND ? TURNS : 1][SECOND ? TOGETHER : 1][BLOCKS];
  Starts starts;
  auto ask = [&](int t) {  // what step index t wants from memory
    const real* h_now = h + t * size;
    const real* kept_now = kept + (long long)t * B * (KEPT * U);
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) {
        const int place = thread + turn * THREADS, u = place % U, b = start + TOGETHER * (place / U) + j;
        const bool on = starts.own(thread, turn, j, t);
        #pragma unroll
        for (int s = 0; s < STATES; ++s) {
          before[turn][j][s] = on ? h_now[b * (U * STATES) + s * U + u] : real(0);
          if (STEPS) direct[turn][j][s] = on && s * U + u < job.given ? steps[t * given + b * job.given + s * U + u] : real(0);
        }
        #pragma unroll
        for (int s = 0; s < KEPT; ++s) keep[turn][j][s] = on ? kept_now[b * (KEPT * U) + s * U + u] : real(0);
      }
  };
  #pragma unroll
  for (int turn = 0; turn < TURNS; ++turn) {
    const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U);
    #pragma unroll
    for (int j = 0; j < TOGETHER; ++j) {
      const int b = start + item + j;
      #pragma unroll
      for (int i = 0; i < DOWN; ++i) down[turn][j][i] = real(0);
      const bool on = place < U * GROUPS && item + j < ITEMS && b < B;
      starts.set(turn, j, on ? (job.each ? T - (int)job.lengths[row * B + b] : begins) : T);
      #pragma unroll
      for (int s = 0; s < STATES; ++s) {
        const int k = s * U + u;
        after[turn][j][s] = on ? h[T * size + (long long)b * (U * STATES) + k] : real(0);
        g[turn][j][s] = on && !STEPS && k < job.given ? job.last[(row * B + b) * job.given + k] : real(0);
      }
    }
  }
  ask(T - 1);
  __syncthreads();

  for (int t = T - 1; t >= begins; --t) {
    real* dx_now = dx + (long long)t * B * (BLOCKS * U);
    auto leave = [&](int turn, int j, const real* errors) {  // for the product, and for the gradients of weights
      const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U) + j, b = start + item;
      #pragma unroll
      for (int i = 0; i < BLOCKS; ++i) {
        if (item < ITEMS && (ALIKE || b < B)) dx_now[b * (BLOCKS * U) + i * U + u] = errors[i];
        if (N && i < PRODUCT && item < ITEMS) vectors[(i * U + u) * WIDTH + item] = errors[i];
      }
      #pragma unroll
      for (int s = 0; s < STATES; ++s) after[turn][j][s] = before[turn][j][s];
    };
    if (PAIRED) {  // errors of the pairs' other halves
      __syncthreads();
      #pragma unroll
      for (int turn = 0; turn < TURNS; ++turn) {
        const int place = thread + turn * THREADS, item = TOGETHER * (place / U);
        #pragma unroll
        for (int j = 0; j < TOGETHER; ++j)
          if (place < U * GROUPS && item + j < ITEMS) sums[(item + j) * OUT + place % U] = g[turn][j][0] + (STEPS ? direct[turn][j][0] : real(0));
      }
      __syncthreads();
    }
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
      const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U);
      if (TURNS * THREADS > U * GROUPS && place >= U * GROUPS) break;
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) {
        real mine[OWN ? OWN : 1], past[STATES], parts[DOWN ? DOWN : 1], seen[STATES + PAIRED];
        #pragma unroll
        for (int i = 0; i < OWN; ++i) mine[i] = own[i * U + u];
        #pragma unroll
        for (int s = 0; s < STATES; ++s) seen[s] = g[turn][j][s] += STEPS ? direct[turn][j][s] : real(0);
        if (PAIRED) seen[STATES] = sums[(item + j < ITEMS ? item + j : 0) * OUT + (u ^ 1)];
        real(&error)[BLOCKS] = errors[SECOND ? turn : 0][SECOND ? j : 0];
        pull_of(keep[turn][j], before[turn][j], after[turn][j], mine, seen, error, past, parts);
        const bool on = starts.own(thread, turn, j, t);
        #pragma unroll
        for (int i = 0; i < BLOCKS; ++i) error[i] = on ? error[i] : real(0);
        #pragma unroll
        for (int s = 0; s < STATES; ++s) g[turn][j][s] = on ? past[s] : g[turn][j][s];
        #pragma unroll
        for (int i = 0; i < DOWN; ++i) down[turn][j][i] += on ? parts[i] : real(0);
        if (!SECOND) leave(turn, j, error);
        else if (item + j < ITEMS) reads[u * SECOND_WIDTH + item + j] = error[BLOCKS - 1];
      }
    }
    if (SECOND) {  // what came through the cell's own matrix
      __syncthreads();
      Through::run(thread, second, reads, found, U, turn_of_warps);
      __syncthreads();
      #pragma unroll
      for (int turn = 0; turn < TURNS; ++turn)
        #pragma unroll
        for (int j = 0; j < TOGETHER; ++j) {
          const int place = thread + turn * THREADS, at = TOGETHER * (place / U) + j;
          if (place >= U * GROUPS || at >= ITEMS) break;
          real more[INPUTS], past[STATES], mine[OWN ? OWN : 1];
          #pragma unroll
          for (int i = 0; i < OWN; ++i) mine[i] = own[i * U + place % U];
          pull_read_of(keep[turn][j], before[turn][j], mine, found[at * U + place % U], more, past);
          const bool on = starts.own(thread, turn, j, t);
          #pragma unroll
          for (int i = 0; i < INPUTS; ++i) errors[SECOND ? turn : 0][SECOND ? j : 0][i] += on ? more[i] : real(0);
          #pragma unroll
          for (int s = 0; s < STATES; ++s) g[turn][j][s] += on ? past[s] : real(0);
          leave(turn, j, errors[SECOND ? turn : 0][SECOND ? j : 0]);
        }
    }
    if (t > begins) ask(t - 1);
    if (N) {
      __syncthreads();
      Out::run(thread, matrix, vectors, sums, OUT, turn_of_warps);
      __syncthreads();
    }
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
      const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U);
      if (TURNS * THREADS > U * GROUPS && place >= U * GROUPS) break;
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) {
        const int b = start + item + j;
        if (item + j >= ITEMS || (!ALIKE && b >= B)) break;
        #pragma unroll
        for (int s = 0; s < STATES; ++s) {
          if (N && s < READ && starts.own(thread, turn, j, t)) g[turn][j][s] += sums[(item + j) * OUT + s * U + u];
          if (back) back[t * size + b * (U * STATES) + s * U + u] = g[turn][j][s];
        }
      }
    }
  }
  #pragma unroll
  for (int turn = 0; turn < TURNS; ++turn)
    #pragma unroll
    for (int j = 0; j < TOGETHER; ++j) {
      const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U) + j, b = start + item;
      if (place >= U * GROUPS || item >= ITEMS || b >= B) break;
      // Steps before any sequence began hand the error on.
      for (int t = 0; t < begins; ++t) {
        for (int i = 0; i < BLOCKS; ++i) dx[((long long)t * B + b) * (BLOCKS * U) + i * U + u] = real(0);
        if (back) for (int s = 0; s < STATES; ++s) back[t * size + (long long)b * (U * STATES) + s * U + u] = g[turn][j][s];
      }
      // Each sample's own: how samples are spread over programs changes no sum.
      #pragma unroll
      for (int i = 0; i < DOWN; ++i) job.down[((row * B + b) * DOWN + i) * U + u] = down[turn][j][i];
      if (job.dh0)
        #pragma unroll
        for (int s = 0; s < STATES; ++s) job.dh0[((row * B + b) * STATES + s) * U + u] = g[turn][j][s];
    }
}
