// Gradients of a loop's weights: sums over all steps and samples of [states, inputs, 1] times the errors of x.
//
// Program (row and tile of columns, tile of rows): a thread sums 8 x 8 entries over every PARTS-th sample; the parts are added at
// the end, in order; where samples have weights, errors are multiplied by them on their way to the registers. Samples
// come into shared memory INNER at a time, some stages ahead.

struct Job {
  const real *left, *inputs, *right, *weights;
  const bool* rows;
  real *dw_rec, *dw_in, *dbias;
  long long samples, left_row;  // left_row: entries of `left` from one row to the next
};

constexpr int M = R + I + BIASED, GROUPS = ROW_GROUPS * COLUMN_GROUPS;
constexpr int ROWS = 8 * ROW_GROUPS, COLUMNS = 8 * COLUMN_GROUPS, STAGE = INNER * (ROWS + COLUMNS);

// Where column c of a tile of 8 groups lies: a thread's eight are two vectors of four, side by side with other threads'.
__device__ __forceinline__ int spread(int c, int groups) { return c / 4 % 2 * (4 * groups) + c / 8 * 4 + c % 4; }

// What a thread brings of CHUNKS pieces of WIDE columns, stage after stage: the same piece of every AT_ONCE-th sample, so that places
// and addresses differ by constants. A sample has STRIDE entries in memory and OF_SAMPLE in the tile.
template <int CHUNKS, int WIDE, int STRIDE, int OF_SAMPLE>
struct Pieces {
  static constexpr int AT_ONCE = CHUNKS < THREADS ? THREADS / CHUNKS : 1, ROUNDS = (AT_ONCE * CHUNKS + THREADS - 1) / THREADS;
  const real* from[ROUNDS];
  int sample[ROUNDS], place[ROUNDS];

  // The first piece's columns are the tile's `first` ones; those outside of 0 to `end` are another tile's.
  __device__ __forceinline__ Pieces(int thread, const real* start, int first, int end) {
    #pragma unroll
    for (int i = 0; i < ROUNDS; ++i) {
      const int at = thread + i * THREADS, chunk = at % CHUNKS, column = first + chunk * WIDE;
      const bool mine = at < AT_ONCE * CHUNKS && column >= 0 && column < end;
      sample[i] = mine ? at / CHUNKS : INNER;
      from[i] = start + at / CHUNKS * (long long)STRIDE + chunk * WIDE;
      place[i] = at / CHUNKS * OF_SAMPLE + (mine ? spread(column, OF_SAMPLE / 8) : 0);
    }
  }

  // The next stage's, of which `count` samples are there: into `to`.
  __device__ __forceinline__ void bring(real* to, int count) {
    #pragma unroll
    for (int i = 0; i < ROUNDS; ++i) {
      real* here = to + place[i];
      const real* there = from[i];
      #pragma unroll
      for (int s = 0; s < INNER; s += AT_ONCE)
        if (sample[i] < count - s) COPY(here + s * OF_SAMPLE, there + s * STRIDE, WIDE);
      if (count < INNER)  // the last one
        for (int s = 0; s < INNER; s += AT_ONCE)
          if (sample[i] >= count - s && sample[i] < INNER - s)
            for (int j = 0; j < WIDE; ++j) here[s * OF_SAMPLE + j] = real(0);
      from[i] += INNER * STRIDE;
    }
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, PROGRAMS) weight_gradients(const Job job) {
  SHARED(memory);
  const int thread = threadIdx.x, samples = (int)job.samples;
  // A row's tiles follow each other: they find its states and errors in the cache.
  const long long row = blockIdx.x / ACROSS;
  const int first_column = blockIdx.x % ACROSS * COLUMNS, first_row = blockIdx.y * ROWS;
  const real* left = job.left + row * job.left_row;
  const real* inputs = job.inputs + row * samples * (long long)I;
  const real* right = job.right + row * samples * (long long)RIGHT + first_column;

  const real* weights = WEIGHTED ? job.weights + row * samples : nullptr;
  if (WEIGHTED && !job.rows[row]) {
    for (int i = thread; i < ROWS * COLUMNS; i += THREADS) {
      const int m = first_row + i / COLUMNS, n = first_column + i % COLUMNS;
      if (m < R && n < N) job.dw_rec[(row * R + m) * N + n] = real(0);
    }
    return;
  }

  // What lies beyond rows and columns is never brought: zeros, and the row of ones.
  for (int i = thread; i < STAGES * STAGE; i += THREADS) memory[i] = real(0);
  __syncthreads();
  if (BIASED && R + I >= first_row && R + I < first_row + ROWS)
    for (int i = thread; i < STAGES * INNER; i += THREADS)
      memory[i / INNER * STAGE + i % INNER * ROWS + spread(R + I - first_row, ROW_GROUPS)] = real(1);
  constexpr int OF_LEFT = (R < ROWS ? R : ROWS) / LEFT_WIDE;
  Pieces<OF_LEFT, LEFT_WIDE, LEFT, ROWS> lefts(thread, left + first_row, 0, R - first_row);
  Pieces<I ? I : 1, 1, I, ROWS> others(thread, inputs, R - first_row, ROWS);
  Pieces<COLUMNS / RIGHT_WIDE, RIGHT_WIDE, RIGHT, COLUMNS> rights(thread, right, 0, N - first_column);
  auto bring = [&](int stage, int start) {
    real* to = memory + stage * STAGE;
    const int count = min(INNER, samples - start);
    lefts.bring(to, count);
    if (I && first_row + ROWS > R) others.bring(to, count);
    rights.bring(to + INNER * ROWS, count);
    if (WEIGHTED)
      for (int s = thread; s < INNER; s += THREADS) {
        real* place = memory + STAGES * STAGE + stage * INNER + s;
        if (s < count) COPY(place, weights + start + s, 1);
        else *place = real(0);
      }
    COPIES_END();
  };
  const int place = thread % GROUPS, part = thread / GROUPS;  // threads beyond PARTS only bring
  // Eight groups of rows for all groups of columns, then the next eight: lanes that read at once read other banks.
  constexpr int REST = ROW_GROUPS % 8 ? ROW_GROUPS % 8 : 8;
  const int block = place / (8 * COLUMN_GROUPS), inside = place % (8 * COLUMN_GROUPS), wide = 8 * block + 8 <= ROW_GROUPS ? 8 : REST;
  const int row_group = 8 * block + inside % wide, column_group = inside / wide;
  real sum[8][8];
  #pragma unroll
  for (int i = 0; i < 8; ++i)
    #pragma unroll
    for (int j = 0; j < 8; ++j) sum[i][j] = real(0);
  for (int stage = 0; stage < STAGES - 1; ++stage) {
    if (stage * INNER < samples) bring(stage, stage * INNER);
    else COPIES_END();
  }
  for (int start = 0, turn = 0; start < samples; start += INNER, ++turn) {
    COPIES_WAIT(STAGES - 2);
    __syncthreads();
    const int ahead = start + (STAGES - 1) * INNER;
    if (ahead < samples) bring((turn + STAGES - 1) % STAGES, ahead);
    else COPIES_END();
    if (part >= PARTS) continue;
    const real* a_at = memory + turn % STAGES * STAGE + part * ROWS + 4 * row_group;
    const real* b_at = memory + turn % STAGES * STAGE + INNER * ROWS + part * COLUMNS + 4 * column_group;
    #pragma unroll 4
    for (int s = 0; s < INNER; s += PARTS) {
      real a[8], b[8];
      read(a_at + s * ROWS, a, 4);
      read(a_at + s * ROWS + 4 * ROW_GROUPS, a + 4, 4);
      read(b_at + s * COLUMNS, b, 4);
      read(b_at + s * COLUMNS + 4 * COLUMN_GROUPS, b + 4, 4);
      if (WEIGHTED) {
        const real weight = memory[STAGES * STAGE + turn % STAGES * INNER + part + s];
        #pragma unroll
        for (int j = 0; j < 8; ++j) b[j] *= weight;
      }
      #pragma unroll
      for (int i = 0; i < 8; ++i)
        #pragma unroll
        for (int j = 0; j < 8; ++j) sum[i][j] = FMA(a[i], b[j], sum[i][j]);
    }
  }
  // The parts but the first leave their sums in shared memory, eight at a time.
  #pragma unroll
  for (int i = 0; i < 8 && PARTS > 1; ++i) {
    __syncthreads();
    if (part > 0 && part < PARTS)
      #pragma unroll
      for (int j = 0; j < 8; ++j) memory[((part - 1) * 8 + j) * GROUPS + place] = sum[i][j];
    __syncthreads();
    if (part == 0)
      for (int other = 0; other < PARTS - 1; ++other)
        #pragma unroll
        for (int j = 0; j < 8; ++j) sum[i][j] += memory[(other * 8 + j) * GROUPS + place];
  }
  if (part > 0) return;
  #pragma unroll
  for (int i = 0; i < 8; ++i)
    #pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int m = first_row + 8 * row_group + i, n = first_column + 8 * column_group + j;
      if (n >= N) continue;
      if (m < R) job.dw_rec[(row * R + m) * N + n] = sum[i][j];
      else if (m < R + I) job.dw_in[(row * I + (m - R)) * N + n] = sum[i][j];
      else if (m < M) job.dbias[row * N + n] = sum[i][j];
    }
}
