"""The fused CPU engine: vector micro-kernels in LLVM IR, row loops in numba; no compiler is needed to install it."""
