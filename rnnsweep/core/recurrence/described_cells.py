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

    def exp(self, x: Float[Tensor, "P B U"]) -> Float[Tensor, "P B U"]:
        """Exponential function."""
        return torch.exp(x)

    def log1p(self, x: Float[Tensor, "P B U"]) -> Float[Tensor, "P B U"]:
        """log(1 + x)."""
        return torch.log1p(x)

    def zero(self, like: Float[Tensor, "P B U"]) -> Float[Tensor, "P B U"]:
        """0 everywhere."""
        return torch.zeros_like(like)

    def where_positive(
        self,
        of: Float[Tensor, "P B U"],
        yes: Float[Tensor, "P B U"] | float,
        no: Float[Tensor, "P B U"] | float,
    ) -> Float[Tensor, "P B U"]:
        """`yes` where `of` > 0, else `no`."""
        return torch.where(of > 0, *(x if isinstance(x, Tensor) else torch.full_like(of, x) for x in (yes, no)))


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
        """The leading blocks of x, where a matrix makes them."""
        return self.formulas.made * self.units

    @property
    def drive(self) -> int:
        """The blocks that enter x."""
        return (max(self.formulas.drives) + 1) * self.units

    @property
    def kept(self) -> int:
        """What a fused loop's record keeps."""
        return self.formulas.kept * self.units

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """The next state."""
        return self.forward(a, d, s, own)[0]

    def forward(self, a: PreActivation, d: Drive, s: State, own: Own) -> tuple[State, Kept]:
        """The next state, and what the formulas keep or see of it on the way back."""
        x, before = self._entered(a, d), s.split(self.units, -1)
        if self.formulas.matrix:
            read = self.formulas.read(TENSORS, x, before, own)
            x = (*x, numerics.matmul(read, self._matrix(own, back=False)))
        new, kept = self.formulas.step(TENSORS, x, before, own)
        kept = (*kept, *new[: self.formulas.seen])
        return torch.cat(new, -1), torch.cat(kept, -1) if kept else s[..., :0]

    def pull(self, kept: Kept, d: Drive, s: State, own: Own, g: State) -> Pulled:
        """As the formulas have it."""
        del d
        formulas = self.formulas
        again, before, errors = (part.split(self.units, -1) for part in (kept, s, g))
        dx, ds, down = formulas.pull(TENSORS, again, before, own, errors)
        through: dict[str, Tensor] = {}
        if formulas.matrix:
            dx, of_product = dx[:-1], dx[-1]
            error = numerics.matmul(of_product, self._matrix(own, back=True))
            more_x, more_s = formulas.pull_read(TENSORS, again, before, own, error)
            dx, ds = _sums(dx, more_x), _sums(ds, more_s)
            read = formulas.read_again(TENSORS, again, before, own)
            left, right = (of_product, read) if formulas.turned else (read, of_product)
            through[formulas.matrix] = numerics.matmul(left.transpose(1, 2), right)
        parts = {name: _fitted(value, own[name]) for name, value in zip(formulas.trained, down, strict=True)}
        # Without a matrix a has no entries.
        made = torch.cat(dx[: formulas.made], -1) if formulas.made else kept[..., :0]
        same = formulas.drives == tuple(range(formulas.made))
        drive = made if same else torch.cat([dx[block] for block in formulas.driven()], -1)
        return Pulled(made, drive, torch.cat(ds, -1), parts | through)

    def _entered(self, a: PreActivation, d: Drive) -> Blocks:
        """x, block by block."""
        made, given = a.split(self.units, -1) if self.formulas.made else (), d.split(self.units, -1)
        return tuple(
            given[drive] if block >= len(made) else made[block] + given[drive] if drive >= 0 else made[block]
            for block, drive in enumerate(self.formulas.drives)
        )

    def _matrix(self, own: Own, *, back: bool) -> Tensor:
        """What the second product multiplies with from the right; `back`: errors of it."""
        matrix = own[self.formulas.matrix]
        return matrix.transpose(1, 2) if self.formulas.turned != back else matrix


def _sums(blocks: Blocks, more: Blocks) -> Blocks:
    """Block by block; `more` may have fewer."""
    return (*(one + other for one, other in zip(blocks, more, strict=False)), *blocks[len(more) :])


def _fitted(gradient: Tensor, value: Tensor) -> Tensor:
    """The gradient of a number that was spread over the units is their sum."""
    return gradient.sum(-1, keepdim=True) if value.shape[-1] == 1 < gradient.shape[-1] else gradient
