"""Triton kernels for what an update does besides its loops; see `core.kernels`."""
