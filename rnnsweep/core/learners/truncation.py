"""Backpropagation that stops at cuts of the sequence."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.loops import LoopRun
from rnnsweep.core.sequence_lengths import per_sequence
from rnnsweep.core.types import Direct, LoopGradients, Record, Trace


def backward(
    loop: LoopRun, direct: Direct, horizon: int, *, keep: bool, one: bool = False
) -> tuple[LoopGradients, Trace | None]:
    """`Engine.backward` over chunks of `horizon` steps, counted from the end of the sequence; none crosses a cut.

    An error at the last step reaches back `horizon` steps. With errors at every step each reaches back to the start of
    its own chunk, 1 to `horizon` steps, the oldest chunk being the shorter one: the usual practice, except that
    cuts are counted from the end, so that they are the same for rows of any length.

    Of a network with several loops each is cut at the same steps: no error crosses a cut on its way down either. Below
    a loop with a last-step error they are at every step of the last chunk and of no other (`one`).

    The trace of a last-step error is that of the last `horizon` steps alone, a sequence of that length. The other one
    has all steps; what the first step of a chunk hands back is 0 in it, since nobody receives it (`Trace.cut`), but for
    rows that begin there: their h_0 does.

    Numerics:
        Chunks are added from the last to the first. `horizon` >= T is `Engine.backward` itself.
    """
    record = loop.record
    T = record.h.shape[1] - 1
    if horizon >= T:
        return loop.backward(direct, keep=keep)
    # A gradient of h_0 is a sum over sequences, of which perhaps some begin in a chunk: it is made from the trace.
    apart = record.lengths.ndim == 2 and record.weights.h0 is not None
    if one or direct.steps is None:
        end = direct if direct.steps is None else Direct(steps=direct.steps[:, T - horizon :].contiguous())
        found, trace = replace(loop, record=record.between(T - horizon, T)).backward(end, keep=keep or apart)
        # One chunk is all: earlier steps get no error.
        return _placed(_begun(found, trace, record, T - horizon), T - horizon), trace if keep else None
    cuts = [(max(0, end - horizon), end) for end in range(T, 0, -horizon)]
    loops, traces = [], []
    for start, end in cuts:
        part = Direct(steps=direct.steps[:, start:end].contiguous())
        found, trace = replace(loop, record=record.between(start, end)).backward(part, keep=keep or apart)
        loops.append(_begun(found, trace, record, start))
        traces.append(trace)
    return _sum(loops), _joined(record, direct, traces) if keep else None


def _begun(loop: LoopGradients, trace: Trace | None, record: Record, start: int) -> LoopGradients:
    """h_0 gets a gradient from the chunk that a sequence begins in only: elsewhere it is the chunk's first state."""
    if loop.h0 is None:
        return loop
    begins = record.h.shape[1] - 1 - per_sequence(record.lengths) >= start  # P S
    if record.lengths.ndim == 1:
        begins = begins.reshape(-1, *(1 for _ in loop.h0.shape[1:]))
        return replace(loop, h0=torch.where(begins, loop.h0, torch.zeros_like(loop.h0)))
    assert trace is not None
    first = trace.x[:, 0, :, : loop.h0.shape[-1]]
    first = torch.where(begins[..., None], first, torch.zeros_like(first))  # P B S
    return replace(loop, h0=first if loop.h0.ndim == 3 else numerics.row_sum(first))


def _placed(loop: LoopGradients, start: int) -> LoopGradients:
    if loop.inputs is None:
        return loop
    # Drives of steps that no error reached: gradient 0, P T B D as a whole.
    idle = loop.inputs.new_zeros(len(loop.inputs), start, *loop.inputs.shape[2:])
    return replace(loop, inputs=torch.cat((idle, loop.inputs), 1))


def _sum(loops: list[LoopGradients]) -> LoopGradients:
    """Parameters' gradients added up, drives' side by side; the last chunk comes first."""
    total = loops[0]
    for loop in loops[1:]:
        own = {name: part + loop.cell[name] for name, part in total.cell.items()}
        named: dict[str, Tensor | None] = {
            name: None if (part := getattr(total, name)) is None else part + getattr(loop, name)
            for name in ("w_rec", "w_in", "bias", "act_bias", "h0")
        }
        total = replace(total, **named, cell=own)
    if total.inputs is None:
        return total
    # The last chunk came first: reversed, they stand in the order of time.
    return replace(total, inputs=torch.cat([loop.inputs for loop in reversed(loops) if loop.inputs is not None], 1))


def _joined(record: Record, direct: Direct, traces: list[Trace | None]) -> Trace:
    parts = [trace for trace in reversed(traces) if trace is not None]
    x = torch.cat([part.x for part in parts], 1)
    T = x.shape[1]
    lengths = per_sequence(record.lengths)
    cut = torch.zeros(len(x), T, lengths.shape[1], dtype=torch.bool, device=x.device)
    first = 0
    for part in parts:
        # Where a sequence begins h_0 receives its x; step 0 is the first of the longest rows.
        cut[:, first] = T - lengths != first
        first += part.x.shape[1]
    x = torch.where(cut[..., None], torch.zeros_like(x), x)
    return Trace(record, direct, torch.cat([part.delta for part in parts], 1), x, cut)
