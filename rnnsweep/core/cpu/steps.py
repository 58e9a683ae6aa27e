"""All that follows the gradient, in one pass: norm, clipping, the optimiser's step, whether it is taken, the tally.

A row is done before the next one begins: over its gradient for the norm, over gradient, parameters and state to see
whether the step would stay finite, and over them once more to take it: after the first visit they lie in the L2 cache.
Nothing but the accepted step is written. `core.gpu.steps` is the same for a GPU.

Shapes: P rows · N entries of a row's flat parameter vector.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core.cpu.formulas import kernel_of
from rnnsweep.core.cpu.numbers import LANES, at, entries, finite, number, put, row_norm, zero_of
from rnnsweep.core.host_graph import launch
from rnnsweep.core.kernels import Cells, Limit, Rows, Told
from rnnsweep.core.optimizers.base import StepFormula
from rnnsweep.core.recurrence.cpu.compiling import part
from rnnsweep.core.recurrence.cpu.engine.dispatch import TensorAddresses
from rnnsweep.core.types import RowStatus

_DIVERGED = int(RowStatus.DIVERGED)


class StepJob(NamedTuple):
    """Addresses of what `step_kernel` reads and writes of each row; 0 where there is none.

    `values` are parameters; rate and weight are of decoupled decay; from `losses` on it is told, see `kernels.Told`.
    """

    N: int
    diverges: int
    values: int
    threshold: int
    rate: int
    weight: int
    status: int
    step: int
    taken: int
    until: int
    diverged_at: int
    losses: int
    lost: int
    norms: int
    normed: int
    bad: int
    seen: int
    share: int
    shared: int
    clipped: int
    limited: int


@part
def _moved(values, gradients, slots, own, count, factor, rate, weight, i, zero):  # noqa: PLR0913
    """An entry of parameters and state after the step, and of the step."""
    step, new = formula(gradients[i] * factor, entries(slots, i, zero), own, count)  # noqa: F821  # pyright: ignore[reportUndefinedVariable] - given by `formulas.kernel_of`
    x = values[i]
    # selected, as in `Optimizer.decay`: step - 0 * x is not the step to the bit
    if weight > 0:
        step = step - rate * weight * x
    return x + step, new, step


@part
def _add(total, count, p, value, on):
    """As `Tally.mean`, of one row."""
    if on:
        total, count = at(total, np.float64(0)), at(count, np.float64(0))
        total[p] += np.float64(value)
        count[p] += 1


@part
def _limited(job, p, norm, zero):
    """(Factor on the gradient, norm after it, whether the row is dropped), as `controllers.clip.limited`."""
    factor = number(1, zero)
    if job.threshold == 0:
        return factor, norm, False
    limit, known = at(job.threshold, zero)[p], finite(norm)
    over = known and norm > limit
    _add(job.share, job.shared, p, number(over, zero), True)
    # exactly 1 where nothing is clipped: a product with 1 changes no bit
    return (limit / norm, limit, False) if over else (factor, norm, not known)


@part
def _decay(job, p, zero):
    """Rate and weight of a row's decay; 0 where there is none."""
    return (at(job.rate, zero)[p], at(job.weight, zero)[p]) if job.weight else (zero, zero)


@part
def _tell(job, p, cost, norm, after):
    """What is known of a row before its step."""
    _add(job.losses, job.lost, p, cost, finite(cost))
    _add(job.norms, job.normed, p, norm, finite(norm))
    _add(job.clipped, job.limited, p, after, finite(after))
    bad, seen = at(job.bad, np.float64(0)), at(job.seen, np.int8(0))
    bad[p] += not finite(norm)
    seen[p] = 1


def step_kernel(zero, job, slots, own, P, gradients, loss, admitted):  # noqa: PLR0913
    """One update of each row that has not ended, from its gradient on, in place.

    `slots`, `own`: tuples of addresses, of the optimiser's state and of what its formula reads of the row; `admitted`:
    rows that gates let step, int8; 0 for all.
    """
    lanes, N, whole, flag = np.full(LANES, zero), job.N, np.int64(0), np.int8(0)
    values, gradients, loss = at(job.values, zero), at(gradients, zero), at(loss, zero)
    step, taken, until = at(job.step, whole), at(job.taken, whole), at(job.until, whole)
    diverged_at, status, let = at(job.diverged_at, whole), at(job.status, flag), at(admitted, flag)
    for p in range(P):
        if status[p] != 0 or step[p] >= until[p]:
            continue
        begin, norm = p * N, row_norm(gradients, p * N, N, lanes, zero)
        factor, after, drop = _limited(job, p, norm, zero)
        _tell(job, p, loss[p], norm, after)
        diverged = not finite(loss[p]) or (job.diverges and not finite(norm))
        accept = not diverged and not drop and (admitted == 0 or let[p] != 0)
        (rate, weight), hypers, count = _decay(job, p, zero), entries(own, p, zero), number(taken[p], zero)
        if accept:
            broken = np.int32(0)
            for i in range(begin, begin + N):
                x, _, _ = _moved(values, gradients, slots, hypers, count, factor, rate, weight, i, zero)
                broken |= np.int32(not finite(x))
            accept, diverged = broken == 0, broken != 0
        if accept:
            for i in range(begin, begin + N):
                x, new, _ = _moved(values, gradients, slots, hypers, count, factor, rate, weight, i, zero)
                values[i] = x
                put(slots, i, new)
            taken[p] += 1
        step[p] += 1
        if diverged:
            diverged_at[p] = step[p]
            status[p] = _DIVERGED


def propose_kernel(zero, job, slots, own, P, gradients, proposed):  # noqa: PLR0913
    """Writes the step of each row that `step_kernel` would take; nothing else is changed."""
    lanes, N, proposed = np.full(LANES, zero), job.N, at(proposed, zero)
    values, gradients, taken = at(job.values, zero), at(gradients, zero), at(job.taken, np.int64(0))
    for p in range(P):
        begin, factor = p * N, number(1, zero)
        if job.threshold:
            norm, limit = row_norm(gradients, begin, N, lanes, zero), at(job.threshold, zero)[p]
            # exactly 1 where nothing is clipped, as in `_limited`
            if finite(norm) and norm > limit:
                factor = limit / norm
        (rate, weight), hypers, count = _decay(job, p, zero), entries(own, p, zero), number(taken[p], zero)
        for i in range(begin, begin + N):
            _, _, step = _moved(values, gradients, slots, hypers, count, factor, rate, weight, i, zero)
            proposed[i] = step


def take_steps(  # noqa: PLR0913
    formula: StepFormula,
    rows: Rows,
    gradients: Float[Tensor, "P N"],
    loss: Float[Tensor, " P"],
    limit: Limit | None,
    told: Told,
    admitted: Bool[Tensor, " P"] | None = None,
) -> None:
    """What `tile.update` does once gradients and losses are there, where at most a limit of the norm acts on them.

    Args:
        formula: the optimiser's. rows: what is changed.
        gradients, loss: of this mini-batch.
        limit: of the norm, where there is one.
        told: where diagnostics go.
        admitted: rows that gates let take their step (see `proposed`); None: all.

    Numerics:
        To the bit what torch's operations make of the row in `tile.update`, whichever way its tile goes: every entry is
        rounded as by `Optimizer.propose`, norms are those of `numerics.row_norm`.
    """
    P, at = len(rows.params), TensorAddresses(rows.params.dtype)
    let = None if admitted is None else admitted.view(torch.int8)
    launch(
        kernel_of(step_kernel, _moved, formula.step), zero_of(at.dtype), *_kept(rows, limit, told), P,
        at.read("gradients", gradients, tuple(rows.params.shape)),
        at.read("loss", loss, (P,)), at.read("admitted", let, (P,), torch.int8),
    )  # fmt: skip


def proposed(
    formula: StepFormula, rows: Rows, gradients: Float[Tensor, "P N"], limit: Limit | None, told: Told
) -> Float[Tensor, "P N"]:
    """The steps that `take_steps` would take, for who judges them; nothing is changed, nothing told."""
    P, at, steps = len(rows.params), TensorAddresses(rows.params.dtype), torch.empty_like(rows.params)
    launch(
        kernel_of(propose_kernel, _moved, formula.step), zero_of(at.dtype), *_kept(rows, limit, told), P,
        at.read("gradients", gradients, tuple(rows.params.shape)),
        at.view("steps", steps, tuple(rows.params.shape)),
    )  # fmt: skip
    return steps


@dataclass(frozen=True)
class _Kept:
    """Addresses of what stays where it is from one update to the next.

    Attributes:
        limit, told: whose they are. job, slots, own: see `step_kernel`.
    """

    limit: Limit | None
    told: Told
    job: StepJob
    slots: tuple[int, ...]
    own: tuple[int, ...]


_KEPT: MutableMapping[Rows, _Kept] = WeakKeyDictionary()
"""Of rows that were there before: checked once, as long as limit and diagnostics are the same too."""


def _kept(rows: Rows, limit: Limit | None, told: Told) -> tuple[StepJob, tuple[int, ...], tuple[int, ...]]:
    kept = _KEPT.get(rows)
    if kept is None or kept.limit is not limit or kept.told is not told:
        kept = _KEPT[rows] = _found(rows, limit, told)
    return kept.job, kept.slots, kept.own


def _found(rows: Rows, limit: Limit | None, told: Told) -> _Kept:
    """Checked addresses."""
    P, N = rows.params.shape
    at = TensorAddresses(rows.params.dtype)

    def of(name: str, tensor: Tensor | None, *shape: int, dtype: torch.dtype | None = None) -> int:
        if tensor is not None and not tensor.is_contiguous():
            # a copy would not be what the next update reads, nor where this one writes
            raise ValueError(f"{name} has gaps")
        return at.view(name, tensor, (P, *shape), dtype)

    def cells(name: str, pair: Cells | tuple[None, None], counted: torch.dtype = torch.float64) -> tuple[int, int]:
        return of(name, pair[0], dtype=torch.float64), of(f"{name}'s rows", pair[1], dtype=counted)

    rate, weight = rows.decay or (None, None)
    threshold, diverges = (None, False) if limit is None else (limit.threshold, limit.diverges)
    clock = partial(of, dtype=torch.int64)
    job = StepJob(
        N, int(diverges), of("params", rows.params, N), of("threshold", threshold), of("rate", rate, 1),
        of("weight", weight, 1), of("status", rows.status, dtype=torch.int8), clock("step", rows.step),
        clock("taken", rows.taken), clock("until", rows.until), clock("diverged_at", rows.diverged_at),
        *cells("loss", told.loss), *cells("norm", told.norm), *cells("nonfinite", told.nonfinite, torch.bool),
        *cells("share", told.share or (None, None)), *cells("clipped norm", told.clipped_norm),
    )  # fmt: skip
    slots = tuple(of(f"slot {k}", slot, N) for k, slot in enumerate(rows.slots))
    return _Kept(limit, told, job, slots, tuple(of(f"hyper {k}", own, 1) for k, own in enumerate(rows.hypers)))
