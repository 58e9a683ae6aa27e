"""The fused CPU engines of gated cells: see `rnnsweep.core.recurrence.base` for the contract."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.cells import Cell, KeptRecord, whole_direct
from rnnsweep.core.recurrence.cpu.engine.dispatch import (
    ALIGN,
    SAMPLES_PER_BLOCK,
    RowThreads,
    TensorAddresses,
    Workspace,
    width_of,
)
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.wrapping import Filtering, OfOneCell
from rnnsweep.core.types import Direct, LoopGradients, LoopMasks, LoopWeights, Record, Trace, direct_width


class GatedEngine(OfOneCell, Filtering):
    """Fused loops of one gated cell; what `CpuEngine` promises about rows, threads and buffers holds here too.

    Records and traces are those of `CellEngine`: states [P, T + 1, B, S], delta = dC/da_t.

    Attributes:
        name: ``cpu``.
        tile: rows whose records stay in the L3 cache together.
        kind: of the cell: the name of its number in `kernels.gated_forward`. ahead: whether its gates look ahead.
        cell: what runs; its sizes S, A and what it keeps are those of the loops.
        threads: threads that rows are spread over; one row is always one thread's.

    Raises:
        TypeError, ValueError: an argument of another type, shape or range than its kernel counts on.

    Numerics:
        As for `CpuEngine`: every entry of a product is summed in the order of its inner index, elementwise work is the
        same in every vector lane, so that no bit of a row depends on other rows, on P or on the number of threads. The
        sigmoid is (1 + tanh(x / 2)) / 2. NaN and inf stay in their row; steps before a row's start are not read.
    """

    name = "cpu"
    tile: int | None = 8
    regularised = True
    kind: ClassVar[str]
    ahead: ClassVar[bool] = False

    def __init__(self, cell: Cell, threads: int | None = None) -> None:
        plain = CpuEngine(threads)
        OfOneCell.__init__(self, plain, cell)
        Filtering.__init__(self, plain)
        self._workspace = Workspace()
        self._threads = RowThreads(threads, self._workspace)
        self.threads = self._threads.count
        if self._normed:
            self.tile = 4  # records of layer norm are twice as large

    @property
    def _normed(self) -> bool:
        """Whether there is layer norm in the cell."""
        return self.cell.kept > 5 * self.cell.hidden

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> KeptRecord:
        """See `Engine.forward`; without w_in, drives are given."""
        from rnnsweep.core.recurrence.cpu.kernels import gated_forward as kernels

        del activation
        P, T, B, I = inputs.shape  # noqa: E741
        w, cell, H, A, dtype = weights, self.cell, self.cell.hidden, self.cell.product, inputs.dtype
        at, new, inputs = TensorAddresses(dtype), self._workspace.take, inputs.contiguous()
        self._check_norm(w)
        # Not padded, unlike the simple cell's: truncation and Omega read records as `CellEngine` lays them out.
        h, kept = new((P, T + 1, B, cell.state), dtype), new((P, T, B, cell.kept), dtype)
        rows, each = at.lengths(lengths, P, B, T)
        w_rec, w_row = at.matrices("w_rec", w.w_rec, (P, H, A))
        job = kernels.GatedForwardJob(
            T=T, B=B, H=H, I=I, S=cell.state, kind=getattr(kernels, self.kind), ahead=int(self.ahead),
            inputs=at.read("inputs", inputs, (P, T, B, I if w.w_in is not None else cell.drive)),
            w_rec=w_rec, w_row=w_row, w_in=at.read("w_in", w.w_in, (P, I, A)), bias=at.read("bias", w.bias, (P, A)),
            own=at.read("b_n", self._own(w), (P, H)), h0=at.read("h0", w.h0, (P, self._first_width(w))),
            h0_width=self._first_width(w), lengths=rows, each=each,
            h=at.view("h", h, (P, T + 1, B, cell.state)), kept=at.view("kept", kept, (P, T, B, cell.kept)),
            keep=cell.kept, **self._regularised(at, w, (P, T, B)),
            cell_bias=at.read("cell_bias", w.cell.get("cell_bias"), (P, H)),
        )  # fmt: skip
        scratch = kernels.gated_forward_scratch(0, dtype.itemsize, self._gates_width(dtype), job).end
        self._threads.run(kernels.gated_forward_rows, job, P, dtype, scratch)
        return KeptRecord(inputs, h, None, weights, lengths, kept)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the visible part of the state only."""
        from rnnsweep.core.recurrence.cpu.kernels import gated_backward as kernels

        del activation
        assert isinstance(record, KeptRecord)
        w, cell, H, dtype, new = record.weights, self.cell, self.cell.hidden, record.h.dtype, self._workspace.take
        P, T, B, I = record.inputs.shape  # noqa: E741
        A, at, given = cell.product, TensorAddresses(dtype), direct_width(direct, cell.state, least=cell.hidden)
        # Blocks as in `CpuEngine`: as many samples, whatever the batch.
        chunk, whole = min(T, -(-SAMPLES_PER_BLOCK // B)), keep or w.w_in is None
        # Four blocks for both cells, so that one product sums inputs and biases of either.
        delta = new((P, T, B, 4 * H) if whole else (self.threads, chunk, B, 4 * H), dtype)
        x = new((P, T, B, cell.state), dtype) if keep else None
        grads, own = self._gradients(record), w.cell
        drives = new((P, T, B, A), dtype) if "gain" in own else None
        rows, each = at.lengths(record.lengths, P, B, T)
        w_rec, w_row = at.matrices("w_rec", w.w_rec, (P, H, A))
        job = kernels.GatedBackwardJob(
            T=T, B=B, H=H, I=I, S=cell.state, kind=getattr(kernels, self.kind), ahead=int(self.ahead),
            inputs=at.read("inputs", record.inputs, (P, T, B, I)),
            w_rec=w_rec, w_row=w_row, lengths=rows, each=each,
            h=at.read("h", record.h, (P, T + 1, B, cell.state)),
            kept=at.read("kept", record.kept, (P, T, B, cell.kept)),
            last=at.read("last", direct.last, (P, B, given)), steps=at.read("steps", direct.steps, (P, T, B, given)),
            direct_width=given, delta=at.view("delta", delta, tuple(delta.shape)),
            x=at.view("x", x, (P, T, B, cell.state)), chunk=chunk, ring=int(not whole),
            dw_rec=at.view("dw_rec", grads.w_rec, (P, H, A)), dw_in=at.view("dw_in", grads.w_in, (P, I, A)),
            dbias=at.view("dbias", grads.bias, (P, A)), down=at.view("down", grads.cell.get("b_n"), (P, H)),
            dh0=at.view("dh0", grads.h0, (P, self._first_width(w))), h0_width=self._first_width(w), keep=cell.kept,
            **self._regularised(at, w, (P, T, B)), dgain=at.view("dgain", grads.cell.get("gain"), (P, A)),
            dcell_gain=at.view("dcell_gain", grads.cell.get("cell_gain"), (P, H)),
            dcell_bias=at.view("dcell_bias", grads.cell.get("cell_bias"), (P, H)),
            drives=at.view("drives", drives, (P, T, B, A)),
        )  # fmt: skip
        widths = (width_of(columns, dtype) for columns in (H, A, 4 * H))
        scratch = kernels.gated_backward_scratch(0, dtype.itemsize, *widths, job).end
        self._threads.run(kernels.gated_backward_rows, job, P, dtype, scratch + ALIGN)
        # The trace shows dC/da, of which the GRU's drives have one block that differs.
        if w.w_in is None:
            grads.inputs = self._drives(delta) if drives is None else drives
        return grads, Trace(record, whole_direct(direct, cell.state), delta[..., :A], x) if x is not None else None

    def _gradients(self, record: Record) -> LoopGradients:
        """Where the gradients go: one for every parameter that there is; those of drives are made of the deltas."""
        w, dtype, new = record.weights, record.h.dtype, self._workspace.take
        P, I, H, A = len(record.h), record.inputs.shape[-1], self.cell.hidden, self.cell.product  # noqa: E741
        return LoopGradients(
            w_rec=new((P, H, A), dtype),
            w_in=None if w.w_in is None else new((P, I, A), dtype),
            bias=None if w.bias is None else new((P, A), dtype),
            h0=None if w.h0 is None else new((P, self._first_width(w)), dtype),
            cell={name: new(tuple(value.shape), dtype) for name, value in w.cell.items()},
        )

    def _regularised(self, at: TensorAddresses, w: LoopWeights, shape: tuple[int, int, int]) -> dict[str, int]:
        """Addresses of masks, and of what layer norm multiplies with."""
        (P, T, B), masks, H = shape, w.masks or LoopMasks(), self.cell.hidden
        return {
            "recurrent": at.read("recurrent", masks.recurrent, (P, B, H)),
            "zone": at.read("zone", masks.zone, (P, T, B, self.cell.state)),
            "gain": at.read("gain", w.cell.get("gain"), (P, self.cell.product)),
            "cell_gain": at.read("cell_gain", w.cell.get("cell_gain"), (P, H)),
        }

    def _check_norm(self, w: LoopWeights) -> None:
        """Whether layer norm is in the loop is the cell's to say; then it takes drives that have the bias."""
        if self._normed != ("gain" in w.cell):
            raise ValueError(f"{type(self.cell).__name__} and a gain of layer norm: one without the other")
        if self._normed and (w.w_in is not None or w.bias is not None):
            raise ValueError("layer norm of drives comes before this loop, and so does their bias")

    def _gates_width(self, dtype: torch.dtype) -> int:
        """Entries of one sample's pre-activations, each product's padded."""
        return width_of(4 * self.cell.hidden, dtype)

    def _own(self, weights: LoopWeights) -> Tensor | None:
        """The cell's own vector; the kernel reads it where there is one, and takes 0 for none."""
        return weights.cell.get("b_n")

    def _first_width(self, weights: LoopWeights) -> int:
        """Entries of an initial state: H, or the whole S."""
        width = 0 if weights.h0 is None else weights.h0.shape[-1]
        if width > self.cell.state:
            raise ValueError(f"h0 has {width} entries; a state has {self.cell.state}")
        return width

    def _drives(self, delta: Float[Tensor, "P T B D"]) -> Float[Tensor, "P T B A"]:
        """Gradients of given drives."""
        return delta


class LstmEngine(GatedEngine):
    """The fused loops of `LstmCell`: one product per step."""

    kind = "LSTM"


class DifferenceLstmEngine(LstmEngine):
    """The fused loops of `DifferenceLstmCell`: the LSTM's, with v in the state. It is fed with drives.

    Kappa is no parameter, and has no gradient: those of drives are the deltas as they lie.
    """

    regularised = False
    ahead = True


class GruEngine(GatedEngine):
    """The fused loops of `GruCell`: three products per step, as its candidate keeps h U_n and its drive apart."""

    kind = "GRU"

    def _gates_width(self, dtype: torch.dtype) -> int:
        return width_of(2 * self.cell.hidden, dtype) + 2 * width_of(self.cell.hidden, dtype)

    def _own(self, weights: LoopWeights) -> Tensor:
        return weights.cell["b_n"]

    def _drives(self, delta: Float[Tensor, "P T B D"]) -> Float[Tensor, "P T B A"]:
        """The deltas, but for the candidate, whose drive has its own."""
        H = self.cell.hidden
        return torch.cat((delta[..., : 2 * H], delta[..., 3 * H :]), -1)
