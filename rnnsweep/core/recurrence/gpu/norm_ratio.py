"""The term `NormRatio` of a trace, in two launches: weights of the samples, and the gradient that they weigh."""

from __future__ import annotations

import struct
from functools import lru_cache

import torch
from jaxtyping import Bool
from torch import Tensor

from rnnsweep.core.kernels import KernelArguments
from rnnsweep.core.recurrence.base import NormRatio, TermResult
from rnnsweep.core.recurrence.gpu import compiling
from rnnsweep.core.recurrence.gpu.source import program
from rnnsweep.core.recurrence.gpu.weight_gradients import WantedWeights, Weighted, weight_gradients
from rnnsweep.core.types import Trace

THREADS = 256
SHARED = 2 * 8 * THREADS // 32
"""Bytes: two numbers of each warp."""


def norm_ratio(trace: Trace, term: NormRatio, rows: Bool[Tensor, " P"]) -> TermResult:
    """Value, share and immediate gradient of the rows in `rows`; those of others are 0.

    Args:
        trace: of the loop.
        term: its form.
        rows: which rows want it.

    Numerics:
        A row's numbers depend on that row alone, bit for bit. Norms in the loop's type, what is made of them in
        float64.
    """
    x, direct, (P, T, B, H) = trace.x, trace.direct, trace.x.shape
    at = KernelArguments(x.dtype, x.device)
    at.check("rows", rows, (P,), torch.bool)
    x, delta, rows = at.packed("x", x, (P, T, B, H)), at.packed("delta", trace.delta, (P, T, B, H)), rows.contiguous()
    lengths = trace.record.lengths.contiguous()  # the loop has checked them
    last, steps = at.packed("last", direct.last, (P, B, H)), at.packed("steps", direct.steps, (P, T, B, H))
    norms, weights, value, share = x.new_empty(P, 2, T, B), x.new_empty(P, T, B), x.new_empty(P), x.new_empty(P)
    source = source_of(H, x.element_size(), squared=term.squared, mean=term.mean, steps=steps is not None)
    tensors = (x, last, steps, lengths, rows, norms, weights, value, share)
    # Compared with norms of the loop's type.
    (bound,) = struct.unpack("q", struct.pack("d", _rounded(term.bound, x.dtype)))
    launch = compiling.kernel("norm_ratio", source, x.device)
    launch((P,), THREADS, SHARED, (*map(compiling.address, tensors), bound, T, B, int(lengths.ndim == 2)))
    w_rec, _, _ = weight_gradients(x, None, delta, WantedWeights(H, H), Weighted(weights, rows))
    return TermResult(value, share, w_rec)


@lru_cache(maxsize=256)
def source_of(units: int, itemsize: int, *, squared: bool, mean: bool, steps: bool) -> str:
    """The kernel for so many units; `steps`: whether errors enter at every step."""
    constants = {"U": units, "SQUARED": int(squared), "MEAN": int(mean), "STEPS": int(steps), "THREADS": THREADS}
    return program("norm_ratio", itemsize, constants, product=False)


@lru_cache(maxsize=256)
def _rounded(number: float, dtype: torch.dtype) -> float:
    return float(torch.tensor(number, dtype=dtype))
