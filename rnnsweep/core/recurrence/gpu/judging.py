"""What sampling says of the rows of a pack, in one launch."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.kernels import KernelArguments
from rnnsweep.core.recurrence.base import Bounds, Judgement, StepRule, Tangent
from rnnsweep.core.recurrence.gpu import compiling
from rnnsweep.core.recurrence.gpu.source import program

THREADS = 128
SHARED = 8 * THREADS // 32
"""Bytes: a number of each warp."""


def judged(last: Float[Tensor, "P B H"], tangent: Tangent, bounds: Bounds, rule: StepRule) -> Judgement:
    """See `JudgingEngine.judge`."""
    (P, B, H), at, new = last.shape, KernelArguments(last.dtype, last.device), last.new_empty
    at.check("last", last, (P, B, H))
    # The last step of a trace is read where it lies.
    last = last if last[0].is_contiguous() else last.contiguous()
    delta, change = at.packed("delta", tangent.delta, (P, B, H)), at.packed("ddelta", tangent.ddelta, (P, B, H))
    at.check("exponent", tangent.exponent, (P,), torch.int64)
    limits = [at.packed(name, value, (P,)) for name, value in vars(bounds).items()]
    norms, (q, log_change, size) = new(P, 4, B, dtype=torch.float64), new(3, P, dtype=torch.float64)
    used, degenerate = new(2, P, dtype=torch.bool)
    tensors = (last, delta, change, tangent.exponent.contiguous(), *limits, norms)
    tensors += (q, log_change, size, used, degenerate)
    launch = compiling.kernel("judge", source_of(H, last.element_size(), rule), last.device)
    launch((P,), THREADS, SHARED, (*map(compiling.address, tensors), B, last.stride(0)))
    return Judgement(q, log_change, size, used, degenerate)


@lru_cache(maxsize=256)
def source_of(units: int, itemsize: int, rule: StepRule) -> str:
    """The kernel for so many units."""
    constants = {"U": units, "THREADS": THREADS, **{name.upper(): int(value) for name, value in vars(rule).items()}}
    return program("judge", itemsize, constants, product=False)
