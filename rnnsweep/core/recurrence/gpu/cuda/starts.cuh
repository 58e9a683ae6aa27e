// A thread's entries in a cell's formulas: units of TOGETHER samples in each turn; and at which step each of its samples begins.

constexpr int GROUPS = (ITEMS + TOGETHER - 1) / TOGETHER;  // of samples that a thread takes at a time
constexpr int TURNS = (U * GROUPS + THREADS - 1) / THREADS;

struct Starts {
  int at[ALIKE ? 1 : TURNS][ALIKE ? 1 : TOGETHER];  // ALIKE: all samples begin together, and nobody asks

  __device__ __forceinline__ void set(int turn, int j, int t) {
    if (!ALIKE) at[ALIKE ? 0 : turn][ALIKE ? 0 : j] = t;
  }

  // Whether step t is one of a sample's own; never where the thread has none.
  __device__ __forceinline__ bool own(int thread, int turn, int j, int t) const {
    if (!ALIKE) return t >= at[ALIKE ? 0 : turn][ALIKE ? 0 : j];
    const int place = thread + turn * THREADS;
    return ((turn + 1) * THREADS <= U * GROUPS || place < U * GROUPS) && (ITEMS % TOGETHER == 0 || TOGETHER * (place / U) + j < ITEMS);
  }
};
