// The forward loop of a cell: all steps of one row and ITEMS of its samples in one program (row, tile of samples).
//
// Per step: x = the product of [state, inputs, 1] with [w_rec; w_in; bias], by all threads; then the cell's formulas,
// entry by entry, TOGETHER samples of a unit per turn of a thread. What comes from memory in the next step is asked for before
// the product of this one. Formulas (`step_of`) and sizes are made by `source.py`.

struct Job {
  const real *inputs, *w_rec, *w_in, *bias, *own, *h0, *second;
  const long long* lengths;
  real *h, *kept, *scratch;  // scratch: matrices that shared memory does not hold, one per program
  long long T, B, h0_width, each, w_rec_row, w_in_row, bias_row;  // *_row: entries from one row to the next
};

constexpr int K = READ * U + FUSED + BIASED;
constexpr int N = PRODUCT * U;
typedef Product<K, N ? N : 1, COLUMNS, SLICES, STRIDE, ITEMS, WIDTH> Into;
constexpr int OUT = N;
typedef Product<U, U, SECOND_COLUMNS, SECOND_SLICES, SECOND_STRIDE, ITEMS, SECOND_WIDTH> Through;  // the cell's own matrix
constexpr int ASKED = (FUSED * ITEMS + THREADS - 1) / THREADS;
constexpr int MATRIX = Into::ROWS * STRIDE, VECTORS = Into::ROWS * WIDTH;
constexpr int SECOND_MATRIX = Through::ROWS * SECOND_STRIDE, SECOND_VECTORS = Through::ROWS * SECOND_WIDTH;

// Entry (k, n) of [w_rec; w_in; bias].
__device__ real entry(const Job& job, long long row, int k, int n) {
  if (k < READ * U) return job.w_rec[row * job.w_rec_row + k * N + n];
  if (k < READ * U + FUSED) return job.w_in[row * job.w_in_row + (k - READ * U) * N + n];
  return k < K ? job.bias[row * job.bias_row + n] : real(0);
}

extern "C" __global__ void __launch_bounds__(THREADS, PROGRAMS) forward(const Job job) {
  SHARED(memory);
  const int thread = threadIdx.x, T = (int)job.T, B = (int)job.B;
  const int turn_of_warps = blockIdx.x / MULTIPROCESSORS;  // programs of one multiprocessor begin so far apart
  const long long row = blockIdx.x, tile = row * gridDim.y + blockIdx.y;
  real* vectors = memory;
  real* sums = vectors + (N ? VECTORS : 0);
  real* reads = sums + (N ? up(ITEMS * OUT, LANE) : 0);  // what the cell's own matrix reads, and what it makes of it
  real* found = reads + (SECOND ? SECOND_VECTORS : 0);
  real* matrix = RESIDENT ? found + (SECOND ? up(ITEMS * U, LANE) : 0) : job.scratch + tile * (MATRIX + SECOND * SECOND_MATRIX);
  real* second = matrix + MATRIX;
  const int start = blockIdx.y * ITEMS;
  const long long size = (long long)B * U * STATES;  // of all states of one step
  real* h = job.h + row * (T + 1) * size;
  real* kept = job.kept + row * T * (long long)B * (KEPT * U);
  const real* own = job.own + row * (OWN * U);
  const real* inputs = job.inputs + row * T * (long long)B * (FUSED ? FUSED : DRIVES * U);

  const int begins = first_step(job.lengths, job.each, row, start, ITEMS, B, T);
  if (N) {
    for (int i = thread; i < Into::ROWS * Into::PLACES; i += THREADS) {
      const int k = i / (Into::PLACES), n = i % (Into::PLACES);
      matrix[Into::place(k, n)] = n < N ? entry(job, row, k, n) : real(0);
    }
    for (int i = thread; i < VECTORS; i += THREADS) vectors[i] = real(i / WIDTH == K - 1 && BIASED ? 1 : 0);
  }
  if (SECOND) {
    for (int i = thread; i < Through::ROWS * Through::PLACES; i += THREADS) {
      const int n = i / Through::ROWS, k = i % Through::ROWS;
      second[Through::place(k, n)] = n < U && k < U ? job.second[row * U * U + (TURNED ? n * U + k : k * U + n)] : real(0);
    }
    for (int i = thread; i < SECOND_VECTORS; i += THREADS) reads[i] = real(0);
  }
  __syncthreads();

  real state[TURNS][TOGETHER][STATES];
  Starts starts;
  #pragma unroll
  for (int turn = 0; turn < TURNS; ++turn) {
    const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U);
    #pragma unroll
    for (int j = 0; j < TOGETHER; ++j) {
      const int b = start + item + j;
      const bool on = place < U * GROUPS && item + j < ITEMS && b < B;
      starts.set(turn, j, on ? (job.each ? T - (int)job.lengths[row * B + b] : begins) : T);
      #pragma unroll
      for (int s = 0; s < STATES; ++s) {
        const int k = s * U + u;
        state[turn][j][s] = on && k < job.h0_width ? job.h0[row * job.h0_width + k] : real(0);
        if (on) for (int t = 0; t <= begins; ++t) h[t * size + (long long)b * (U * STATES) + k] = state[turn][j][s];
        if (N && s < READ && on) vectors[k * WIDTH + item + j] = state[turn][j][s];
      }
      if (KEPT && on)
        for (int t = 0; t < begins; ++t)
          for (int s = 0; s < KEPT; ++s) kept[((long long)t * B + b) * (KEPT * U) + s * U + u] = real(0);
    }
  }
  real asked[ASKED ? ASKED : 1], drives[TURNS][TOGETHER][DRIVES ? DRIVES : 1], mates[TURNS][TOGETHER];
  auto ask = [&](int t) {
    #pragma unroll
    for (int i = 0; i < ASKED; ++i) {
      const int place = thread + i * THREADS, b = start + place / (FUSED ? FUSED : 1);
      asked[i] = place < FUSED * ITEMS && b < B && t < T ? inputs[((long long)t * B + start) * FUSED + place] : real(0);
    }
    if (!FUSED && DRIVES)
      #pragma unroll
      for (int turn = 0; turn < TURNS; ++turn)
        #pragma unroll
        for (int j = 0; j < TOGETHER; ++j) {
          const int place = thread + turn * THREADS, u = place % U, b = start + TOGETHER * (place / U) + j;
          #pragma unroll
          for (int d = 0; d < DRIVES; ++d)
            drives[turn][j][d] = t < T && starts.own(thread, turn, j, t) ? inputs[((long long)t * B + b) * (DRIVES * U) + d * U + u] : real(0);
          if (PAIRED) mates[turn][j] = t < T && starts.own(thread, turn, j, t) ? inputs[((long long)t * B + b) * U + (u ^ 1)] : real(0);
        }
  };
  auto enter = [&]() {  // what was asked for goes in beside the state
    #pragma unroll
    for (int i = 0; i < ASKED; ++i) {
      const int place = thread + i * THREADS;
      if (place < FUSED * ITEMS) vectors[(READ * U + place % (FUSED ? FUSED : 1)) * WIDTH + place / (FUSED ? FUSED : 1)] = asked[i];
    }
  };
  // x of one sample, as far as matrix and drives make it.
  auto assemble = [&](int turn, int j, real* x) {
    const int place = thread + turn * THREADS, u = place % U, at = TOGETHER * (place / U) + j;
    const real* sum = sums + (at < ITEMS ? at : 0) * OUT;
    #pragma unroll
    for (int i = 0; i < INPUTS; ++i) {
      const int d = drive_of(i);
      x[i] = i < PRODUCT ? sum[i * U + u] : real(0);
      if (!FUSED && d >= 0) x[i] = i < PRODUCT ? x[i] + drives[turn][j][d] : drives[turn][j][d];
    }
    if (PAIRED) {  // the other of the pair, and which of them this is
      x[INPUTS] = sum[u ^ 1] + (FUSED ? real(0) : mates[turn][j]);
      x[INPUTS + 1] = real(u & 1);
    }
  };
  if (FUSED) { ask(begins); enter(); }
  __syncthreads();

  for (int t = begins; t < T; ++t) {
    ask(FUSED ? t + 1 : t);
    real* h_now = h + (t + 1) * size;
    real* kept_now = kept + (long long)t * B * (KEPT * U);
    if (N) {
      Into::run(thread, matrix, vectors, sums, OUT, turn_of_warps);
      __syncthreads();
    }
    if (SECOND) {
      #pragma unroll
      for (int turn = 0; turn < TURNS; ++turn)
        #pragma unroll
        for (int j = 0; j < TOGETHER; ++j) {
          const int place = thread + turn * THREADS, at = TOGETHER * (place / U) + j;
          real x[INPUTS + 2 * PAIRED];
          if (place >= U * GROUPS || at >= ITEMS) break;
          assemble(turn, j, x);
          real mine[OWN ? OWN : 1];
          #pragma unroll
          for (int i = 0; i < OWN; ++i) mine[i] = own[i * U + place % U];
          reads[place % U * SECOND_WIDTH + at] = read_of(x, state[turn][j], mine);
        }
      __syncthreads();
      Through::run(thread, second, reads, found, U, turn_of_warps);
      __syncthreads();
    }
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
      const int place = thread + turn * THREADS, u = place % U, item = TOGETHER * (place / U);
      if (TURNS * THREADS > U * GROUPS && place >= U * GROUPS) break;
      real keep[TOGETHER][KEPT ? KEPT : 1];
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) {
        real x[INPUTS + 2 * PAIRED + SECOND], next[STATES], mine[OWN ? OWN : 1];
        assemble(turn, j, x);
        if (SECOND) x[INPUTS] = found[(item + j < ITEMS ? item + j : 0) * U + u];
        #pragma unroll
        for (int i = 0; i < OWN; ++i) mine[i] = own[i * U + u];
        step_of(x, state[turn][j], mine, next, keep[j]);
        const bool on = starts.own(thread, turn, j, t);
        #pragma unroll
        for (int s = 0; s < STATES; ++s) state[turn][j][s] = on ? next[s] : state[turn][j][s];
        #pragma unroll
        for (int s = 0; s < KEPT; ++s) keep[j][s] = on ? keep[j][s] : real(0);
      }
      #pragma unroll
      for (int j = 0; j < TOGETHER; ++j) {
        const int b = start + item + j;
        if (item + j >= ITEMS || (!ALIKE && b >= B)) break;
        #pragma unroll
        for (int s = 0; s < STATES; ++s) h_now[b * (U * STATES) + s * U + u] = state[turn][j][s];
        #pragma unroll
        for (int s = 0; s < KEPT; ++s) kept_now[b * (KEPT * U) + s * U + u] = keep[j][s];
        if (N)
          #pragma unroll
          for (int s = 0; s < READ; ++s) vectors[(s * U + u) * WIDTH + item + j] = state[turn][j][s];
      }
    }
    if (FUSED) enter();
    if (N) __syncthreads();
  }
}
