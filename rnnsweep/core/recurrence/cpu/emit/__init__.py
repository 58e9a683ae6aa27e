"""What writes LLVM instructions while numba compiles a kernel: vectors, formulas, loops over matrices, products."""
