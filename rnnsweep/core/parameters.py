"""The parameters of a pack as one flat matrix [P, N]: a row is one contiguous slab, padded to 64 bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_ALIGN = 16


@dataclass(frozen=True)
class ParameterSpec:
    """One named parameter of a row.

    Attributes:
        name: e.g. ``w_rec``; the key in checkpoints.
        shape: without the leading P; weights are ``[from, to]``.
        role: ``input``, ``recurrent``, ``output`` (weights), ``bias``, or a role of the family's own.
        group: parameter group for optimisers with several rates.
        gates: of a gate bias: what each of its equal blocks does: ``keep`` the state, ``write`` into it, or other.
        into: the units that the columns of an input or recurrent weight, or the entries of a bias, lead into. What
            leads into the same units are their incoming weights together.
        first: place of the first column's unit among them.
    """

    name: str
    shape: tuple[int, ...]
    role: str
    group: str = "main"
    gates: tuple[str, ...] = ()
    into: str = "loop"
    first: int = 0

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def remembers(self) -> bool:
        """Whether one of its gates keeps or writes the state."""
        return not {"keep", "write"}.isdisjoint(self.gates)


class ParameterLayout:
    """Where each parameter lies in a row's slab.

    Attributes:
        specs: in order.
        size: N, entries per row, padding included. Padding is zero and stays zero.
    """

    def __init__(self, specs: Sequence[ParameterSpec]) -> None:
        self.specs = tuple(specs)
        self.offsets: dict[str, int] = {}
        offset = 0
        for spec in self.specs:
            self.offsets[spec.name] = offset
            offset += -(-spec.size // _ALIGN) * _ALIGN
        self.size = offset

    def spec(self, name: str) -> ParameterSpec:
        """One parameter's specification; KeyError where there is none."""
        try:
            return next(spec for spec in self.specs if spec.name == name)
        except StopIteration:
            raise KeyError(name) from None

    def view(self, flat: Tensor) -> dict[str, Tensor]:
        """Views [P, *shape] into flat [P, N], by name."""
        return {spec.name: self.part(flat, spec) for spec in self.specs}

    def part(self, flat: Tensor, spec: ParameterSpec) -> Tensor:
        """One parameter's view."""
        start = self.offsets[spec.name]
        return flat[:, start : start + spec.size].view(len(flat), *spec.shape)

    def flatten(self, values: Mapping[str, Tensor], out: Tensor) -> Tensor:
        """Copy named tensors [P, *shape] into flat [P, N]; names that are absent stay as they are."""
        for spec in self.specs:
            if spec.name in values:
                start = self.offsets[spec.name]
                out[:, start : start + spec.size] = values[spec.name].flatten(1)
        return out

    def mask(self, names: Sequence[str], device: torch.device | str = "cpu") -> Tensor:
        """Bool [N]: which entries belong to the named parameters."""
        mask = torch.zeros(self.size, dtype=torch.bool, device=device)
        for name in names:
            mask[self.offsets[name] : self.offsets[name] + self.spec(name).size] = True
        return mask
