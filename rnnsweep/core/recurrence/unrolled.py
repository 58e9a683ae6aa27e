"""The time loop of any family as differentiable torch operations, one step at a time.

For what needs to reach into the loop (forced states, gradients of growth rates); engines are many times faster. Shapes:
see `core.types`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import LoopGradients, LoopWeights

_PARTS = ("w_rec", "w_in", "bias", "act_bias", "h0")


class _Spread(torch.autograd.Function):
    """`spread`: autograd would sum a broadcast in an order of its own."""

    @staticmethod
    def forward(ctx, values: Tensor, count: int) -> Tensor:
        del ctx
        return values[:, None].expand(-1, count, -1)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return numerics.row_sum(gradients[0]), None


def spread(values: Float[Tensor, "P K"], count: int) -> Float[Tensor, "P count K"]:
    """Each row `count` times, without copies; the gradient is summed over `count` in one fixed order per row."""
    found = _Spread.apply(values, count)
    assert isinstance(found, Tensor)
    return found


class Unrolled:
    """A loop's weights as leaves of a graph, and its steps.

    Attributes:
        weights: copies that require gradients. inputs: likewise where they are drives (no w_in).
        steps: T. own: bool [P, T, S], a sequence's own steps.

    Numerics:
        Elementwise kernels and `numerics.matmul` only: a row's numbers and gradients do not depend on its neighbours.
    """

    def __init__(
        self,
        weights: LoopWeights,
        inputs: Float[Tensor, "P T B I"],
        activation: Activation,
        cell: Cell | None,
        lengths: Int64[Tensor, "P ..."],
    ) -> None:
        # Leaves of its own: gradients are taken for them, whatever the caller's tensors belong to.
        live = {name: None if (part := getattr(weights, name)) is None else _leaf(part) for name in _PARTS}
        self.weights = replace(weights, **live, cell={name: _leaf(part) for name, part in weights.cell.items()})
        self.inputs = _leaf(inputs) if weights.w_in is None else inputs
        self.activation, self.cell = activation, cell
        P, self.steps, self.batch, _ = inputs.shape
        del P
        self.own = own_steps(lengths, self.steps)
        self._drive = self._drives()
        w = self.weights
        # Spread by a product, not by broadcasting: autograd would sum a broadcast in an order of its own.
        self._act_bias = None if w.act_bias is None else spread(w.act_bias, self.batch)
        self._cell = {name: part if part.ndim == 3 else spread(part, self.batch) for name, part in w.cell.items()}

    def start(self) -> Float[Tensor, "P B S"]:
        """h_0, or a cell's whole first state."""
        w = self.weights
        size = w.w_rec.shape[-1] if self.cell is None else self.cell.state
        state = self.inputs.new_zeros(len(self.own), self.batch, size)
        if w.h0 is None:
            return state
        if w.h0.ndim == 3:  # carried over: the whole state, per sequence
            return w.h0
        first = spread(w.h0, self.batch)
        # h_0 may be narrower than a cell's state: its memory begins at 0.
        return torch.cat((first, state[..., first.shape[-1] :]), -1)

    def step(
        self, t: int, state: Float[Tensor, "P B S"], extra: Float[Tensor, "P B D"] | None = None
    ) -> tuple[Float[Tensor, "P B S"], Float[Tensor, "P B A"]]:
        """(the state after step index t, its pre-activation); a step before a row's own start changes nothing.

        Args:
            t: step index. state: the state before it. extra: added to the drive.
        """
        w = self.weights
        drive = self._drive[:, t] if extra is None else self._drive[:, t] + extra
        if self.cell is None:
            a = numerics.matmul(state, w.w_rec) + drive
            new = self.activation.value(a, self._act_bias)
            if w.leak is not None:
                leak = w.leak[:, None, None]
                new = (1 - leak) * state + leak * new
        else:
            new, a = self.cell.moved(state, drive, w.w_rec, self._cell)
        # The graph of an idle step is cut by the same selection: its gradient is exactly 0.
        return torch.where(self.own[:, t, :, None], new, state), a

    def pushed(self, a: Float[Tensor, "P B H"], vectors: Float[Tensor, "P B K H"]) -> Float[Tensor, "P B K H"]:
        """Tangents of the simple cell's state, moved over the step with pre-activation a."""
        w = self.weights
        slope = self.activation.slope(a, self._act_bias)
        moved = numerics.matmul(vectors.flatten(1, 2), w.w_rec).unflatten(1, vectors.shape[1:3])  # P BK H -> P B K H
        # P B 1 H: all K vectors see the same slopes.
        moved = self.activation.pushforward(slope[:, :, None], moved)
        if w.leak is None:
            return moved
        leak = w.leak[:, None, None, None]
        return (1 - leak) * vectors + leak * moved

    def gradients(
        self, outputs: Sequence[Float[Tensor, " ..."]], weights: Sequence[Float[Tensor, " ..."]], *, again: bool = False
    ) -> LoopGradients:
        """Gradients of sum(outputs * weights) for everything that the loop uses; `again` keeps the graph."""
        w = self.weights
        live = {name: part for name in _PARTS if (part := getattr(w, name)) is not None}
        live |= {f"cell.{name}": part for name, part in w.cell.items()}
        live |= {"inputs": self.inputs} if w.w_in is None else {}
        parts = torch.autograd.grad(
            list(outputs), list(live.values()), list(weights), retain_graph=again, allow_unused=True
        )
        named = {
            name: torch.zeros_like(live[name]) if part is None else part for name, part in zip(live, parts, strict=True)
        }
        cell = {name: named.pop(f"cell.{name}") for name in w.cell}
        return LoopGradients(**named, cell=cell)

    def _drives(self) -> Tensor:
        """u_t w_in + bias for all steps, [P, T, B, D]."""
        w = self.weights
        drive = self.inputs
        if w.w_in is not None:
            drive = numerics.matmul(drive.flatten(1, 2), w.w_in).unflatten(1, (self.steps, self.batch))
        if w.bias is None:
            return drive
        return drive + spread(w.bias, self.steps * self.batch).unflatten(1, (self.steps, self.batch))


def _leaf(value: Tensor) -> Tensor:
    return value.detach().clone().requires_grad_()
