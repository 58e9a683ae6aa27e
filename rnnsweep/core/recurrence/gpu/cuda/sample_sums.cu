// Sums over samples, in their order: entry by entry of one row.

struct Job {
  const real* parts;
  real* total;
  long long samples, entries;
};

extern "C" __global__ void __launch_bounds__(THREADS) sample_sums(const Job job) {
  const long long row = blockIdx.x, at = blockIdx.y * (long long)THREADS + threadIdx.x;
  if (at >= job.entries) return;
  const real* parts = job.parts + row * job.samples * job.entries + at;
  real total = parts[0];
  for (long long b = 1; b < job.samples; ++b) total += parts[b * job.entries];
  job.total[row * job.entries + at] = total;
}
