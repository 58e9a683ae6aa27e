// A device of one core: each thread of a block is a fiber, blocks run one after another.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __syncthreads() emulated::barrier()
#define __shfl_xor_sync(mask, value, lanes) emulated::shuffle(value, lanes)
#define SHARED(name) real* name = reinterpret_cast<real*>(emulated::shared)

#define EMULATED
#define COPY(to, from, count) std::memcpy(to, from, sizeof(real) * (count))
#define COPIES_END()
#define COPIES_WAIT(groups)
template <typename T> static T min(T a, T b) { return b < a ? b : a; }

struct Three { int x, y, z; };
static Three threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {
struct Fiber { ucontext_t context; std::vector<char> stack; bool done; int waits; };
static std::vector<Fiber> fibers;
static ucontext_t home;
static char* shared;
static int current, threads;
static double slots[2][2048];
static int turn[2048];
static const void* work;
static void (*entry)(const void*);

static void yield() {
  const int me = current;
  swapcontext(&fibers[me].context, &home);
  threadIdx.x = current = me;
}
// All fibers are resumed in turn; one is at a barrier when it has yielded as `BARRIER`, in a shuffle as `SHUFFLE`.
enum { RUN, BARRIER, SHUFFLE };
static void barrier() { fibers[current].waits = BARRIER; yield(); }
template <class V> static V shuffle(V value, int lanes) {
  const int me = current, side = turn[me]++ & 1;
  slots[side][me] = value;
  fibers[me].waits = SHUFFLE;
  yield();
  return V(slots[side][me ^ lanes]);
}
static void body() { entry(work); fibers[current].done = true; fibers[current].waits = RUN; swapcontext(&fibers[current].context, &home); }

static void fail(const char* what) { std::fprintf(stderr, "emulated device: %s\n", what); std::abort(); }

static void block() {
  for (int i = 0; i < threads; ++i) {
    Fiber& f = fibers[i];
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.data();
    f.context.uc_stack.ss_size = f.stack.size();
    f.context.uc_link = &home;
    f.done = false;
    f.waits = RUN;
    turn[i] = 0;
    makecontext(&f.context, body, 0);
  }
  for (;;) {
    bool moved = false, ended = true;
    for (int first = 0; first < threads; first += 32) {  // warp by warp: a shuffle waits for its warp alone
      const int last = first + 32 < threads ? first + 32 : threads;
      for (;;) {
        int ready = 0, shuffling = 0, done = 0;
        for (int i = first; i < last; ++i) {
          done += fibers[i].done;
          ready += !fibers[i].done && fibers[i].waits == RUN;
          shuffling += !fibers[i].done && fibers[i].waits == SHUFFLE;
        }
        if (!ready && shuffling) {
          if (shuffling != last - first) fail("a shuffle without its whole warp");
          for (int i = first; i < last; ++i) fibers[i].waits = RUN;
          ready = shuffling;
        }
        if (!ready) { ended = ended && done == last - first; break; }
        for (int i = first; i < last; ++i)
          if (!fibers[i].done && fibers[i].waits == RUN) {
            threadIdx.x = current = i;
            swapcontext(&home, &fibers[i].context);
            moved = true;
          }
      }
    }
    if (ended) return;
    for (int i = 0; i < threads; ++i)
      if (fibers[i].done) fail("a barrier without all threads");
    for (int i = 0; i < threads; ++i) fibers[i].waits = RUN;
    (void)moved;
  }
}

static void launch(void (*kernel)(const void*), int x, int y, int z, int count, long bytes, const void* job) {
  if (count > 1024 || count % 32 || bytes > 227 * 1024 || y > 65535 || z > 65535) fail("no device takes such a launch");
  threads = count; entry = kernel; work = job;
  gridDim = {x, y, z}; blockDim = {count, 1, 1};
  if ((int)fibers.size() < count) fibers.resize(count);
  for (Fiber& f : fibers) if (f.stack.empty()) f.stack.resize(1 << 16);
  shared = static_cast<char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
  for (int i = 0; i < x; ++i)
    for (int j = 0; j < y; ++j)
      for (int k = 0; k < z; ++k) {
        blockIdx = {i, j, k};
        std::memset(shared, 0xff, bytes);  // NaN: what nobody wrote must not be read
        block();
      }
  std::free(shared);
}
}  // namespace emulated
