"""All that follows the gradient, in one launch: norm, clipping, the optimiser's step, whether it is taken, the tally.

One program per row. It passes over the row's gradient for the norm, over gradient, parameters and state to see whether
the step would stay finite, and over them once more to take it: only the first visit of each comes from memory, the
others find it in the caches. Nothing but the accepted step is written.

Shapes: P rows · N entries of a row's flat parameter vector.
"""

# pyright: reportGeneralTypeIssues=false, reportUndefinedVariable=false
# Triton's ranges and inlined functions are no Python to a type checker.

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core.gpu.formulas import kernel_of
from rnnsweep.core.gpu.launching import finite, launch, power_of_two, ratio, root
from rnnsweep.core.gpu.powers import exponent_of, scaled
from rnnsweep.core.kernels import Cells, Limit, Rows, Told
from rnnsweep.core.optimizers.base import StepFormula
from rnnsweep.core.types import RowStatus

_MOST = 1 << 14
"""Bytes of each vector that a program looks at together: two loads of 16 for each thread of sixteen warps."""
_DIVERGED: tl.constexpr = tl.constexpr(int(RowStatus.DIVERGED))


@triton.jit
def _sum_of_squares(gradients, N, power, BLOCK: tl.constexpr):
    """Of a row's entries, each times 2**power first."""
    total = tl.zeros((BLOCK,), gradients.dtype.element_ty)
    for start in range(0, N, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(gradients + at, mask=at < N, other=0)
        x = scaled(x, power)
        total += x * x
    return tl.sum(total, 0)


@triton.jit
def _largest(gradients, N, BLOCK: tl.constexpr):
    most = tl.zeros((BLOCK,), gradients.dtype.element_ty)
    for start in range(0, N, BLOCK):
        at = start + tl.arange(0, BLOCK)
        most = tl.maximum(most, tl.abs(tl.load(gradients + at, mask=at < N, other=0)))
    return tl.max(most, 0)


@triton.jit
def row_norm(gradients, N, BLOCK: tl.constexpr):
    """As `numerics.row_norm`, of one row: free of overflow and underflow, non-finite where an entry is."""
    total = _sum_of_squares(gradients, N, tl.full((), 0, tl.int32), BLOCK)
    norm = root(total)
    # the second and third pass: seldom, and by rows that need them
    if (total <= 1e-25) | ~(total < 1e35):
        e = exponent_of(_largest(gradients, N, BLOCK))
        norm = scaled(root(_sum_of_squares(gradients, N, 0 - e, BLOCK)), e)
    return norm


@triton.jit
def _at_row(pointers, p):
    """A row's own number of each."""
    own = ()
    for k in tl.static_range(len(pointers)):
        own = own + (tl.load(pointers[k] + p),)  # noqa: RUF005 - Triton adds tuples
    return own


def _moved(values, gradients, slots, own, count, factor, rate, weight, p, base, at, N):  # noqa: PLR0913
    """A block of parameters and state after the step, and the step."""
    some = at < N
    g = tl.load(gradients + base + at, mask=some, other=0)
    if factor is not None:
        g = g * factor
    before = ()
    for k in tl.static_range(len(slots)):
        before = before + (tl.load(slots[k] + base + at, mask=some, other=0),)  # noqa: RUF005 - as above
    step, new = formula(g, before, own, count)  # noqa: F821 - given by `formulas.kernel_of`
    x = tl.load(values + base + at, mask=some, other=0)
    if weight is not None:
        # selected, as in `Optimizer.decay`: step - 0 * x is not the step to the bit
        decay = tl.load(weight + p)
        step = tl.where(decay > 0, step - tl.load(rate + p) * decay * x, step)
    return tl.where(some, x + step, 0), new, step


@triton.jit
def _add(total, count, p, value, on):
    """As `Tally.mean`, of one row."""
    tl.store(total + p, tl.load(total + p) + tl.where(on, value, 0).to(tl.float64))
    tl.store(count + p, tl.load(count + p) + on.to(tl.float64))


@triton.jit
def _limited(norm, known, threshold, share, shared, p, alive):  # noqa: PLR0913
    """(Factor on the gradient, norm after it, whether the row is dropped), as `controllers.clip.limited`."""
    if threshold is not None:
        limit = tl.load(threshold + p)
        over = known & (norm > limit)
        _add(share, shared, p, over.to(tl.float64), alive)
        # exactly 1 where nothing is clipped: a product with 1 changes no bit
        return tl.where(over, ratio(limit, norm), 1), tl.where(over, limit, norm), ~known
    else:
        return tl.full((), 1, norm.dtype), norm, known & ~known


def step_kernel(  # noqa: PLR0913
    values, gradients, loss, slots, own, threshold, rate, weight, admitted, status, step, taken, until, diverged_at,
    losses, lost, norms, normed, bad, seen, share, shared, clipped, limited, N,
    DIVERGES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One update of a row from its gradient on, in place; `values` are its parameters.

    `slots`, `own`: tuples of the optimiser's state and of what its formula reads of the row; threshold, rate and weight
    (of decoupled decay) and `admitted` (rows that gates let step) are None where there is none. Cells of the tally go
    from `losses` to `limited`, see `Told`.
    """
    p = tl.program_id(0).to(tl.int64)
    at, count, cost = tl.load(step + p), tl.load(taken + p), tl.load(loss + p)
    alive = (tl.load(status + p) == 0) & (at < tl.load(until + p))
    base, hypers, block = p * N, _at_row(own, p), tl.arange(0, BLOCK)
    # rows that have ended are not passed over
    norm = row_norm(gradients + base, tl.where(alive, N, 0), BLOCK)
    known, diverged = finite(norm), ~finite(cost)
    _add(losses, lost, p, cost, alive & ~diverged)
    _add(norms, normed, p, norm, alive & known)
    tl.store(bad + p, tl.load(bad + p) + (alive & ~known).to(tl.float64))
    tl.store(seen + p, tl.load(seen + p) | alive.to(tl.int8))
    factor, norm, drop = _limited(norm, known, threshold, share, shared, p, alive)
    _add(clipped, limited, p, norm, alive & finite(norm))
    if DIVERGES:
        diverged |= ~known
    accept = alive & ~diverged & ~drop
    if admitted is not None:
        accept &= tl.load(admitted + p) != 0
    taken_before = count.to(cost.dtype)
    total = tl.zeros((BLOCK,), cost.dtype)
    for start in range(0, tl.where(accept, N, 0), BLOCK):
        x, _, _ = _moved(
            values, gradients, slots, hypers, taken_before, factor, rate, weight, p, base, start + block, N
        )
        total += x
    # a sum is finite where all its terms are, but for overflow, which is as good a reason to stop
    broken = accept & ~finite(tl.sum(total, 0))
    accept &= ~broken
    diverged |= broken
    for start in range(0, tl.where(accept, N, 0), BLOCK):
        x, new, _ = _moved(
            values, gradients, slots, hypers, taken_before, factor, rate, weight, p, base, start + block, N
        )
        tl.store(values + base + start + block, x, mask=start + block < N)
        for k in tl.static_range(len(slots)):
            tl.store(slots[k] + base + start + block, new[k], mask=start + block < N)
    fell = alive & diverged
    tl.store(diverged_at + p, at + 1, mask=fell)
    tl.store(status + p, _DIVERGED, mask=fell)
    tl.store(taken + p, count + accept.to(tl.int64))
    tl.store(step + p, at + alive.to(tl.int64))


def propose_kernel(  # noqa: PLR0913
    values, gradients, slots, own, threshold, rate, weight, taken, proposed, N, BLOCK: tl.constexpr
):  # fmt: skip
    """The step of a row that `step_kernel` would take; nothing is changed."""
    p = tl.program_id(0).to(tl.int64)
    base, hypers, block, factor = p * N, _at_row(own, p), tl.arange(0, BLOCK), None
    if threshold is not None:
        norm = row_norm(gradients + base, N, BLOCK)
        limit = tl.load(threshold + p)
        # exactly 1 where nothing is clipped, as in `_limited`
        factor = tl.where(finite(norm) & (norm > limit), ratio(limit, norm), 1)
    count = tl.load(taken + p).to(values.dtype.element_ty)
    for start in range(0, N, BLOCK):
        _, _, step = _moved(values, gradients, slots, hypers, count, factor, rate, weight, p, base, start + block, N)
        tl.store(proposed + base + start + block, step, mask=start + block < N)


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
        Every entry is rounded as by `Optimizer.propose`; sums of a row run in another order than torch's, the same in
        every pack. A row whose loss or whose parameters after the step are not finite keeps its parameters and ends.
    """
    P, N = rows.params.shape
    block, warps = cut_of(N, rows.params.element_size())
    rate, weight = rows.decay or (None, None)
    arguments = (
        rows.params, gradients.contiguous(), loss.contiguous(), rows.slots, rows.hypers,
        None if limit is None else limit.threshold, rate, weight,
        None if admitted is None else admitted.view(torch.int8),
        rows.status, rows.step, rows.taken, rows.until, rows.diverged_at,
        *told.loss, *told.norm, *_as_bytes(told.nonfinite), *(told.share or (None, None)), *told.clipped_norm, N,
    )  # fmt: skip
    kernel = kernel_of(step_kernel, _moved, formula.step)
    diverges = limit is not None and limit.diverges
    launch(kernel, (P,), arguments, warps=warps, DIVERGES=diverges, BLOCK=block)


def proposed(
    formula: StepFormula, rows: Rows, gradients: Float[Tensor, "P N"], limit: Limit | None, told: Told
) -> Float[Tensor, "P N"]:
    """The steps that `take_steps` would take, for who judges them; nothing is changed, nothing told."""
    del told
    P, N = rows.params.shape
    block, warps = cut_of(N, rows.params.element_size())
    rate, weight = rows.decay or (None, None)
    steps = torch.empty_like(rows.params)
    arguments = (
        rows.params, gradients.contiguous(), rows.slots, rows.hypers, None if limit is None else limit.threshold, rate,
        weight, rows.taken, steps, N,
    )  # fmt: skip
    launch(kernel_of(propose_kernel, _moved, formula.step), (P,), arguments, warps=warps, BLOCK=block)
    return steps


def cut_of(entries: int, size: int) -> tuple[int, int]:
    """Entries that a program looks at together, for rows of so many of this size in bytes; and its warps."""
    block = power_of_two(entries, 128, _MOST // size)
    return block, max(1, 16 * block * size // _MOST)


def _as_bytes(cells: Cells) -> Cells:
    return cells[0], cells[1].view(torch.int8)
