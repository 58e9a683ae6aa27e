"""Loops of cells that are described by formulas, on a GPU: what engines launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.kernels import KernelArguments
from rnnsweep.core.recurrence.base import driven
from rnnsweep.core.recurrence.cells import Cell, KeptRecord, whole_direct
from rnnsweep.core.recurrence.described_cells import TENSORS
from rnnsweep.core.recurrence.gpu.arguments import arguments, lengths_of, own_of, parameter
from rnnsweep.core.recurrence.gpu.description import Description
from rnnsweep.core.recurrence.gpu.loops import Errors, Loops, fuses_inputs
from rnnsweep.core.recurrence.gpu.weight_gradients import WantedWeights, weight_gradients
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.recurrence.step_formulas import StepFormulas
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Trace, direct_width


class CellLoops:
    """Runs a cell; records and traces are those of `CellEngine`, but for the drives.

    Args:
        cell: what runs; `Description.of` knows it.
        shown: whether a trace has the errors of x also where no matrix makes it.
    """

    def __init__(self, cell: Cell, *, shown: bool = False) -> None:
        self.cell = cell
        self.description = Description.of(cell)
        self._loops, self._shown = Loops(self.description), shown or cell.product > 0

    def forward(
        self, inputs: Float[Tensor, "P T B I"], weights: LoopWeights, lengths: Int64[Tensor, "P ..."]
    ) -> KeptRecord:
        """See `Engine.forward`; without w_in, drives are given."""
        (P, T, B, I), w, cell = inputs.shape, weights, self.cell  # noqa: E741
        if w.masks is not None:
            raise ValueError("this loop has no masks")
        at = arguments(inputs, (T + 1) * B * max(cell.state, cell.kept, I))
        inputs = at.packed("inputs", inputs, (P, T, B, I if w.w_in is not None else cell.drive))
        w_rec = parameter(at, "w_rec", w.w_rec, (P, cell.recurrent, cell.product))
        w_in = parameter(at, "w_in", w.w_in, (P, I, cell.drive))
        bias = parameter(at, "bias", w.bias, (P, cell.drive))
        h0, own = self._first(at, w, P), own_of(at, self.description, w.cell, P)
        rows = lengths_of(at, lengths, P, B, T)
        fused = w_in is not None and fuses_inputs(self.description, I)
        if fused:
            given = inputs
        elif w_in is None and bias is not None:
            given = inputs + bias[:, None, None]
        else:
            given = driven(inputs, replace(w, w_in=w_in, bias=bias), ReferenceEngine())
        h, kept = self._loops.forward(
            given.contiguous(),
            w_rec,
            w_in if fused else None,
            bias if fused else None,
            own,
            h0,
            rows,
            self._second(at, w, P),
        )
        return KeptRecord(inputs, h, None, weights, lengths, kept)

    def backward(self, record: KeptRecord, direct: Direct, *, keep: bool) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the leading entries of the state only."""
        w, cell = record.weights, self.cell
        P, T, B, I = record.inputs.shape  # noqa: E741
        at = arguments(record.h, (T + 1) * B * max(cell.state, cell.kept))
        given = self._direct(at, direct, (P, T, B))
        h = at.packed("h", record.h, (P, T + 1, B, cell.state))
        kept = at.packed("kept", record.kept, (P, T, B, cell.kept))
        w_rec = parameter(at, "w_rec", w.w_rec, (P, cell.recurrent, cell.product))
        inputs = at.packed("inputs", record.inputs, (P, T, B, I))
        own, rows = own_of(at, self.description, w.cell, P), lengths_of(at, record.lengths, P, B, T)
        second = self._second(at, w, P)
        errors = self._loops.backward(h, kept, given, w_rec, own, rows, second, keep=keep, first=w.h0 is not None)
        grads = self._gradients(w, h, inputs, errors)
        if second is not None:
            grads.cell = {**grads.cell, self.description.second: self._of_second(h, kept, errors, w.cell)}
        if errors.back is None:
            return grads, None
        delta = errors.x[..., : cell.product] if cell.product else errors.x
        if not self._shown:
            delta = h.new_zeros(P, T, B, 0)
        return grads, Trace(record, whole_direct(direct, cell.state), delta, errors.back)

    def _gradients(self, w: LoopWeights, h: Tensor, inputs: Tensor, errors: Errors) -> LoopGradients:
        """Of all weights; where product and drives are not the same blocks of x, of each its own."""
        d, cell = self.description, self.cell
        if d.additive:
            wanted = WantedWeights(cell.recurrent, cell.product, bias=w.bias is not None)
            of_rec, of_in, of_bias = weight_gradients(h, None if w.w_in is None else inputs, errors.x, wanted)
            drives = errors.x[..., : cell.drive] if w.w_in is None else None
        else:
            of_rec = w.w_rec.new_zeros(w.w_rec.shape)
            if cell.product:
                wanted = WantedWeights(cell.recurrent, cell.product)
                of_rec = weight_gradients(h, None, errors.x, wanted)[0]
            drives, of_in, of_bias = self._of_drives(w, inputs, errors.x)
        own = {name: torch.zeros_like(value) for name, value in w.cell.items()}
        for index, name in enumerate(d.formulas.trained):
            down = errors.down[:, index]
            # of a number that was spread over the units the sum
            own[name] = down.sum(1, keepdim=True) if own[name].shape[1] == 1 else down
        width = 0 if w.h0 is None else w.h0.shape[-1]
        return LoopGradients(
            w_rec=of_rec,
            w_in=of_in,
            bias=of_bias,
            h0=None if errors.h0 is None else errors.h0[:, :width],
            inputs=drives,
            cell=own,
        )

    def _of_drives(
        self, w: LoopWeights, inputs: Tensor, x: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Errors of the drives where these were given, else gradients of what made them: of w_in and of the bias."""
        if w.w_in is None:
            drives = self._drives(x)
            return drives, None, None if w.bias is None else drives.sum((1, 2))
        # of all blocks of x, those without a drive too: fewer numbers than a copy of the others has
        wanted = WantedWeights(
            inputs.shape[-1], self.description.formulas.inputs * self.description.units, bias=w.bias is not None
        )
        of_in, _, of_bias = weight_gradients(inputs, None, x, wanted)
        return None, self._drives(of_in), None if of_bias is None else self._drives(of_bias)

    def _drives(self, x: Float[Tensor, "*_ X"]) -> Float[Tensor, "*_ D"]:
        """The errors of the blocks of x that have a drive, in the drives' order."""
        d = self.description
        blocks = sorted((drive, block) for block, drive in enumerate(d.drives) if drive >= 0)
        places = [block for _, block in blocks]
        first, last = places[0], places[-1]
        if places == list(range(first, last + 1)):
            return x[..., first * d.units : (last + 1) * d.units]
        return torch.cat([x[..., place * d.units : (place + 1) * d.units] for place in places], -1)

    def _of_second(self, h: Tensor, kept: Tensor, errors: Errors, own: Mapping[str, Tensor]) -> Float[Tensor, "P U U"]:
        """Of the cell's own matrix: of q = y M^T the sum of dq (x) y, of y M that of y (x) dq."""
        f, U = self.description.formulas, self.description.units
        assert isinstance(f, StepFormulas)
        spread = {name: value[:, None] for name, value in own.items() if value.ndim == 2}
        again, before = (part.flatten(1, 2) for part in (kept, h[:, :-1]))
        read = f.read_again(TENSORS, again.split(U, -1), before.split(U, -1), spread)
        made = errors.x[..., f.inputs * U :].flatten(1, 2)
        left, right = (made, read) if f.turned else (read, made)
        return numerics.matmul(left.transpose(1, 2), right)

    def _second(self, at: KernelArguments, w: LoopWeights, P: int) -> Float[Tensor, "P U U"] | None:
        name, U = self.description.second, self.description.units
        return at.packed(name, w.cell[name], (P, U, U)) if name else None

    def _first(self, at: KernelArguments, w: LoopWeights, P: int) -> Tensor | None:
        if w.h0 is None:
            return None
        width = w.h0.shape[-1]
        if width > self.cell.state:
            raise ValueError(f"h0 has {width} entries; a state has {self.cell.state}")
        return at.packed("h0", w.h0, (P, width))

    def _direct(self, at: KernelArguments, direct: Direct, sizes: tuple[int, int, int]) -> Direct:
        (P, T, B), width = sizes, direct_width(direct, self.cell.state)
        return Direct(at.packed("last", direct.last, (P, B, width)), at.packed("steps", direct.steps, (P, T, B, width)))
