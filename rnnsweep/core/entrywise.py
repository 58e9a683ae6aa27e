"""Formulas of single entries, written once: for torch's tensors, and for the kernels that are compiled from them.

A formula is a plain function at the top of its module, without annotations and without names of its own module but
those below: `core.gpu.formulas` compiles its source with other functions under these names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["StepFormula", "correction", "plus", "ratio", "root", "where"]


@dataclass(frozen=True)
class StepFormula:
    """An optimiser's step, entry by entry.

    Attributes:
        step: (gradient, slots, hypers, taken) -> (step, new slots); `slots` and `hypers` are tuples, in the order of
            `Optimizer.slots` and of `hypers`. Hyperparameters and `taken` are the row's: numbers to an entry.
        hypers: names of the hyperparameters that it reads.
    """

    step: Callable[[Any, tuple[Any, ...], tuple[Any, ...], Any], tuple[Any, tuple[Any, ...]]]
    hypers: tuple[str, ...]


root, where = torch.sqrt, torch.where


def ratio(x: Tensor, y: Tensor) -> Tensor:
    """x / y, rounded once: what kernels mean by `/` need not be."""
    return x / y


def plus(fresh: Tensor, x: Tensor) -> Tensor:
    """fresh + x; `fresh` is the formula's own and may be overwritten, which saves a pass over memory."""
    return fresh.add_(x)


def correction(beta: Tensor, taken: Tensor) -> Tensor:
    """1 - beta^(taken + 1), [P, 1]; exp of 0 * -inf is avoided for beta = 0."""
    # float64: 1 - beta^k cancels where beta is near 1.
    power = ((taken.double() + 1) * beta.double().clamp_min(1e-300).log()).exp()
    return (1 - power).to(beta.dtype)
