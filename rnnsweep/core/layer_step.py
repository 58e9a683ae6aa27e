"""One loop of a network with constant weights, step by step. Shapes: see `core.types`; Z entries of what it sees."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.dropping import expected_zone, mixed
from rnnsweep.core.families.base import Family, Values, path_of
from rnnsweep.core.recurrence.cells import ProductCell
from rnnsweep.core.recurrence.layer_norm import summed
from rnnsweep.core.types import LoopWeights


class LayerStep:
    """The step of one family's loop; stateless itself, what it reads are `constants`.

    Attributes:
        family: of this loop alone.
        size: entries of its state. memory: that its filter keeps beside.
    """

    def __init__(self, family: Family) -> None:
        self.family, self._filter, cell = family, path_of(family), family.cell
        width = family.width
        self.size = width if cell is None else cell.state
        drive = next((spec.shape[-1] for spec in family.parameters(1, 1) if spec.name == "w_in"), width)
        self.memory = 0 if self._filter is None else self._filter.memory(drive)

    def constants(self, own: Values, hypers: Values, *, loop: bool = True) -> dict[str, Float[Tensor, "P ..."]]:
        """What a step reads.

        Args:
            own: parameters by their names within the loop. hypers: the family's.
            loop: False leaves out what moves the state: the input path alone.
        """
        w = self.with_inputs(own, hypers)
        parts = {"w_in": w.w_in, "bias": w.bias}
        if loop:
            leak = None if w.leak is None else w.leak[:, None]
            parts |= {"w_rec": w.w_rec, "act_bias": w.act_bias, "h0": w.h0, "leak": leak}
            parts |= {f"cell_{name}": value for name, value in w.cell.items()}
            parts["zone"] = expected_zone(self.family, hypers)
        if self._filter is not None:
            parts |= {f"path_{name}": value for name, value in self._filter.constants(own, hypers).items()}
        return {name: value for name, value in parts.items() if value is not None}

    def with_inputs(self, own: Values, hypers: Values) -> LoopWeights:
        """The loop's weights with the matrix and the bias that act on what it sees."""
        weights = self.family.weights(own, hypers)
        return weights if self._filter is None else self._filter.affine(own, hypers, weights)

    def first(self, constants: Values) -> Float[Tensor, "P 1 S"] | None:
        """The state before the first step, where it is not 0."""
        h0 = constants.get("h0")
        return None if h0 is None else torch.nn.functional.pad(h0, (0, self.size - h0.shape[-1]))

    def affine(self, constants: Values, seen: Float[Tensor, "P B Z"]) -> Float[Tensor, "P B D"]:
        """Seen W_in + b; constants arrive as [P, 1, K] or [P, M, N]."""
        z = product(seen, constants["w_in"]) if "w_in" in constants else seen
        return z + constants["bias"] if "bias" in constants else z

    def filtered(
        self, constants: Values, z: Float[Tensor, "P B D"], memory: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "P B G"], Float[Tensor, "P B M"]]:
        """The loop's drive, and what the filter keeps."""
        if self._filter is None:
            return z, memory
        return self._filter.step(_within("path_", constants), z, memory)

    def moved(
        self, constants: Values, state: Float[Tensor, "P B S"], drive: Float[Tensor, "P B D"]
    ) -> Float[Tensor, "P B S"]:
        """The state after a step."""
        return mixed(constants.get("zone"), state, self._made(constants, state, drive))

    def _made(self, constants: Values, state: Tensor, drive: Tensor) -> Tensor:
        """What a step makes."""
        cell, parts = self.family.cell, _within("cell_", constants)
        if cell is not None and not isinstance(cell, ProductCell):
            return cell.moved(state, drive, constants["w_rec"], parts)[0]
        a = product(state[..., : constants["w_rec"].shape[-2]], constants["w_rec"])
        if cell is not None:
            return cell.step(a, drive, state, parts)
        y = self.family.cell_activation.value(summed(a + drive, parts), constants.get("act_bias"))
        return (1 - constants["leak"]) * state + constants["leak"] * y if "leak" in constants else y


def product(x: Float[Tensor, "P B K"], matrix: Float[Tensor, "P K N"]) -> Float[Tensor, "P B N"]:
    """x M row by row; the plain product of a module that is exported: a pack's own one is padded."""
    return x @ matrix if torch.compiler.is_exporting() else numerics.matmul(x, matrix)


def _within(prefix: str, constants: Values) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): part for name, part in constants.items() if name.startswith(prefix)}
