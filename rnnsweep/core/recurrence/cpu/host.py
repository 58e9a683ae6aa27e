"""What this machine's vector unit is like; importable without numba."""

from __future__ import annotations

import os


def host_features() -> dict[str, bool]:
    """Features of this CPU by LLVM's names; empty where llvmlite is missing."""
    try:
        import llvmlite.binding as llvm
    except ImportError:
        return {}
    return dict(llvm.get_host_cpu_features())


def host_vector_bytes() -> int:
    """Bytes of the vectors to use on this machine: 64, 32 or 16; 0 where there is no fused multiply-add.

    RNNSWEEP_VECTOR_BYTES overrides the choice (for measurements).
    """
    forced = os.environ.get("RNNSWEEP_VECTOR_BYTES")
    if forced:
        return int(forced)
    features = host_features()
    # AVX-512 without VL has no masked or half-width forms: not worth a path of its own.
    if features.get("avx512f") and features.get("avx512vl"):
        return 64
    if features.get("avx2") and features.get("fma"):
        return 32
    return 16 if features.get("neon") else 0


def host_registers() -> int:
    """Number of vector registers of this machine."""
    features = host_features()
    return 32 if features.get("avx512vl") or features.get("neon") else 16


# Constants of the module, not arguments: kernels are compiled for this machine, and so is their cache.
VECTOR_BYTES = host_vector_bytes()
"""Bytes of a full vector."""
UNIT_BYTES = min(VECTOR_BYTES, 32)
"""Matrices are padded to whole units, and elementwise loops go by units: half a vector where vectors have 64 bytes."""
PARTS = VECTOR_BYTES // UNIT_BYTES if UNIT_BYTES else 1
"""Units per vector."""
MASKS = VECTOR_BYTES == 64
"""Whether part of a vector is loaded and stored as fast as a whole one: with AVX-512 there are masks for it."""
PANEL = 2 * PARTS
"""Units per column panel of a packed matrix: two vectors."""
TILES = (10, 8, 6, 4, 3, 2, 1) if host_registers() == 32 else (6, 4, 3, 2, 1)
"""Heights of the register tiles that exist: two accumulators per row, the other registers hold operands."""
