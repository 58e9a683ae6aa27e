"""The tangent recursion through depth and time: all layers of a network of simple loops as one loop.

Shapes: see `core.types`; L layers, H is the sum of their widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.families.base import Values
from rnnsweep.core.loops import BackwardPass, Loop
from rnnsweep.core.recurrence.base import Tangent
from rnnsweep.core.recurrence.reference import slope_at
from rnnsweep.core.types import Record


@dataclass(frozen=True)
class _Layer:
    """One loop with its transposed matrices, and their change."""

    loop: Loop
    record: Record
    back: Tensor
    back_step: Tensor
    down: Tensor | None
    down_step: Tensor | None


def path_tangent(
    passes: Sequence[BackwardPass], step: Values, horizon: Int64[Tensor, " P"]
) -> tuple[Tangent, Float[Tensor, "P B H"]]:
    """delta_{T-h} of all layers and its change for a candidate step of the parameters; and delta_T of all layers.

    f' is frozen, and so is the last layer's delta_T. An error goes back in time by W_rec^T and down by W_in^T:

        delta^l_t = f'(a^l_t) (delta^l_{t+1} W^l^T + delta^{l+1}_t V^{l+1}^T),    at t = T without its first term

    and its change by the product rule.

    Args:
        passes: of all loops, at the inputs first; of simple cells without a leak, with traces.
        step: candidate step of the network's parameters.
        horizon: look-back h; 0 gives delta_T.

    Numerics:
        Rescaled by exact powers of two per row and step, as `Engine.tangent`: the largest |delta| of all layers is in
        [1/2, 1) before each step. Plain torch operations, row by row.

    References:
        Chernodub, Nowicki (2016) for one layer; the rest is ours (docs/maths.md#layers).
    """
    layers = [_layer(one, step, first=index == 0) for index, one in enumerate(passes)]
    top = passes[-1].trace
    assert top is not None
    T = top.delta.shape[1]
    deltas = _down(layers, T - 1, [None] * (len(layers) - 1) + [(top.delta[:, -1], torch.zeros_like(top.delta[:, -1]))])
    last = torch.cat([delta for delta, _ in deltas], -1)
    exponent = torch.zeros(len(last), dtype=torch.int64, device=last.device)
    for back in range(1, T):
        on = horizon >= back
        size = torch.stack([delta.abs().flatten(1).amax(1) for delta, _ in deltas]).amax(0)
        power = numerics.exponent_of(size)
        scaled = [_scaled(pair, -power[:, None, None]) for pair in deltas]
        handed = [
            _through(delta, change, layer.back, layer.back_step)
            for (delta, change), layer in zip(scaled, layers, strict=True)
        ]
        moved = _down(layers, T - 1 - back, [_sloped(layers[i], T - 1 - back, pair) for i, pair in enumerate(handed)])
        keep = on[:, None, None]
        deltas = [
            (torch.where(keep, new, old), torch.where(keep, new_change, old_change))
            for (new, new_change), (old, old_change) in zip(moved, deltas, strict=True)
        ]
        exponent = exponent + torch.where(on, power, torch.zeros_like(power))
    found = Tangent(
        torch.cat([delta for delta, _ in deltas], -1), torch.cat([change for _, change in deltas], -1), exponent
    )
    return found, last


def _layer(one: BackwardPass, step: Values, *, first: bool) -> _Layer:
    loop, trace = one.loop, one.trace
    assert trace is not None
    assert loop.weights.leak is None  # `Sampling.check_with` has seen to it
    back, back_step = loop.weights.w_rec, loop.recurrent_step(step)
    down, down_step = None, None
    if not first:
        assert loop.weights.w_in is not None
        down, down_step = loop.weights.w_in, loop.place.own(step)["w_in"]
    turned = [
        None if part is None else part.transpose(1, 2).contiguous() for part in (back, back_step, down, down_step)
    ]
    assert turned[0] is not None
    assert turned[1] is not None
    return _Layer(loop, trace.record, turned[0], turned[1], turned[2], turned[3])


def _down(layers: Sequence[_Layer], t: int, own: Sequence[tuple[Tensor, Tensor] | None]) -> list[tuple[Tensor, Tensor]]:
    """The deltas of step index t, from what each layer has of its own (f' applied), by way of the errors from above."""
    found: list[tuple[Tensor, Tensor]] = []
    for index in range(len(layers) - 1, -1, -1):
        pair = own[index]
        if found:
            above = layers[index + 1]
            assert above.down is not None
            assert above.down_step is not None
            given = _sloped(layers[index], t, _through(*found[0], above.down, above.down_step))
            pair = given if pair is None else (pair[0] + given[0], pair[1] + given[1])
        assert pair is not None
        found.insert(0, pair)
    return found


def _through(delta: Tensor, change: Tensor, matrix: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """delta M and its change."""
    return numerics.matmul(delta, matrix), numerics.matmul(change, matrix) + numerics.matmul(delta, step)


def _sloped(layer: _Layer, t: int, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Through f' of step index t."""
    slope = slope_at(layer.record, layer.loop.activation, t)
    value, change = (layer.loop.activation.pullback(slope, part) for part in pair)
    return value, change


def _scaled(pair: tuple[Tensor, Tensor], power: Tensor) -> tuple[Tensor, Tensor]:
    value, change = (numerics.scale_by_power(part, power) for part in pair)
    return value, change
