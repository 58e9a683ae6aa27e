"""Conjugate gradients, for every row its own system and its own end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass
class Solved:
    """What conjugate gradients found.

    Attributes:
        x: [P, N], the last iterate.
        kept: some iterates on the way, oldest first, the last one included; a row that ended keeps its last one.
        values: of the quadratic x^T A x / 2 - b^T x at `kept`, [P] each.
        iterations: int64 [P].
    """

    x: Tensor
    kept: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    iterations: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))


def solve(
    product: Callable[[Float[Tensor, "P N"]], Float[Tensor, "P N"]],
    b: Float[Tensor, "P N"],
    start: Float[Tensor, "P N"],
    most: int,
    progress: float,
) -> Solved:
    """Minimise x^T A x / 2 - b^T x from `start`; `product` multiplies by a positive definite A, row by row.

    A row ends at iteration i once the quadratic is negative and has improved by less than `progress` * k of itself over
    the last k = max(10, i / 10) iterations, or when its residual is 0, or at `most` iterations.

    Numerics:
        Rows that have ended stay as they are, so that a row's result does not depend on how long others go on. A row
        whose products are not finite, or whose curvature is not positive, ends where it stands.

    References:
        Martens (2010), section 4.4 and 4.6; iterates are kept at i = 1.3^j.
    """
    x, residual = start, b - product(start)
    direction, size = residual, _dot(residual, residual)
    active = size > 0
    values = [_value(x, b, residual)]
    solution = Solved(x, iterations=torch.zeros(len(b), dtype=torch.int64, device=b.device))
    next_kept = 1.0
    for i in range(1, most + 1):
        if not bool(active.any()):
            break
        turned = product(direction)
        bend = _dot(direction, turned)
        active = active & (bend > 0) & torch.isfinite(bend)
        # Ended rows divide by 1: their bend may be 0 or NaN.
        pace = torch.where(active, size / torch.where(active, bend, torch.ones_like(bend)), torch.zeros_like(size))
        on = active[:, None]
        x = torch.where(on, x + pace[:, None] * direction, x)
        residual = torch.where(on, residual - pace[:, None] * turned, residual)
        new = _dot(residual, residual)
        # 0 / 0 in ended rows is not selected.
        direction = torch.where(on, residual + (new / size)[:, None] * direction, direction)
        size = torch.where(active, new, size)
        solution.iterations = solution.iterations + active
        # An ended row repeats its value, so that `values[i]` is iteration i for all.
        values.append(torch.where(active, _value(x, b, residual), values[-1]))
        active = active & (size > 0) & ~_slow(values, i, progress)
        # Few of them: each is [P, N], and is tried by a forward run later.
        if i >= next_kept:
            solution.kept.append(x)
            solution.values.append(values[-1])
            next_kept *= 1.3
    solution.x = x
    # The last one always, even if the loop has just kept it: callers go back from it.
    solution.kept.append(x)
    solution.values.append(values[-1])
    return solution


def _slow(values: list[Tensor], i: int, progress: float) -> Tensor:
    span = max(10, -(-i // 10))  # i / 10 rounded up
    if i <= span:
        return torch.zeros_like(values[-1], dtype=torch.bool)
    now, then = values[-1], values[i - span]
    # Not before the quadratic is negative: a share of a positive value says nothing.
    return (now < 0) & ((now - then) / now < progress * span)


def _value(x: Tensor, b: Tensor, residual: Tensor) -> Tensor:
    # A x = b - residual: no further product with A.
    return -0.5 * _dot(x, b + residual)


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).sum(1)
