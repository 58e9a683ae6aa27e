"""The fused CPU engine of blocks around a diagonal recurrence: see `recurrence.base` for the contract."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.cells import KeptRecord, whole_direct
from rnnsweep.core.recurrence.cpu.engine.dispatch import (
    ALIGN,
    SAMPLES_PER_BLOCK,
    RowThreads,
    TensorAddresses,
    Workspace,
)
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.state_space import StateSpaceCell
from rnnsweep.core.recurrence.wrapping import OneCellEngine
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Trace, direct_width


class BlockEngine(OneCellEngine):
    """Fused loops of a `StateSpaceCell`; what `CpuEngine` promises about rows, threads and buffers holds here too.

    Attributes:
        name: ``cpu``.
        tile: rows whose records stay in the L3 cache together.
        threads: threads that rows are spread over; one row is always one thread's.

    Raises:
        TypeError, ValueError: an argument of another type, shape or range than its kernel counts on.

    Numerics:
        As for `CpuEngine`: no bit of a row depends on other rows, on P or on the number of threads. NaN and inf stay in
        their row; steps before a row's start are not read. Behind the recurrence a step without a direct error is
        passed over: what is not finite there reaches no gradient, as 0 * inf would.
    """

    name = "cpu"
    tile: int | None = 8
    regularised = False

    def __init__(self, cell: StateSpaceCell, threads: int | None = None) -> None:
        workspace = Workspace()
        row_threads = RowThreads(threads, workspace)
        self._blocks = BlockLoops(cell, row_threads, workspace)
        super().__init__(CpuEngine(threads), cell, self._blocks)
        self.threads = row_threads.count

    def forward_last(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> KeptRecord:
        """See `LastStepEngine.forward_last`: what is behind the recurrence is made of the last step alone."""
        del activation
        return self._blocks.forward(inputs, weights, lengths, last=True)


class BlockLoops:
    """Runs a `StateSpaceCell` row by row; an engine's helper, with its threads and buffers.

    Args:
        cell: what runs.
        threads, workspace: the engine's.
    """

    def __init__(self, cell: StateSpaceCell, threads: RowThreads, workspace: Workspace) -> None:
        self.cell, self._threads, self._workspace = cell, threads, workspace

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        lengths: Int64[Tensor, "P ..."],
        *,
        last: bool = False,
    ) -> KeptRecord:
        """See `Engine.forward`, or (`last`) `forward_last`; ``h`` holds whole states, and so does an initial state."""
        from rnnsweep.core.recurrence.cpu.emit.block_steps import FROM_SUMS, NO_GATE
        from rnnsweep.core.recurrence.cpu.kernels import block_forward as kernels

        P, T, B, I = inputs.shape  # noqa: E741
        w, cell, dtype, new = weights, self.cell, inputs.dtype, self._workspace.take
        at, K, G, H = TensorAddresses(dtype), self._kept(dtype), cell.gate_width, cell.hidden
        h, kept = new((P, T + 1, B, cell.state), dtype), new((P, T, B, K), dtype)
        h[:, 0] = 0.0 if w.h0 is None else w.h0
        given = inputs if w.w_in is not None or w.bias is None else inputs + w.bias[:, None, None]
        rows, each = at.lengths(lengths, P, B, T)
        job = kernels.BlockForwardJob(
            T=T, B=B, I=I, **self._sizes(T, B, dtype), **self._read(at, w, P), gate=FROM_SUMS if G else NO_GATE,
            inputs=at.read("inputs", given, (P, T, B, I if w.w_in is not None else H)),
            w_in=at.read("w_in", w.w_in, (P, I, H)), bias=at.read("bias", w.bias, (P, H)),
            b_gate=at.read("b_gate", w.cell.get("b_gate"), (P, G)), lengths=rows, each=each,
            h=at.view("h", h, (P, T + 1, B, cell.state)), kept=at.view("kept", kept, (P, T, B, K)), last=int(last),
        )  # fmt: skip
        scratch = kernels.block_forward_scratch(0, dtype.itemsize, *self._lined(dtype), job).end
        self._threads.run(kernels.block_forward_rows, job, P, dtype, scratch + ALIGN)
        return KeptRecord(inputs, h, None, weights, lengths, kept)

    def backward(self, record: KeptRecord, direct: Direct, *, keep: bool) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the visible part of the state only."""
        from rnnsweep.core.recurrence.cpu.emit.block_steps import FROM_SHARES, NO_GATE
        from rnnsweep.core.recurrence.cpu.kernels import block_backward as kernels

        w, cell, dtype = record.weights, self.cell, record.h.dtype
        P, T, B, I = record.inputs.shape  # noqa: E741
        at, K, G, H, S = TensorAddresses(dtype), self._kept(dtype), cell.gate_width, cell.hidden, cell.state
        given, (rows, each) = direct_width(direct, cell.state), at.lengths(record.lengths, P, B, T)
        grads, back = self._gradients(record), self._workspace.take((P, T, B, S), dtype) if keep else None
        job = kernels.BlockBackwardJob(
            T=T, B=B, I=I, **self._sizes(T, B, dtype), **self._read(at, w, P), gate=FROM_SHARES if G else NO_GATE,
            inputs=at.read("inputs", record.inputs, (P, T, B, I)), lengths=rows, each=each,
            h=at.read("h", record.h, (P, T + 1, B, S)), kept=at.read("kept", record.kept, (P, T, B, K)),
            last=at.read("last", direct.last, (P, B, given)), steps=at.read("steps", direct.steps, (P, T, B, given)),
            direct_width=given, back=at.view("back", back, (P, T, B, S)),
            drive=at.view("drive", grads.inputs, (P, T, B, H)), dw_in=at.view("dw_in", grads.w_in, (P, I, H)),
            dbias=at.view("dbias", grads.bias, (P, H)),
            **{f"d{name}": at.view(f"d{name}", grads.cell.get(name), (P, *shape)) for name, shape in self._own.items()},
        )  # fmt: skip
        scratch = kernels.block_backward_scratch(0, dtype.itemsize, *self._lined(dtype), job).end
        self._threads.run(kernels.block_backward_rows, job, P, dtype, scratch + ALIGN)
        if back is None:
            return grads, None
        return grads, Trace(record, whole_direct(direct, S), record.h.new_zeros(P, T, B, 0), back)

    @property
    def _own(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the cell's own parameters by name; the gate's without columns where there is none."""
        H, N, G = self.cell.hidden, self.cell.states, self.cell.gate_width
        return {
            "lam_re": (N,), "lam_im": (N,), "b": (H, 2 * N), "c": (2 * N, H), "d": (H,), "gain": (H,), "shift": (H,),
            "w_gate": (H, G), "b_gate": (G,),
        }  # fmt: skip

    def _sizes(self, T: int, B: int, dtype: torch.dtype) -> dict[str, int]:
        """The sizes of the cell's parts, by the jobs' names."""
        cell = self.cell
        # Blocks as in `CpuEngine`: as many samples, whatever the batch.
        return {
            "H": cell.hidden, "N": cell.states, "G": cell.gate_width, "K": self._kept(dtype), "S": cell.state,
            "prenorm": int(cell.prenorm), "chunk": min(T, -(-SAMPLES_PER_BLOCK // B)),
        }  # fmt: skip

    def _read(self, at: TensorAddresses, w: LoopWeights, P: int) -> dict[str, int]:
        """Addresses of the cell's own parameters; the gate's matrix is read in place."""
        addresses = {
            name: at.read(name, w.cell[name], (P, *shape))
            for name, shape in self._own.items()
            if name not in ("w_gate", "b_gate")
        }
        if "w_gate" not in w.cell:
            return {**addresses, "w_gate": 0, "gate_row": 0}
        matrix, row = at.matrices("w_gate", w.cell["w_gate"], (P, self.cell.hidden, self.cell.gate_width))
        return {**addresses, "w_gate": matrix, "gate_row": row}

    def _gradients(self, record: KeptRecord) -> LoopGradients:
        """Where the gradients go: one for every parameter that there is."""
        w, dtype, new = record.weights, record.h.dtype, self._workspace.take
        P, T, B, I = record.inputs.shape  # noqa: E741
        H = self.cell.hidden
        return LoopGradients(
            w_rec=torch.zeros_like(w.w_rec),
            w_in=None if w.w_in is None else new((P, I, H), dtype),
            bias=None if w.bias is None else new((P, H), dtype),
            h0=None if w.h0 is None else torch.zeros_like(w.h0),
            inputs=new((P, T, B, H), dtype) if w.w_in is None else None,
            cell={name: new((P, *self._own[name]), dtype) for name in w.cell},
        )

    def _lined(self, dtype: torch.dtype) -> tuple[int, ...]:
        """H, 2 N and G in whole cache lines."""
        cell, line = self.cell, ALIGN // dtype.itemsize
        return tuple(-(-columns // line) * line for columns in (cell.hidden, 2 * cell.states, cell.gate_width))

    def _kept(self, dtype: torch.dtype) -> int:
        """Entries of what is kept of a sample, see `kernels.block_forward`."""
        V, _, W = self._lined(dtype)
        return 2 * V + W + ALIGN // dtype.itemsize  # a mean and a spread: a line of their own
