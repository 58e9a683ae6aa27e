"""Subnormal numbers are 0 where networks train: see docs/decisions/0048-subnormal-numbers.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

for _kind in (np.float32, np.float64):
    np.finfo(_kind)  # formed once; formed while they are flushed, numpy would warn that its smallest number is 0


def are_flushed() -> bool:
    """Whether this thread takes subnormal numbers for 0."""
    smallest = torch.full((1,), torch.finfo(torch.float32).tiny, dtype=torch.float32)
    return bool((smallest * 0.5 == 0).all())


@contextmanager
def flushed() -> Iterator[None]:
    """Meanwhile torch's operations on this thread take subnormal numbers for 0, and give none; also a decorator.

    Numerics:
        float32 below 1.2e-38, float64 below 2.2e-308. Without effect on a processor that cannot.
    """
    before = are_flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
