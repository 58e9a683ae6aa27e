"""A row's named parts into its flat vector, in one launch.

Shapes: P rows · N entries of a row's flat vector.
"""

# pyright: reportGeneralTypeIssues=false, reportUndefinedVariable=false
# Triton's ranges and inlined functions are no Python to a type checker.

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.gpu.launching import launch

BLOCK, WARPS = 1024, 4
"""Entries of a program: two vectors of four for each thread."""


@triton.jit
def gather_kernel(out, parts, sizes, begins, firsts, N, BLOCK: tl.constexpr):  # noqa: PLR0913
    """Writes `out` [P, N]; program (row, block of one part).

    `parts` [P, size] stand at `begins`, and 0 between them; part k has the blocks from `firsts[k]` on. One more of
    `begins` and `firsts` says where the last part ends.
    """
    p, tile = tl.program_id(0).to(tl.int64), tl.program_id(1)
    for k in tl.static_range(len(parts)):
        if (tile >= firsts[k]) & (tile < firsts[k + 1]):
            at = (tile - firsts[k]) * BLOCK + tl.arange(0, BLOCK)
            x = tl.load(parts[k] + p * sizes[k] + at, mask=at < sizes[k], other=0)
            tl.store(out + p * N + begins[k] + at, x, mask=at < begins[k + 1] - begins[k])


def gather(parts: Sequence[tuple[int, Float[Tensor, "P ..."]]], out: Float[Tensor, "P N"]) -> Float[Tensor, "P N"]:
    """Fill all of `out`: each part from its entry on, and zeros after it; the first one begins at entry 0."""
    P, N = out.shape
    begins = [*(begin for begin, _ in parts), N]
    firsts = [0]
    for begin, end in pairwise(begins):
        firsts.append(firsts[-1] + -(-(end - begin) // BLOCK))
    flat = tuple(part.flatten(1).contiguous() for _, part in parts)
    sizes = tuple(part.shape[1] for part in flat)
    launch(
        gather_kernel, (P, firsts[-1]), (out, flat, sizes, tuple(begins), tuple(firsts), N), warps=WARPS, BLOCK=BLOCK
    )
    return out
