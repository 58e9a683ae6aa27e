"""How a loop is cut into programs: tile sizes, and where the matrix stays."""

from __future__ import annotations

from dataclasses import dataclass

import torch

RESIDENT_BYTES = 64 * 1024
"""Most that stays in registers and shared memory over all steps: two such programs fit a multiprocessor of an H200."""
_RESIDENT_PAIR = 8 * 1024  # each of two; larger ones spill registers when compiled for sm_90
_TWO_STAGES = 128
_SMALLEST = 16
_INNER_FUSED = 32
_MOST_ENTRIES = 2**31 - 1


@dataclass(frozen=True)
class Tiling:
    """Sizes of one program's tile; powers of two, at least 16, as `tl.dot` wants them.

    Numerics:
        A function of B, H and the type only, never of P: a row meets the same sums in every pack.

    Attributes:
        batch: mini-batch items per program.
        units: hidden units, H rounded up.
        block: rows of the matrix per streamed block; 0 = resident.
        warps: of 32 threads.
    """

    batch: int
    units: int
    block: int
    warps: int

    @classmethod
    def of(cls, B: int, H: int, dtype: torch.dtype, matrices: int = 1) -> Tiling:
        """For mini-batches of B and H hidden units; `matrices` (1 or 2) [H, H] take part in every step."""
        units = rounded(H)
        resident = units * units * dtype.itemsize <= (RESIDENT_BYTES if matrices == 1 else _RESIDENT_PAIR)
        # A resident matrix leaves few registers for states: small batch tiles, and more of them.
        batch = _SMALLEST if resident else min(rounded(B), max(_SMALLEST, 8192 // units))
        block = 0 if resident else 128 // dtype.itemsize
        return cls(batch, units, block, warps=min(max(batch * units // 256, 1), 16))

    def count(self, B: int) -> int:
        """Batch tiles per row."""
        return -(-B // self.batch)

    @property
    def stages(self) -> int:
        """Blocks in flight from the cache; a resident matrix has nothing to stream."""
        if not self.block:
            return 1
        # A third block costs registers: up to 128 units a multiprocessor would hold one program less, or one spill.
        return 2 if self.units <= _TWO_STAGES else 3


def rounded(size: int) -> int:
    """The next power of two, at least 16."""
    return max(_SMALLEST, 1 << (size - 1).bit_length())


def fuses_inputs(inner: int) -> bool:
    """Whether u_t w_in is cheaper in the kernel than as a product before it that writes and reads [P, T, B, H]."""
    return inner <= _INNER_FUSED


def check_entries(count: int) -> None:
    """Raise `ValueError` where a row has more entries of one tensor than a program counts: its offsets are int32."""
    if count > _MOST_ENTRIES:
        raise ValueError(
            f"a row has {count} states; the gpu engine's kernels count to {_MOST_ENTRIES}: use a smaller batch"
        )
