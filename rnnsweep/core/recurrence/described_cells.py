"""Cells whose step is a `StepFormulas`: as a `ProductCell` of tensors, with the fused loops that are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.recurrence.cells import Drive, Kept, Own, PreActivation, ProductCell, Pulled, State
from rnnsweep.core.recurrence.step_formulas import Blocks, StepFormulas

FUSED: Mapping[str, str] = {
    "cpu": "rnnsweep.core.recurrence.cpu.engine.described:DescribedEngine",
    "gpu": "rnnsweep.core.recurrence.gpu.cell_engine:GpuCellEngine",
}
"""What a class declares as `fused` whose step is its formulas and nothing else."""


class TensorOperations:
    """`Operations` of tensors, none of whose kernels rounds differently at the ends of vectors."""

    def tanh(self, x: Float[Tensor, "P B U"]) -> Float[Tensor, "P B U"]:
        """Hyperbolic tangent."""
        return torch.tanh(x)

    def root(self, x: Float[Tensor, "P B U"]) -> Float[Tensor, "P B U"]:
        """Square root."""
        return x.sqrt()

    def zero(self, like: Float[Tensor, "P B U"]) -> Float[Tensor, "P B U"]:
        """0 everywhere."""
        return torch.zeros_like(like)

    def where_positive(
        self, of: Float[Tensor, "P B U"], yes: Float[Tensor, "P B U"], no: Float[Tensor, "P B U"] | float
    ) -> Float[Tensor, "P B U"]:
        """`yes` where `of` > 0, else `no`."""
        return torch.where(of > 0, yes, no if isinstance(no, Tensor) else torch.full_like(yes, no))


TENSORS = TensorOperations()


@dataclass(frozen=True)
class DescribedCell(ProductCell):
    """Base: a subclass names its formulas, and whether a matrix reads its state.

    Attributes:
        formulas: one step.
        read: blocks of the state that the recurrent matrix reads; 0: there is none, and x is the drive.
    """

    formulas: ClassVar[StepFormulas]
    read: ClassVar[int] = 1

    @property
    def units(self) -> int:
        """U, entries of a block."""
        return self.hidden

    @property
    def state(self) -> int:
        """All blocks side by side."""
        return self.formulas.states * self.units

    @property
    def recurrent(self) -> int:
        """The leading blocks."""
        return self.read * self.units

    @property
    def product(self) -> int:
        """x, where a matrix makes it."""
        return self.formulas.inputs * self.units if self.read else 0

    @property
    def drive(self) -> int:
        """The blocks of x that have one."""
        return (self.formulas.inputs - self.formulas.driven) * self.units

    @property
    def kept(self) -> int:
        """What the formulas keep."""
        return self.formulas.kept * self.units

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """The next state."""
        return self.forward(a, d, s, own)[0]

    def forward(self, a: PreActivation, d: Drive, s: State, own: Own) -> tuple[State, Kept]:
        """The next state, and what the formulas keep."""
        x, before = (part.split(self.units, -1) for part in (self._entered(a, d), s))
        if self.formulas.matrix:
            read = self.formulas.read(TENSORS, x, before, own)
            x = (*x, numerics.matmul(read, own[self.formulas.matrix].transpose(1, 2)))
        new, kept = self.formulas.step(TENSORS, x, before, own)
        return torch.cat(new, -1), torch.cat(kept, -1) if kept else s[..., :0]

    def pull(self, kept: Kept, d: Drive, s: State, own: Own, g: State) -> Pulled:
        """As the formulas have it."""
        del d
        formulas = self.formulas
        again, before, errors = (part.split(self.units, -1) for part in (kept, s, g))
        dx, ds, down = formulas.pull(TENSORS, again, before, own, errors)
        through: dict[str, Tensor] = {}
        if formulas.matrix:
            x, dx, of_product = again[: formulas.inputs], dx[:-1], dx[-1]
            more_x, more_s = formulas.pull_read(
                TENSORS, x, before, own, numerics.matmul(of_product, own[formulas.matrix])
            )
            dx, ds = _sums(dx, more_x), _sums(ds, more_s)
            read = formulas.read_again(TENSORS, x, before, own)
            through[formulas.matrix] = numerics.matmul(of_product.transpose(1, 2), read)
        whole = torch.cat(dx, -1)
        drive = torch.cat(dx[formulas.driven :], -1) if formulas.driven else whole
        parts = {name: _fitted(value, own[name]) for name, value in zip(formulas.trained, down, strict=True)}
        # Without a matrix a has no entries.
        return Pulled(whole if self.read else whole[..., :0], drive, torch.cat(ds, -1), parts | through)

    def _entered(self, a: PreActivation, d: Drive) -> Tensor:
        """x."""
        if not self.read:
            return d
        first = self.formulas.driven * self.units
        return torch.cat((a[..., :first], a[..., first:] + d), -1) if first else a + d


def _sums(blocks: Blocks, more: Blocks) -> Blocks:
    """Block by block; `more` may have fewer."""
    return (*(one + other for one, other in zip(blocks, more, strict=False)), *blocks[len(more) :])


def _fitted(gradient: Tensor, value: Tensor) -> Tensor:
    """The gradient of a number that was spread over the units is their sum."""
    return gradient.sum(-1, keepdim=True) if value.shape[-1] == 1 < gradient.shape[-1] else gradient
