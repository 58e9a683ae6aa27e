"""The reference engine: plain torch on any device, and the oracle for the fused engines."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation, OutputSlope
from rnnsweep.core.recurrence.base import Tangent
from rnnsweep.core.recurrence.layer_norm import NormedRecord, normalised, pulled_back
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Direct, LoopGradients, LoopMasks, LoopWeights, Record, Trace


class ReferenceEngine:
    """Step-by-step loops of batched products; every other engine is tested against this one.

    Numerics:
        Row independence rests on `numerics.matmul`, on elementwise kernels, and on torch's sums over one axis, whose
        order is that axis' alone (tests/core/test_numerics.py checks it). A step before a row's own start is selected
        away with `where`, so that non-finite values there cannot leak.
    """

    name = "reference"
    tile: int | None = 16
    regularised = True

    def refuses(self, activation: Activation, dtype: torch.dtype) -> str | None:
        """Nothing is refused."""
        del activation, dtype
        return None

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> Record:
        """See `Engine.forward`."""
        P, T, B, _ = inputs.shape
        H, gain, masks = weights.w_rec.shape[-1], weights.cell.get("gain"), weights.masks or LoopMasks()
        drive = _drive(inputs, weights)  # P T B H
        h = inputs.new_zeros(P, T + 1, B, H)
        if weights.h0 is not None:
            h[:, 0] = weights.h0 if weights.h0.ndim == 3 else weights.h0[:, None, :]
        # With a leak or a zone the state mixes f(a) with what was before, and f' cannot be read from it.
        store = not activation.from_output or weights.leak is not None or masks.zone is not None
        slope = inputs.new_empty(P, T, B, H) if store else None
        hat, spread = (inputs.new_empty(P, T if gain is not None else 0, B, width) for width in (H, 1))
        act_bias = None if weights.act_bias is None else weights.act_bias[:, None, :]
        active = own_steps(lengths, T)[..., None]  # P T S 1
        for t in range(T):
            a = numerics.matmul(read_state(h[:, t], masks), weights.w_rec) + drive[:, t]
            if gain is not None:
                hat[:, t], spread[:, t] = normalised(a)
                a = gain[:, None, :] * hat[:, t] + weights.cell["bias"][:, None, :]
            y = activation.value(a, act_bias)
            if weights.leak is not None:
                leak = weights.leak[:, None, None]
                y = (1 - leak) * h[:, t] + leak * y
            y = zoned(y, h[:, t], masks, t)
            # `where`, not a product with 0: 0 * inf would be NaN.
            h[:, t + 1] = torch.where(active[:, t], y, h[:, t])
            if slope is not None:
                slope[:, t] = activation.slope(a, act_bias)
        if gain is not None:
            return NormedRecord(inputs, h, slope, weights, lengths, hat, spread)
        return Record(inputs, h, slope, weights, lengths)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`."""
        w, masks = record.weights, record.weights.masks or LoopMasks()
        P, T, B, H = record.h.shape[0], record.h.shape[1] - 1, record.h.shape[2], record.h.shape[3]
        delta, x = record.h.new_empty(P, T, B, H), record.h.new_empty(P, T, B, H)
        # Once per loop: every step would make its own copy.
        transposed = w.w_rec.transpose(1, 2).contiguous()
        active = own_steps(record.lengths, T)[..., None]  # P T S 1
        # Vectors whose gradients are summed step by step.
        own = {name: torch.zeros_like(value) for name, value in w.cell.items()}
        if w.act_bias is not None:
            own["act_bias"] = torch.zeros_like(w.act_bias)
        g = direct.last if direct.steps is None else direct.steps[:, -1]
        assert g is not None
        for t in range(T - 1, -1, -1):
            # At the last step g is the direct part itself, set before the loop.
            if direct.steps is not None and t < T - 1:
                g = x[:, t + 1] + direct.steps[:, t]
            on = active[:, t]
            inner, passed = unzoned(g, masks, t)
            slope = slope_at(record, activation, t)
            scaled = inner if w.leak is None else w.leak[:, None, None] * inner
            d = torch.where(on, activation.pullback(slope, scaled), torch.zeros_like(g))
            if isinstance(record, NormedRecord):
                own["gain"] += (d * record.hat[:, t]).sum(1)
                own["bias"] += d.sum(1)
                d = pulled_back(d * w.cell["gain"][:, None, :], record.hat[:, t], record.spread[:, t])
            back = read_state(numerics.matmul(d, transposed), masks)
            if w.leak is not None:
                back = (1 - w.leak[:, None, None]) * inner + back
            if passed is not None:
                back = back + passed
            delta[:, t], x[:, t] = d, torch.where(on, back, g)
            if w.act_bias is not None:
                part = activation.bias_gradient(slope, _unmixed(record, masks, t), scaled)
                assert part is not None
                own["act_bias"] += torch.where(on, part, torch.zeros_like(part)).sum(1)
            g = x[:, t]
        trace = Trace(record, direct, delta, x)
        return self._gradients(trace, own), trace if keep else None

    def _gradients(self, trace: Trace, own: dict[str, Tensor]) -> LoopGradients:
        w, record = trace.record.weights, trace.record
        seen = record.h[:, :-1]
        if w.masks is not None and w.masks.recurrent is not None:
            seen = seen * w.masks.recurrent[:, None]
        return LoopGradients(
            w_rec=self.outer(seen, trace.delta),
            w_in=None if w.w_in is None else self.outer(record.inputs, trace.delta),
            bias=None if w.bias is None else numerics.row_sum(trace.delta.flatten(1, 2)),
            act_bias=own.get("act_bias"),
            h0=None if w.h0 is None else trace.x[:, 0].sum(1),
            inputs=trace.delta if w.w_in is None else None,
            cell={name: own[name] for name in w.cell},
        )

    def tangent(
        self, trace: Trace, step: Float[Tensor, "P R A"], horizon: Int64[Tensor, " P"], activation: Activation
    ) -> Tangent:
        """See `Engine.tangent`. Carries g and dg, so that leaky cells need no other recursion."""
        record, w = trace.record, trace.record.weights
        P, T = trace.delta.shape[:2]
        w_t, s_t = w.w_rec.transpose(1, 2).contiguous(), step.transpose(1, 2).contiguous()
        leak = None if w.leak is None else w.leak[:, None, None]
        g = trace.totals()[:, -1] if leak is not None else torch.zeros_like(trace.delta[:, -1])
        # Without a leak g never enters the recursion; zeros stand in for it.
        delta, ddelta, dg = trace.delta[:, -1], torch.zeros_like(g), torch.zeros_like(g)
        exponent = torch.zeros(P, dtype=torch.int64, device=step.device)
        for back in range(1, T):
            on = (horizon >= back)[:, None, None]
            # Both are scaled by the same power before every step, so that deltas of 1e-80 survive in float32.
            power = numerics.exponent_of(delta.abs().flatten(1).amax(1))
            g, dg, delta_s, ddelta_s = (
                numerics.scale_by_power(v, -power[:, None, None]) for v in (g, dg, delta, ddelta)
            )
            new_g, new_dg = (
                numerics.matmul(delta_s, w_t),
                numerics.matmul(ddelta_s, w_t) + numerics.matmul(delta_s, s_t),
            )
            if leak is not None:
                new_g, new_dg = new_g + (1 - leak) * g, new_dg + (1 - leak) * dg
            slope = slope_at(record, activation, T - 1 - back)
            scale = (lambda v: v) if leak is None else (lambda v: leak * v)
            delta = torch.where(on, activation.pullback(slope, scale(new_g)), delta)
            ddelta = torch.where(on, activation.pullback(slope, scale(new_dg)), ddelta)
            g, dg = torch.where(on, new_g, g), torch.where(on, new_dg, dg)
            exponent = exponent + torch.where(horizon >= back, power, torch.zeros_like(power))
        return Tangent(delta, ddelta, exponent)

    def outer(
        self,
        left: Float[Tensor, "P T B K"],
        right: Float[Tensor, "P T B M"],
        weight: Float[Tensor, "P T B"] | None = None,
    ) -> Float[Tensor, "P K M"]:
        """See `Engine.outer`."""
        if weight is not None:
            right = right * weight[..., None]
        # Time and batch are one inner index: the sum over both is one product per row.
        return numerics.matmul(left.flatten(1, 2).transpose(1, 2), right.flatten(1, 2))

    def square_norms(self, x: Float[Tensor, "P T B H"]) -> Float[Tensor, "P T B"]:
        """See `Engine.square_norms`."""
        return (x * x).sum(-1)

    def matmul(self, left: Float[Tensor, "P M K"], right: Float[Tensor, "P K N"]) -> Float[Tensor, "P M N"]:
        """See `Engine.matmul`."""
        return numerics.matmul(left, right)


def slope_at(record: Record, activation: Activation, t: int) -> Float[Tensor, "P B H"]:
    """f'(a) of step index t, stored or derived from the state."""
    if record.slope is not None:
        return record.slope[:, t]
    assert isinstance(activation, OutputSlope)  # else forward has stored the slope
    return activation.slope_from_output(record.h[:, t + 1])


def read_state(x: Float[Tensor, "P B H"], masks: LoopMasks) -> Float[Tensor, "P B H"]:
    """What the recurrent matrix reads of a state; the same factors lead an error back."""
    return x if masks.recurrent is None else masks.recurrent * x


def zoned(
    new: Float[Tensor, "P B S"], before: Float[Tensor, "P B S"], masks: LoopMasks, t: int
) -> Float[Tensor, "P B S"]:
    """The state after step index t, of what the step made and of what was before.

    Numerics:
        Where a unit keeps its state that is the state before, whatever the step made: 0 * inf would be NaN.
    """
    if masks.zone is None:
        return new
    zone = masks.zone[:, t]
    return torch.where(zone >= 1, before, torch.where(zone <= 0, new, zone * before + (1 - zone) * new))


def unzoned(
    g: Float[Tensor, "P B S"], masks: LoopMasks, t: int
) -> tuple[Float[Tensor, "P B S"], Float[Tensor, "P B S"] | None]:
    """Of the error of a state: what goes into the step, and what passes it by; None: nothing does."""
    if masks.zone is None:
        return g, None
    zone = masks.zone[:, t]
    return (1 - zone) * g, zone * g


def _unmixed(record: Record, masks: LoopMasks, t: int) -> Float[Tensor, "P B H"]:
    """f(a) of step index t up to a positive factor; anything where the step made no difference."""
    w, h = record.weights, record.h
    if w.leak is None and masks.zone is None:
        return h[:, t + 1]
    share = 0 if w.leak is None else 1 - w.leak[:, None, None]
    if masks.zone is not None:
        share = masks.zone[:, t] + (1 - masks.zone[:, t]) * share
    return h[:, t + 1] - h[:, t] * share


def _drive(inputs: Float[Tensor, "P T B I"], weights: LoopWeights) -> Float[Tensor, "P T B H"]:
    """u_t w_in + bias for all steps at once."""
    drive = inputs
    if weights.w_in is not None:
        drive = numerics.matmul(inputs.flatten(1, 2), weights.w_in).unflatten(1, inputs.shape[1:3])
    return drive if weights.bias is None else drive + weights.bias[:, None, None, :]
