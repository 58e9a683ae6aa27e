"""Loops of cells that are described by formulas, on the CPU: what engines launch."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.recurrence.cells import KeptRecord, whole_direct
from rnnsweep.core.recurrence.cpu.engine.dispatch import (
    ALIGN,
    SAMPLES_PER_BLOCK,
    RowThreads,
    TensorAddresses,
    Workspace,
    width_of,
)
from rnnsweep.core.recurrence.described_cells import DescribedCell
from rnnsweep.core.recurrence.known_formulas import FORMULAS
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace, direct_width


class CellLoops:
    """Runs a `DescribedCell` row by row; an engine's helper, with its threads and buffers.

    One forward and one backward kernel serve all such cells: the product of the states, where there is one, then the
    cell's formulas on one step's samples, while they are in the L1 cache. Records and traces are those of `CellEngine`,
    but for the drives.

    Args:
        cell: what runs.
        threads, workspace: the engine's.
        shown: whether a trace has the errors of x also where no matrix makes it; they are dC/da in any case where one
            does.

    Numerics:
        As for `CpuEngine`: no bit of a row depends on other rows, on P or on the number of threads.
    """

    def __init__(self, cell: DescribedCell, threads: RowThreads, workspace: Workspace, *, shown: bool = False) -> None:
        self.cell, self._threads, self._workspace = cell, threads, workspace
        self._shown = shown or cell.product > 0
        drives = [drive for drive in cell.formulas.drives if drive >= 0]
        if drives != list(range(len(drives))) or cell.formulas.drives[-len(drives) :] != tuple(drives):
            raise ValueError(f"{type(cell).__name__}: drives enter the last blocks of x here, in their order")
        self._code = FORMULAS.index(type(cell.formulas))

    @property
    def _entered(self) -> int:
        """X, entries of what goes into a step."""
        return self.cell.formulas.inputs * self.cell.units

    @property
    def _around(self) -> int:
        """N, entries that the cell's own matrix reads."""
        return self.cell.units if self.cell.formulas.matrix else 0

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        lengths: Int64[Tensor, "P ..."],
    ) -> KeptRecord:
        """See `Engine.forward`; without w_in, drives are given."""
        from rnnsweep.core.recurrence.cpu.kernels import cell_forward as kernels

        P, T, B, I = inputs.shape  # noqa: E741
        w, cell, dtype, new = weights, self.cell, inputs.dtype, self._workspace.take
        at, inputs, D = TensorAddresses(dtype), inputs.contiguous(), cell.drive
        h, kept = new((P, T + 1, B, cell.state), dtype), new((P, T, B, cell.kept), dtype)
        rows, each = at.lengths(lengths, P, B, T)
        job = kernels.CellForwardJob(
            T=T, B=B, I=I, **self._sizes(), **self._read(at, w, P),
            inputs=at.read("inputs", inputs, (P, T, B, I if w.w_in is not None else D)),
            w_in=at.read("w_in", w.w_in, (P, I, D)), bias=at.read("bias", w.bias, (P, D)),
            h0=at.read("h0", w.h0, (P, self._first_width(w))), h0_width=self._first_width(w), lengths=rows, each=each,
            h=at.view("h", h, (P, T + 1, B, cell.state)), kept=at.view("kept", kept, (P, T, B, cell.kept)),
        )  # fmt: skip
        widths = (width_of(n, dtype) for n in (cell.product, self._entered - cell.product, self._around))
        scratch = kernels.cell_forward_scratch(0, dtype.itemsize, *widths, job).end
        self._threads.run(kernels.cell_forward_rows, job, P, dtype, scratch)
        return KeptRecord(inputs, h, None, weights, lengths, kept)

    def backward(self, record: KeptRecord, direct: Direct, *, keep: bool) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the leading entries of the state only."""
        from rnnsweep.core.recurrence.cpu.kernels import cell_backward as kernels

        w, cell, dtype, new = record.weights, self.cell, record.h.dtype, self._workspace.take
        P, T, B, I = record.inputs.shape  # noqa: E741
        at, D, X, given = TensorAddresses(dtype), cell.drive, self._entered, direct_width(direct, cell.state)
        # Blocks as in `CpuEngine`: as many samples, whatever the batch. Without a matrix few traces show errors of x.
        chunk, whole = min(T, -(-SAMPLES_PER_BLOCK // B)), w.w_in is None or (keep and self._shown)
        dx = new((P, T, B, X) if whole else (self._threads.count, chunk, B, X), dtype)
        back = new((P, T, B, cell.state), dtype) if keep else None
        grads, down = self._gradients(record), new((P, len(cell.formulas.trained), cell.units), dtype)
        rows, each = at.lengths(record.lengths, P, B, T)
        job = kernels.CellBackwardJob(
            T=T, B=B, I=I, **self._sizes(), **self._read(at, w, P),
            inputs=at.read("inputs", record.inputs, (P, T, B, I)), lengths=rows, each=each,
            h=at.read("h", record.h, (P, T + 1, B, cell.state)),
            kept=at.read("kept", record.kept, (P, T, B, cell.kept)),
            last=at.read("last", direct.last, (P, B, given)), steps=at.read("steps", direct.steps, (P, T, B, given)),
            direct_width=given, dx=at.view("dx", dx, tuple(dx.shape)),
            back=at.view("back", back, (P, T, B, cell.state)), chunk=chunk, ring=int(not whole),
            dw_rec=at.view("dw_rec", grads.w_rec, (P, cell.recurrent, cell.product)),
            dw_in=at.view("dw_in", grads.w_in, (P, I, D)), dbias=at.view("dbias", grads.bias, (P, D)),
            down=at.view("down", down, tuple(down.shape)), down_width=down[0].numel(),
            dh0=at.view("dh0", grads.h0, (P, self._first_width(w))), h0_width=self._first_width(w),
            dmatrix=at.view("dmatrix", grads.cell.get(cell.formulas.matrix), (P, self._around, self._around)),
        )  # fmt: skip
        widths = (width_of(columns, dtype) for columns in (cell.state, cell.product, D, cell.recurrent, self._around))
        scratch = kernels.cell_backward_scratch(0, dtype.itemsize, *widths, job).end
        self._threads.run(kernels.cell_backward_rows, job, P, dtype, scratch + ALIGN)
        self._write_own(grads, down)
        if w.w_in is None:
            grads.inputs = dx[..., X - D :]
        if back is None:
            return grads, None
        # Without a matrix x is drives, which few ask for.
        delta = dx[..., : cell.product or X] if self._shown else record.h.new_zeros(P, T, B, 0)
        return grads, Trace(record, whole_direct(direct, cell.state), delta, back)

    def _sizes(self) -> dict[str, int]:
        """The sizes of the cell's parts, by the jobs' names."""
        cell = self.cell
        return {
            "U": cell.units, "S": cell.state, "X": self._entered, "A": cell.product, "D": cell.drive,
            "R": cell.recurrent, "keep": cell.kept, "code": self._code, "N": self._around,
            "turned": int(cell.formulas.turned),
        }  # fmt: skip

    def _read(self, at: TensorAddresses, w: LoopWeights, P: int) -> dict[str, int]:
        """Addresses of the recurrent matrix and of what is the cell's own; each vector is spread over its block."""
        cell, formulas, N = self.cell, self.cell.formulas, self._around
        w_rec, w_row = at.matrices("w_rec", w.w_rec, (P, cell.recurrent, cell.product))
        # torch refuses what is neither one number nor as wide as a block
        blocks = [w.cell[name].expand(P, cell.units) for name in formulas.own]
        own = torch.cat(blocks, 1) if blocks else w.w_rec.new_zeros(P, 0)
        return {
            "w_rec": w_rec, "w_row": w_row, "own": at.read("own", own, tuple(own.shape)), "own_width": own.shape[1],
            "matrix": at.read("matrix", w.cell[formulas.matrix] if formulas.matrix else None, (P, N, N)),
        }  # fmt: skip

    def _gradients(self, record: Record) -> LoopGradients:
        """Where the gradients go: one for every parameter that there is; those of drives are errors of x."""
        w, dtype, new = record.weights, record.h.dtype, self._workspace.take
        P, I, D = len(record.h), record.inputs.shape[-1], self.cell.drive  # noqa: E741
        return LoopGradients(
            w_rec=new((P, self.cell.recurrent, self.cell.product), dtype),
            w_in=None if w.w_in is None else new((P, I, D), dtype),
            bias=None if w.bias is None else new((P, D), dtype),
            h0=None if w.h0 is None else new((P, self._first_width(w)), dtype),
            cell={name: torch.zeros_like(value) for name, value in w.cell.items()},
        )

    def _write_own(self, grads: LoopGradients, down: Float[Tensor, "P N U"]) -> None:
        """Gradients of the cell's own parameters; of a number that was spread over the units their sum."""
        for index, name in enumerate(self.cell.formulas.trained):
            value = down[:, index]
            grads.cell[name].copy_(value.sum(1, keepdim=True) if grads.cell[name].shape[1] == 1 else value)

    def _first_width(self, weights: LoopWeights) -> int:
        """Entries of an initial state: at most the whole S."""
        width = 0 if weights.h0 is None else weights.h0.shape[-1]
        if width > self.cell.state:
            raise ValueError(f"h0 has {width} entries; a state has {self.cell.state}")
        return width
