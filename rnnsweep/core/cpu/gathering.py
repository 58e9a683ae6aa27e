"""A row's named parts into its flat vector, in one pass; `core.gpu.gathering` is the same for a GPU.

Shapes: P rows · N entries of a row's flat vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.cpu.numbers import at, zero_of
from rnnsweep.core.recurrence.cpu.compiling import kernel
from rnnsweep.core.recurrence.cpu.engine.dispatch import TensorAddresses


@kernel
def gather_kernel(zero, out, P, N, parts):
    """Writes `out` [P, N]; `parts` [K, 4]: address, entries of a row, and where its place begins and ends."""
    out = at(out, zero)
    for p in range(P):
        for k in range(parts.shape[0]):
            source, size, first, end = at(parts[k, 0], zero), parts[k, 1], p * N + parts[k, 2], p * N + parts[k, 3]
            for i in range(size):
                out[first + i] = source[p * size + i]
            for i in range(first + size, end):
                out[i] = zero


def gather(parts: Sequence[tuple[int, Float[Tensor, "P ..."]]], out: Float[Tensor, "P N"]) -> Float[Tensor, "P N"]:
    """Fill all of `out`: each part from its entry on, and zeros after it; the first one begins at entry 0."""
    (P, N), address = out.shape, TensorAddresses(out.dtype)
    places = pairwise([*(begin for begin, _ in parts), N])
    table = [
        (address.read("a part", part, tuple(part.shape)), part[0].numel(), *place)
        for (_, part), place in zip(parts, places, strict=True)
    ]
    if any(size > end - begin for _, size, begin, end in table):
        raise ValueError(f"parts do not fit into {N} entries, each behind the one before")
    gather_kernel(zero_of(out.dtype), address.view("out", out, (P, N)), P, N, np.array(table, np.int64))
    return out
