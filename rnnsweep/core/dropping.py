"""Masks of a loop's run over a mini-batch: which there are, and the error's way back through them.

What a mask is, and how it is addressed: `core.dropout_masks`. In evaluation nothing is dropped, as factors were scaled
up in training; zoneout mixes every unit's states by their expectation. Shapes: see `core.types`.

References:
    Srivastava et al. (2014); between layers as Zaremba et al. (2014). Variational: Gal, Ghahramani (2016), whose masks
    are per sequence for inputs, recurrent states (one for all gates) and outputs. Zoneout: Krueger et al. (2017).
    DropConnect on recurrent matrices: Merity, Keskar, Socher (2018).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.dropout_masks import MaskDraws
from rnnsweep.core.families.base import Family, Values
from rnnsweep.core.types import Direct, LoopGradients, LoopMasks, LoopWeights


@dataclass(frozen=True)
class Dropping:
    """What multiplies what in one run of a loop; None: nothing does.

    Attributes:
        inputs: [P, T or 1, B, K]. outputs: [P, T or 1, B, H]. matrix: [P, R, A]. loop: masks of the loop itself.
    """

    inputs: Float[Tensor, "P _ B K"] | None = None
    outputs: Float[Tensor, "P _ B H"] | None = None
    matrix: Float[Tensor, "P R A"] | None = None
    loop: LoopMasks | None = None

    def entered(self, x: Float[Tensor, "P T B K"]) -> Float[Tensor, "P T B K"]:
        """What the loop's input path sees; errors of it take the same way back."""
        return x if self.inputs is None else x * self.inputs

    def weighed(self, weights: LoopWeights) -> LoopWeights:
        """The weights that the loop runs with."""
        w_rec = weights.w_rec if self.matrix is None else weights.w_rec * self.matrix
        return weights if self.matrix is None and self.loop is None else replace(weights, w_rec=w_rec, masks=self.loop)

    def unweighed(self, gradients: LoopGradients) -> LoopGradients:
        """Gradients of the weights without masks."""
        return gradients if self.matrix is None else replace(gradients, w_rec=gradients.w_rec * self.matrix)

    def shown(self, states: Float[Tensor, "P T1 B H"]) -> Float[Tensor, "P T1 B H"]:
        """What the read-out sees of the states, h_0 first, which is no output."""
        if self.outputs is None:
            return states
        return torch.cat((states[:, :1], states[:, 1:] * self.outputs), 1)

    def hidden(self, direct: Direct) -> Direct:
        """Errors of the states from those of what was seen of them."""
        if self.outputs is None:
            return direct
        if direct.steps is not None:
            return Direct(steps=direct.steps * self.outputs)
        assert direct.last is not None
        return Direct(last=direct.last * self.outputs[:, -1])


def dropping(
    family: Family,
    hypers: Values,
    draws: MaskDraws | None,
    weights: LoopWeights,
    inputs: Float[Tensor, "P T B K"],
    *,
    ends: tuple[bool, bool],
) -> Dropping:
    """The masks of one loop's run.

    Args:
        family: of the loop alone. hypers: its own.
        draws: of its layer; None in evaluation.
        weights: its own. inputs: what comes in.
        ends: whether it is the network's first layer, and its last.
    """
    on = family.random
    T, B = inputs.shape[1:3]
    zones = [(name, width) for name, width in _zones(family) if name in on]
    if draws is None:
        zone = expected_zone(family, hypers)
        return Dropping(loop=None if zone is None else LoopMasks(zone=zone[:, None].expand(-1, T, B, -1)))

    def mask(name: str, width: int) -> Tensor | None:
        if name not in on:
            return None
        return (
            draws.sequences(name, hypers[name], width)
            if family.variational
            else draws.steps(name, hypers[name], T, width)
        )

    recurrent = None
    if "recurrent_dropout" in on:
        width = weights.w_rec.shape[-2]
        recurrent = draws.sequences("recurrent_dropout", hypers["recurrent_dropout"], width)[:, 0]  # P B R
    zone = None
    if zones:
        zero = torch.zeros_like(hypers["zoneout"])
        parts = [draws.zones(name, hypers[name] if name in on else zero, T, width) for name, width in _zones(family)]
        zone = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
    matrix = None
    if "weight_drop" in on:
        R, A = weights.w_rec.shape[1:]
        matrix = draws.weights("weight_drop", hypers["weight_drop"], (R, A))
    loop = None if recurrent is None and zone is None else LoopMasks(recurrent, zone)
    first, last = ends
    entry = mask("input_dropout" if first else "dropout", inputs.shape[-1])
    return Dropping(entry, mask("output_dropout", family.width) if last else None, matrix, loop)


def expected_zone(family: Family, hypers: Values) -> Float[Tensor, "P 1 S"] | None:
    """The share of each entry of the state that evaluation keeps; None without zoneout."""
    if not {"zoneout", "zoneout_cell"} & set(family.random):
        return None
    return torch.cat([hypers[name][:, None, None].expand(-1, 1, width) for name, width in _zones(family)], -1)


def mixed(
    zone: Float[Tensor, "... 1 S"] | None, before: Float[Tensor, "... B S"], new: Float[Tensor, "... B S"]
) -> Float[Tensor, "... B S"]:
    """The state that evaluation expects after a step."""
    return new if zone is None else zone * before + (1 - zone) * new


def _zones(family: Family) -> list[tuple[str, int]]:
    """Rates of the parts of a state, in order, and how wide these are."""
    hidden, cell = family.hidden, family.cell
    parts = [("zoneout", hidden)]
    return parts if cell is None or cell.state == hidden else [*parts, ("zoneout_cell", cell.state - hidden)]
