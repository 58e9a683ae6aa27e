"""The fused CPU engine of the simple cell: see `rnnsweep.core.recurrence.base` for the contract."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.base import BackwardTerm, NormRatio, Tangent, TermResult
from rnnsweep.core.recurrence.cpu import host
from rnnsweep.core.recurrence.cpu.engine.cell_loops import CellLoops
from rnnsweep.core.recurrence.cpu.engine.dispatch import (
    SAMPLES_PER_BLOCK,
    RowThreads,
    TensorAddresses,
    Workspace,
    padded,
    rows_of,
    width_of,
)
from rnnsweep.core.recurrence.cpu.engine.filter_loops import FilterLoops
from rnnsweep.core.recurrence.diagonal_loops import DiagonalLoops
from rnnsweep.core.recurrence.filtering import DriveFilter, FilterGradients, FilterRecord
from rnnsweep.core.recurrence.layer_norm import NormedRecord
from rnnsweep.core.types import Direct, LoopGradients, LoopMasks, LoopWeights, Record, Trace, check_parts


class CpuEngine:
    """Fused loops: one row after another stays in one core's L2 cache, rows run in parallel over threads.

    `h`, `slope`, `delta` and `x` are views [..., :H] of buffers whose last axis is padded to whole vectors. Buffers are
    recycled once no tensor refers to them: a record stays valid for as long as it is held; drop records and traces at
    the end of an update, so that the next one finds them warm in the cache.

    Attributes:
        name: ``cpu``.
        tile: rows whose records stay in the L3 cache together.
        threads: threads that rows are spread over; one row is always one thread's.

    Raises:
        TypeError, ValueError: an argument of another type, shape or range than its kernel counts on.

    Numerics:
        A row's numbers depend on that row alone, bit for bit, for any P, neighbours, order and number of threads: every
        entry of a product is summed in the order of its inner index with fused multiply-adds, and elementwise work
        does the same in every vector lane. Fast-math is off; FMA is used only where written. NaN and inf stay in their
        row. Results on CPUs with other vector widths are equal for products and activations, but not promised.
    """

    # Kernels are imported where they are launched: numba takes seconds, and may be missing (`refuses` says so).

    name = "cpu"
    tile: int | None = 8
    regularised = True

    def __init__(self, threads: int | None = None) -> None:
        self._workspace = Workspace()
        self._threads = RowThreads(threads, self._workspace)
        self.threads = self._threads.count
        self._filters = FilterLoops(self._threads, self._workspace)
        self._diagonals = DiagonalLoops(lambda cell: CellLoops(cell, self._threads, self._workspace, shown=True))

    def refuses(self, activation: Activation, dtype: torch.dtype) -> str | None:
        """No numba, no FMA vectors, an unknown activation, or another type than float32 and float64."""
        if host.VECTOR_BYTES == 0:
            return "this CPU has no AVX2 or NEON with fused multiply-add"
        try:
            formulas = importlib.import_module("rnnsweep.core.recurrence.cpu.emit.formulas")
        except ImportError as error:
            return f"numba cannot be imported ({error})"
        if activation.name not in formulas.CODES:
            return f"activation {activation.name} has no fused loop"
        if dtype not in (torch.float32, torch.float64):
            return f"{dtype} has no fused loop"
        return None

    def takes(self, term: BackwardTerm) -> bool:
        """See `TermEngine.takes`."""
        return isinstance(term, NormRatio)

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> Record:
        """See `Engine.forward`."""
        found = self._diagonals.forward(inputs, weights, activation, lengths) if weights.diagonals else None
        return self._forward(inputs, weights, activation, lengths) if found is None else found

    def _forward(
        self, inputs: Tensor, weights: LoopWeights, activation: Activation, lengths: Int64[Tensor, "P ..."]
    ) -> Record:
        from rnnsweep.core.recurrence.cpu.kernels.forward import ForwardJob, forward_rows, forward_scratch

        P, T, B, I = inputs.shape  # noqa: E741
        H, w, dtype = weights.w_rec.shape[-1], weights, inputs.dtype
        at, (code, from_output) = TensorAddresses(dtype), _fused(activation.name)
        h = self._matrix(P, T + 1, B, H, dtype)
        masks, gain = w.masks or LoopMasks(), w.cell.get("gain")
        if gain is not None and w.bias is not None:
            raise ValueError("with layer norm the bias is added after it: it is the cell's own")
        plain = from_output and w.leak is None and masks.zone is None
        slope = None if plain else self._matrix(P, T, B, H, dtype)
        hat = None if gain is None else self._matrix(P, T, B, H, dtype)
        spread = None if gain is None else self._workspace.take((P, T, B, 1), dtype)
        inputs = inputs.contiguous()
        rows, each = at.lengths(lengths, P, B, T)
        w_rec, w_row = at.matrices("w_rec", w.w_rec, (P, H, H))
        job = ForwardJob(
            T=T, B=B, H=H, I=I, code=code,
            inputs=at.read("inputs", inputs, (P, T, B, I if w.w_in is not None else H)), w_rec=w_rec, w_row=w_row,
            w_in=at.read("w_in", w.w_in, (P, I, H)), bias=at.read("bias", w.cell.get("bias", w.bias), (P, H)),
            act_bias=at.read("act_bias", w.act_bias, (P, H)), h0=at.read("h0", w.h0, (P, H)),
            leak=at.read("leak", w.leak, (P,)), lengths=rows, each=each,
            h=at.view("h", h, (P, T + 1, B, H)), slope=at.view("slope", slope, (P, T, B, H)),
            **_masks(at, masks, (P, T, B, H)), **_norm(at, gain, hat, spread, (P, T, B, H)),
        )  # fmt: skip
        scratch = forward_scratch(0, dtype.itemsize, width_of(H, dtype), job).end
        self._threads.run(forward_rows, job, P, dtype, scratch)
        if hat is not None and spread is not None:
            return NormedRecord(inputs, h, slope, weights, lengths, hat, spread)
        return Record(inputs, h, slope, weights, lengths)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`."""
        found = self._of_diagonals(record, direct, activation, keep=keep)
        return self._backward(record, direct, activation, None, keep=keep) if found is None else found

    def backward_with(
        self,
        record: Record,
        direct: Direct,
        activation: Activation,
        term: BackwardTerm,
        rows: Bool[Tensor, " P"],
        *,
        keep: bool,
    ) -> tuple[LoopGradients, Trace | None, TermResult]:
        """See `TermEngine.backward_with`."""
        from rnnsweep.core.recurrence.cpu.kernels.beside import PLAIN, SQUARED, TermJob

        if not isinstance(term, NormRatio):
            raise TypeError(f"this loop takes NormRatio along, not {type(term).__name__}")
        P, H = record.weights.w_rec.shape[:2]
        new, at = record.h.new_zeros, TensorAddresses(record.h.dtype)
        result = TermResult(new(P), new(P), new(P, H, H))
        job = TermJob(
            kind=SQUARED if term.squared else PLAIN, mean=int(term.mean),
            bound=at.read("bound", new(1) + term.bound, (1,)), rows=at.flags("rows", rows, P),
            value=at.view("value", result.value, (P,)), share=at.view("share", result.share, (P,)),
            w_rec=at.view("w_rec", result.w_rec, (P, H, H)),
        )  # fmt: skip
        found = self._of_diagonals(record, direct, activation, keep=keep)
        # Of the product's loop the term alone, then: gradients are to the bit what they are without one.
        beside = self._backward(record, direct, activation, job, keep=keep and found is None)
        return *(beside if found is None else found), result

    def _of_diagonals(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool
    ) -> tuple[LoopGradients, Trace | None] | None:
        return self._diagonals.backward(record, direct, activation, keep=keep) if record.weights.diagonals else None

    def _backward(
        self, record: Record, direct: Direct, activation: Activation, term: Any, *, keep: bool
    ) -> tuple[LoopGradients, Trace | None]:
        from rnnsweep.core.recurrence.cpu.kernels.backward import BackwardJob, backward_rows, backward_scratch
        from rnnsweep.core.recurrence.cpu.kernels.beside import NO_TERM

        w, dtype = record.weights, record.h.dtype
        (P, T, B, I), H = record.inputs.shape, record.h.shape[3]  # noqa: E741
        # The deltas are the gradient of given pre-activations: then the whole record is wanted in any case.
        at, whole = TensorAddresses(dtype), keep or w.w_in is None
        code, from_output = _fused(activation.name)
        check_parts(record, direct, activation.name, from_output)
        chunk = min(T, -(-SAMPLES_PER_BLOCK // B))
        # Nobody will see deltas and x: a block of deltas is enough, and of x a block for a term, or two steps.
        slots = chunk if term is not None and chunk > 1 else 2
        delta = self._matrix(P, T, B, H, dtype) if whole else self._matrix(self.threads, chunk, B, H, dtype)
        x = self._matrix(P, T, B, H, dtype) if whole else self._matrix(self.threads, slots, B, H, dtype)
        gradients = self._gradients(record, delta)
        h, slope = padded(record.h), None if record.slope is None else padded(record.slope)
        hat, spread = (record.hat, record.spread) if isinstance(record, NormedRecord) else (None, None)
        rows, each = at.lengths(record.lengths, P, B, T)
        w_rec, w_row = at.matrices("w_rec", w.w_rec, (P, H, H))
        job = BackwardJob(
            T=T, B=B, H=H, I=I, code=code,
            inputs=at.read("inputs", record.inputs, (P, T, B, I)), w_rec=w_rec, w_row=w_row,
            leak=at.read("leak", w.leak, (P,)), lengths=rows, each=each,
            h=at.view("h", h, (P, T + 1, B, H)), slope=at.view("slope", slope, (P, T, B, H)),
            last=at.read("last", direct.last, (P, B, H)), steps=at.read("steps", direct.steps, (P, T, B, H)),
            delta=at.view("delta", delta, tuple(delta.shape)), x=at.view("x", x, tuple(x.shape)), chunk=chunk,
            ring=int(not whole), slots=slots, dw_rec=at.view("dw_rec", gradients.w_rec, (P, H, H)),
            dw_in=at.view("dw_in", gradients.w_in, (P, I, H)),
            dbias=at.view("dbias", gradients.cell.get("bias", gradients.bias), (P, H)),
            dact=at.view("dact", gradients.act_bias, (P, H)), dh0=at.view("dh0", gradients.h0, (P, H)),
            **_masks(at, w.masks or LoopMasks(), (P, T, B, H)),
            **_norm(at, w.cell.get("gain"), hat, spread, (P, T, B, H)),
            dgain=at.view("dgain", gradients.cell.get("gain"), (P, H)), term=term or NO_TERM,
        )  # fmt: skip
        scratch = backward_scratch(0, dtype.itemsize, width_of(H, dtype), job).end
        self._threads.run(backward_rows, job, P, dtype, scratch)
        return gradients, Trace(record, direct, delta, x) if keep else None

    def _gradients(self, record: Record, delta: Tensor) -> LoopGradients:
        """Where the gradients go: one for every parameter that there is."""
        w, dtype, new = record.weights, record.h.dtype, self._workspace.take
        P, I, H = len(record.h), record.inputs.shape[-1], record.h.shape[-1]  # noqa: E741
        return LoopGradients(
            w_rec=new((P, H, H), dtype),
            w_in=None if w.w_in is None else new((P, I, H), dtype),
            bias=None if w.bias is None else new((P, H), dtype),
            act_bias=None if w.act_bias is None else new((P, H), dtype),
            h0=None if w.h0 is None else new((P, H), dtype),
            inputs=delta if w.w_in is None else None,
            cell={name: new((P, H), dtype) for name in w.cell},
        )

    def tangent(
        self, trace: Trace, step: Float[Tensor, "P H H"], horizon: Int64[Tensor, " P"], activation: Activation
    ) -> Tangent:
        """See `Engine.tangent`; the pair is scaled so that max|delta| is of order one or as the last step left it."""
        from rnnsweep.core.recurrence.cpu.kernels.tangent import TangentJob, tangent_rows, tangent_scratch

        record, w, dtype, new = trace.record, trace.record.weights, step.dtype, self._workspace.take
        P, T, B, H = trace.delta.shape
        at, (code, from_output) = TensorAddresses(dtype), _fused(activation.name)
        check_parts(record, trace.direct, activation.name, from_output)
        # With a leak the recursion begins with g_T; at the last step that is the direct part.
        last = trace.direct.last if trace.direct.steps is None else trace.direct.steps[:, -1]
        h, slope = padded(record.h), None if record.slope is None else padded(record.slope)
        # Zeros, as `numbers` checks what it is given; the kernel writes over them.
        result = Tangent(new((P, B, H), dtype), new((P, B, H), dtype), torch.zeros(P, dtype=torch.int64))
        w_rec, w_row = at.matrices("w_rec", w.w_rec, (P, H, H))
        job = TangentJob(
            T=T, B=B, H=H, code=code, w_rec=w_rec, w_row=w_row,
            step=at.read("step", step.contiguous(), (P, H, H)), leak=at.read("leak", w.leak, (P,)),
            horizon=at.numbers("horizon", horizon, P, 0, T - 1), h=at.view("h", h, (P, T + 1, B, H)),
            slope=at.view("slope", slope, (P, T, B, H)), delta=at.view("delta", padded(trace.delta), (P, T, B, H)),
            last=at.read("last", last, (P, B, H)), stored=int(trace.direct.steps is None and w.leak is None),
            out_delta=at.view("out_delta", result.delta, (P, B, H)),
            out_ddelta=at.view("out_ddelta", result.ddelta, (P, B, H)),
            exponent=at.numbers("exponent", result.exponent, P, 0, 0),
        )  # fmt: skip
        scratch = tangent_scratch(0, dtype.itemsize, width_of(H, dtype), job).end
        self._threads.run(tangent_rows, job, P, dtype, scratch)
        return result

    def filtered(
        self, inputs: Float[Tensor, "P T B I"], filter_: DriveFilter, lengths: Int64[Tensor, "P ..."]
    ) -> FilterRecord:
        """See `FilterEngine.filtered`."""
        return self._filters.filtered(inputs, filter_, lengths)

    def filtered_back(
        self, record: FilterRecord, gradient: Float[Tensor, "P T B G"], *, further: bool
    ) -> FilterGradients:
        """See `FilterEngine.filtered_back`."""
        found, dz = self._filters.filtered_back(record, gradient, further=further)
        if dz is None:
            return found
        back = self.matmul(dz.flatten(1, 2), record.filter.w_in.transpose(1, 2).contiguous())
        return replace(found, inputs=back.unflatten(1, dz.shape[1:3]))

    def outer(
        self,
        left: Float[Tensor, "P T B K"],
        right: Float[Tensor, "P T B M"],
        weight: Float[Tensor, "P T B"] | None = None,
    ) -> Float[Tensor, "P K M"]:
        """See `Engine.outer`."""
        from rnnsweep.core.recurrence.cpu.kernels.matrices import OuterJob, outer_rows, outer_scratch

        (P, T, B, K), M, dtype = left.shape, right.shape[-1], left.dtype
        at, width = TensorAddresses(dtype), width_of(M, dtype)
        left, right = rows_of(left, 0), rows_of(right, width)
        out = self._workspace.take((P, K, M), dtype)
        job = OuterJob(
            n=T * B, K=K, M=M, left=at.view("left", left, (P, T, B, K)), left_row=left.stride(0), ldl=left.stride(2),
            right=at.view("right", right, (P, T, B, M)), right_row=right.stride(0), ldr=right.stride(2),
            weight=at.read("weight", weight, (P, T, B)), out=at.view("out", out, (P, K, M)),
        )  # fmt: skip
        self._threads.run(outer_rows, job, P, dtype, outer_scratch(0, dtype.itemsize, width, job).end)
        return out

    def square_norms(self, x: Float[Tensor, "P T B H"]) -> Float[Tensor, "P T B"]:
        """See `Engine.square_norms`."""
        from rnnsweep.core.recurrence.cpu.kernels.matrices import NormsJob, norms_rows, norms_scratch

        (P, T, B, H), at = x.shape, TensorAddresses(x.dtype)
        x, out = rows_of(x, 0), self._workspace.take((P, T, B), x.dtype)
        job = NormsJob(
            n=T * B, width=H, x=at.view("x", x, (P, T, B, H)), x_row=x.stride(0), ldx=x.stride(2),
            out=at.view("out", out, (P, T, B)),
        )  # fmt: skip
        self._threads.run(norms_rows, job, P, x.dtype, norms_scratch(0).end)
        return out

    def matmul(self, left: Float[Tensor, "P M K"], right: Float[Tensor, "P K N"]) -> Float[Tensor, "P M N"]:
        """See `Engine.matmul`."""
        from rnnsweep.core.recurrence.cpu.kernels.matrices import MatmulJob, matmul_rows, matmul_scratch

        (P, M, K), N, dtype = left.shape, right.shape[-1], left.dtype
        at, out = TensorAddresses(dtype), self._workspace.take((P, M, N), dtype)
        job = MatmulJob(
            M=M, K=K, N=N, left=at.read("left", left, (P, M, K)), right=at.read("right", right, (P, K, N)),
            out=at.view("out", out, (P, M, N)),
        )  # fmt: skip
        scratch = matmul_scratch(0, dtype.itemsize, width_of(N, dtype), job).end
        self._threads.run(matmul_rows, job, P, dtype, scratch)
        return out

    def _matrix(self, P: int, T: int, B: int, H: int, dtype: torch.dtype) -> Tensor:
        return self._workspace.take((P, T, B, width_of(H, dtype)), dtype)[..., :H]


def _masks(at: TensorAddresses, masks: LoopMasks, shape: tuple[int, int, int, int]) -> dict[str, int]:
    """Addresses of the masks that there are, padded as states are."""
    (P, _, B, H), (recurrent, zone) = shape, (masks.recurrent, masks.zone)
    # One mask for all steps of a sequence: as if it were a single step.
    recurrent = None if recurrent is None else padded(recurrent[:, None])
    zone = None if zone is None else padded(zone)
    return {"recurrent": at.view("recurrent", recurrent, (P, 1, B, H)), "zone": at.view("zone", zone, shape)}


def _norm(
    at: TensorAddresses, gain: Tensor | None, hat: Tensor | None, spread: Tensor | None, shape: tuple[int, ...]
) -> dict[str, int]:
    """Addresses of what layer norm reads and leaves."""
    if gain is not None and (hat is None or spread is None):
        raise ValueError("a record without what layer norm leaves: of another loop?")
    hat = None if hat is None else padded(hat)
    return {
        "gain": at.read("gain", gain, (shape[0], shape[3])),
        "hat": at.view("hat", hat, shape),
        "spread": at.view("spread", spread, (*shape[:3], 1)),
    }


@lru_cache
def _fused(activation: str) -> tuple[int, bool]:
    """The kernels' code of an activation, and whether they derive f' from the state, so that it need not be stored."""
    formulas = importlib.import_module("rnnsweep.core.recurrence.cpu.emit.formulas")
    return formulas.CODES.index(activation), activation in formulas.FROM_OUTPUT
