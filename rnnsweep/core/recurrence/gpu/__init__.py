"""The fused GPU engine: Triton kernels, one launch for all steps of a loop, one program per row and batch tile."""
