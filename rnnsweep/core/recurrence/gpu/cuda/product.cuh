// The product of one step: out[b][n] = sum_k vectors[k][b] matrix[k][n], for the B samples of one program.
//
// A thread sums COLUMNS x ITEMS entries over every SLICES-th k; the SLICES lanes of a warp that share columns then add
// their parts by shuffles, in a fixed order. Nothing depends on how many rows there are.
//
// Bytes of shared memory bind, not operations: per k a thread reads COLUMNS + ITEMS numbers for COLUMNS * ITEMS
// products. Strides are such that lanes which read at once read other banks (see `layout.py`).

constexpr int LANE = 16 / sizeof(real);  // numbers of one 16-byte access
struct alignas(16) Vector { real at[LANE]; };

__device__ __forceinline__ void read(const real* from, real* to, int count) {
  #pragma unroll
  for (int i = 0; i < count; i += LANE) {
    const Vector v = *reinterpret_cast<const Vector*>(from + i);
    #pragma unroll
    for (int j = 0; j < LANE; ++j) to[i + j] = v.at[j];
  }
}

__device__ constexpr int log2_of(int n) { return n < 2 ? 0 : 1 + log2_of(n / 2); }
__device__ constexpr int power_of_two(int n) { return n < 2 ? 1 : 2 * power_of_two((n + 1) / 2); }  // the least that is no less
__device__ constexpr int up(int n, int to) { return (n + to - 1) / to * to; }

constexpr int MOST_WARPS = 16;

// K: entries that are summed. N: columns. COLUMNS, SLICES: see above, powers of two. STRIDE: of the matrix in `at`,
// entries from one k to the next. Vectors have WIDTH entries from one k to the next, of which ITEMS count.
template <int K, int N, int COLUMNS, int SLICES, int STRIDE, int ITEMS, int WIDTH>
struct Product {
  static constexpr int OF_SLICE = (K + SLICES - 1) / SLICES;
  static constexpr int ROWS = OF_SLICE * SLICES;  // zeros beyond K
  static constexpr int GROUPS = (N + COLUMNS - 1) / COLUMNS, PLACES = GROUPS * COLUMNS;
  static constexpr int OF_WARP = 32 / SLICES;  // groups of columns in a warp
  static constexpr int WANTED = (GROUPS + OF_WARP - 1) / OF_WARP, WARPS = WANTED < MOST_WARPS ? WANTED : MOST_WARPS;
  // A last warp that would have few groups has more slices of them instead: it is through earlier, and the lanes' columns stay.
  static constexpr int REST = GROUPS % OF_WARP, OF_LAST = REST ? power_of_two(REST) : OF_WARP;
  static constexpr bool SHORT = OF_LAST < OF_WARP && WANTED > 1 && WANTED <= MOST_WARPS && SLICES >= COLUMNS;
  static constexpr int SPLITS = log2_of(COLUMNS < SLICES ? COLUMNS : SLICES);
  static constexpr int PARTS = (COLUMNS + LANE - 1) / LANE;
  static constexpr int LEFT = COLUMNS >> SPLITS;  // columns that a lane ends with
  static constexpr int EACH = COLUMNS < LANE ? COLUMNS : LANE;  // that one access reads

  // The order in which a lane of this slice holds its columns: what it will give away at each split comes last.
  __device__ static int turned(int slice) {
    int mask = 0;
    for (int j = 0; j < SPLITS; ++j) mask |= ((slice >> j) & 1) * (COLUMNS >> (j + 1));
    return mask;
  }

  // Entry (k, n) of the matrix lies here; every n < PLACES has one.
  __device__ static int place(int k, int n) {
    const int group = n / COLUMNS, column = (n % COLUMNS) ^ turned(k % SLICES);
    const int part = column / LANE, inside = column % LANE;
    return k * STRIDE + (part * GROUPS + group) * (COLUMNS < LANE ? COLUMNS : LANE) + inside;
  }

  // By threads 0 to 32 WARPS - 1; others do nothing. `out` has OUT entries from one sample to the next. `turn`: of the warps,
  // so that those with little to do are not all on one scheduler.
  __device__ static void run(int thread, const real* matrix, const real* vectors, real* out, int OUT, int turn) {
    const int lane = thread % 32, warp = WARPS % 4 ? thread / 32 : (thread / 32 + turn) % WARPS;
    if (thread < 0 || thread >= 32 * WARPS) return;
    if (SHORT && warp == WARPS - 1) {
      once<OF_LAST>(warp * OF_WARP, lane, matrix, vectors, out, OUT);
      return;
    }
    // more columns than warps: the same warps again
    for (int first = 0; first < GROUPS; first += WARPS * OF_WARP) once<OF_WARP>(first + warp * OF_WARP, lane, matrix, vectors, out, OUT);
  }

  // By a warp, of so many groups.
  template <int OF>
  __device__ static void once(int first_group, int lane, const real* matrix, const real* vectors, real* out, int OUT) {
    constexpr int OWN = 32 / OF;  // slices
    const int slice = lane / OF, group = first_group + lane % OF;
    const bool own = group < GROUPS;
    const real* w = matrix + slice * STRIDE + (own ? group : 0) * EACH;
    const real* v = vectors + slice * WIDTH;
    real sum[COLUMNS][ITEMS];
    clear(sum);
    #pragma unroll UNROLL
    for (int i = 0; i < (ROWS + OWN - 1) / OWN; ++i) {
      if (ROWS % OWN && i * OWN + slice >= ROWS) break;
      real weight[PARTS * EACH], item[up(ITEMS, LANE)];
      weights(w, weight);
      read(v, item, ITEMS);
      add(weight, item, sum);
      w += OWN * STRIDE;
      v += OWN * WIDTH;
    }
    write<OF>(slice, group, sum, out, OUT);
  }

  __device__ __forceinline__ static void clear(real (&sum)[COLUMNS][ITEMS]) {
    #pragma unroll
    for (int c = 0; c < COLUMNS; ++c)
      #pragma unroll
      for (int b = 0; b < ITEMS; ++b) sum[c][b] = real(0);
  }

  // A thread's entries of one row of the matrix.
  __device__ __forceinline__ static void weights(const real* w, real* weight) {
    #pragma unroll
    for (int part = 0; part < PARTS; ++part) {
      if (EACH == LANE) read(w + part * GROUPS * EACH, weight + part * EACH, EACH);
      else
        #pragma unroll
        for (int j = 0; j < EACH; ++j) weight[j] = w[j];
    }
  }

  __device__ __forceinline__ static void add(const real* weight, const real* item, real (&sum)[COLUMNS][ITEMS]) {
    #pragma unroll
    for (int c = 0; c < COLUMNS; ++c)
      #pragma unroll
      for (int b = 0; b < ITEMS; ++b) sum[c][b] = FMA(weight[c], item[b], sum[c][b]);
  }

  // Adds the slices' sums; each entry is written by one lane.
  template <int OF = OF_WARP>
  __device__ __forceinline__ static void write(int slice, int group, real (&sum)[COLUMNS][ITEMS], real* out, int OUT) {
    #pragma unroll
    for (int j = 0; j < SPLITS; ++j)
      #pragma unroll
      for (int c = 0; c < (COLUMNS >> (j + 1)); ++c)
        #pragma unroll
        for (int b = 0; b < ITEMS; ++b)
          sum[c][b] += __shfl_xor_sync(0xffffffffu, sum[c + (COLUMNS >> (j + 1))][b], OF << j);
    #pragma unroll
    for (int j = SPLITS; (1 << j) < 32 / OF; ++j)
      #pragma unroll
      for (int c = 0; c < LEFT; ++c)
        #pragma unroll
        for (int b = 0; b < ITEMS; ++b) sum[c][b] += __shfl_xor_sync(0xffffffffu, sum[c][b], OF << j);
    const int first = group * COLUMNS + turned(slice);
    #pragma unroll
    for (int c = 0; c < LEFT; ++c)
      // Lanes that differ in the bits of the last loop hold the same sums: one of them writes.
      if (group < GROUPS && first + c < N && (slice >> SPLITS) == 0)
        #pragma unroll
        for (int b = 0; b < ITEMS; ++b) out[b * OUT + first + c] = sum[c][b];
  }
};
