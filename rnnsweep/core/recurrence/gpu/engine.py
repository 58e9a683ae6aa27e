"""The fused GPU engine: see `rnnsweep.core.recurrence.base` for the contract."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.base import Tangent
from rnnsweep.core.recurrence.filtering import DriveFilter, FilterGradients, FilterRecord
from rnnsweep.core.recurrence.gpu.tiling import Tiling, check_entries, fuses_inputs, rounded
from rnnsweep.core.types import Direct, KernelArguments, LoopGradients, LoopWeights, Record, Trace, check_parts
from rnnsweep.extras import install_hint

try:
    import triton  # noqa: F401 - the kernels below need it; the message is for users
except ImportError as error:
    raise ImportError(f"the gpu engine needs triton ({error}). {install_hint('gpu')}") from error

from rnnsweep.core.recurrence.gpu.backward import backward_kernel
from rnnsweep.core.recurrence.gpu.filters import GpuFilterLoops
from rnnsweep.core.recurrence.gpu.forward import forward_kernel
from rnnsweep.core.recurrence.gpu.pointwise import FUSED
from rnnsweep.core.recurrence.gpu.tangent import tangent_kernel

Precision = Literal["ieee", "tf32x3"]


class GpuEngine:
    """Triton kernels: each loop is one launch for all steps, one program per row and tile of the mini-batch.

    Up to 64 KB (H = 128 in float32) a row's matrix is read once and stays on chip; a larger one is streamed from the
    caches. Gradients of w_rec and w_in are batched products over all steps after the loop, from deltas in memory;
    those of the biases and of h_0 are summed in the loop. See docs/decisions/0002-gpu-engine.md.

    Attributes:
        name: ``gpu``.
        tile: None: the whole pack at once.
        precision: of the loops' float32 products: ``ieee``, or ``tf32x3`` (three tensor-core products, about as exact).

    Raises:
        TypeError, ValueError: an argument of another type, device, shape or range than its kernel counts on. Lengths
            and horizons that are on a GPU are checked there, without waiting: then the run ends with CUDA's assertion.

    Numerics:
        Float32 (and float64). Plain TF32 is never used in the loops; products outside of them follow
        `torch.backends.cuda.matmul`, where torch's default is exact float32 too. A program knows one row only and tile
        sizes do not depend on P, so the loops are the same for a row in every pack, bit for bit; products over all
        steps are cuBLAS's, which may choose another kernel for another P: equal for equal bucket width.
    """

    name = "gpu"
    tile: int | None = None
    regularised = False

    def __init__(self, precision: Precision = "ieee") -> None:
        self.precision: Precision = precision
        self._filters = GpuFilterLoops()

    def refuses(self, activation: Activation, dtype: torch.dtype) -> str | None:
        """An activation that the kernels do not know, or another type than float32 and float64."""
        if activation.name not in FUSED:
            return f"activation {activation.name} has no fused loop"
        if dtype not in (torch.float32, torch.float64):
            return f"{dtype} has no fused loop"
        return None

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> Record:
        """See `Engine.forward`."""
        P, T, B, I = inputs.shape  # noqa: E741
        H, w = weights.w_rec.shape[-1], weights
        if w.masks is not None or w.cell:
            raise ValueError("this loop has neither masks nor layer norm")
        at, inner = _arguments(inputs, activation, (T + 1) * B * max(H, I)), I if w.w_in is not None else H
        inputs = at.packed("inputs", inputs, (P, T, B, inner))
        w_rec, w_in = at.packed("w_rec", w.w_rec, (P, H, H)), at.packed("w_in", w.w_in, (P, I, H))
        bias, act_bias = at.packed("bias", w.bias, (P, H)), at.packed("act_bias", w.act_bias, (P, H))
        h0, leak = at.packed("h0", w.h0, (P, H)), at.packed("leak", w.leak, (P,))
        starts = _lengths(at, lengths, P, B, T)
        drive = inputs
        if w_in is not None and not fuses_inputs(I):
            drive, w_in, inner = numerics.matmul(inputs.flatten(1, 2), w_in).unflatten(1, (T, B)), None, H
        # Not zeros: the kernel writes every state, idle steps too.
        h = inputs.new_empty(P, T + 1, B, H)
        store = not activation.from_output or leak is not None
        slope = inputs.new_empty(P, T, B, H) if store else None
        self._launch(
            forward_kernel, Tiling.of(B, H, inputs.dtype),
            (drive.contiguous(), w_rec, w_in, bias, act_bias, h0, leak, starts, h, slope, T, B),
            H=H, INPUTS=inner, ACT=activation.name, INNER=rounded(inner), EACH=lengths.ndim == 2,
        )  # fmt: skip
        return Record(inputs, h, slope, weights, lengths)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`."""
        w, (P, T, B, I), H = record.weights, record.inputs.shape, record.h.shape[-1]  # noqa: E741
        at, tiling = _arguments(record.h, activation, (T + 1) * B * H), Tiling.of(B, H, record.h.dtype)
        check_parts(record, direct, activation.name, activation.from_output)
        at.check("inputs", record.inputs, (P, T, B, I if w.w_in is not None else H))
        h, slope = at.packed("h", record.h, (P, T + 1, B, H)), at.packed("slope", record.slope, (P, T, B, H))
        last, steps = at.packed("last", direct.last, (P, B, H)), at.packed("steps", direct.steps, (P, T, B, H))
        turned, leak = at.packed("w_rec", w.w_rec.transpose(1, 2), (P, H, H)), at.packed("leak", w.leak, (P,))
        starts = _lengths(at, record.lengths, P, B, T)
        # Deltas are wanted in any case: the products over all steps come after the loop.
        delta, x = h.new_empty(P, T, B, H), h.new_empty(P, T, B, H) if keep else None
        sums = [None if v is None else h.new_empty(P, tiling.count(B), H) for v in (w.bias, w.act_bias, w.h0)]
        self._launch(
            backward_kernel, tiling, (h, slope, last, steps, turned, leak, starts, delta, x, *sums, T, B),
            H=H, ACT=activation.name, EACH=record.lengths.ndim == 2,
        )  # fmt: skip
        bias, act_bias, h0 = map(_over_tiles, sums)
        grads = LoopGradients(
            w_rec=self.outer(h[:, :-1], delta),
            w_in=None if w.w_in is None else self.outer(record.inputs, delta),
            bias=bias,
            act_bias=act_bias,
            h0=h0,
            inputs=delta if w.w_in is None else None,
        )
        return grads, None if x is None else Trace(record, direct, delta, x)

    def tangent(
        self, trace: Trace, step: Float[Tensor, "P R A"], horizon: Int64[Tensor, " P"], activation: Activation
    ) -> Tangent:
        """See `Engine.tangent`; each batch tile is scaled by itself, and brought to the row's exponent at the end."""
        record, w, (P, T, B, H) = trace.record, trace.record.weights, trace.delta.shape
        at = _arguments(trace.delta, activation, (T + 1) * B * H)
        tiling = Tiling.of(B, H, step.dtype, matrices=2)
        check_parts(record, trace.direct, activation.name, activation.from_output)
        last = trace.direct.last if trace.direct.steps is None else trace.direct.steps[:, -1]
        h, slope = at.packed("h", record.h, (P, T + 1, B, H)), at.packed("slope", record.slope, (P, T, B, H))
        end, last = at.packed("delta", trace.delta[:, -1], (P, B, H)), at.packed("last", last, (P, B, H))
        turned = at.packed("w_rec", w.w_rec.transpose(1, 2), (P, H, H))
        turned_step = at.packed("step", step.transpose(1, 2), (P, H, H))
        leak, horizon = at.packed("leak", w.leak, (P,)), at.whole("horizon", horizon, P, 0, T - 1)
        delta, change = step.new_empty(P, B, H), step.new_empty(P, B, H)
        exponents = torch.empty(P, tiling.count(B), dtype=torch.int64, device=step.device)
        self._launch(
            tangent_kernel, tiling,
            (h, slope, end, last, turned, turned_step, leak, horizon, delta, change, exponents, T, B),
            H=H, ACT=activation.name,
        )  # fmt: skip
        return _to_one_exponent(delta, change, exponents, tiling.batch)

    def outer(
        self,
        left: Float[Tensor, "P T B K"],
        right: Float[Tensor, "P T B M"],
        weight: Float[Tensor, "P T B"] | None = None,
    ) -> Float[Tensor, "P K M"]:
        """See `Engine.outer`."""
        (P, T, B, _), at = left.shape, KernelArguments(left.dtype, left.device)
        at.check("right", right, (P, T, B, right.shape[-1]))
        if weight is not None:
            at.check("weight", weight, (P, T, B))
            right = right * weight[..., None]
        return numerics.matmul(left.flatten(1, 2).transpose(1, 2), right.flatten(1, 2))

    def square_norms(self, x: Float[Tensor, "P T B H"]) -> Float[Tensor, "P T B"]:
        """See `Engine.square_norms`."""
        KernelArguments(x.dtype, x.device)  # refuses whole numbers
        return (x * x).sum(-1)

    def matmul(self, left: Float[Tensor, "P M K"], right: Float[Tensor, "P K N"]) -> Float[Tensor, "P M N"]:
        """See `Engine.matmul`."""
        KernelArguments(left.dtype, left.device).check("right", right, (*left.shape[::2], right.shape[-1]))
        return numerics.matmul(left, right)

    def filtered(
        self, inputs: Float[Tensor, "P T B I"], filter_: DriveFilter, lengths: Int64[Tensor, "P ..."]
    ) -> FilterRecord:
        """See `FilterEngine.filtered`."""
        return self._filters.filtered(inputs, filter_, lengths)

    def filtered_back(
        self, record: FilterRecord, gradient: Float[Tensor, "P T B G"], *, further: bool
    ) -> FilterGradients:
        """See `FilterEngine.filtered_back`."""
        return self._filters.filtered_back(record, gradient, further=further)

    def _launch(self, kernel: Any, tiling: Tiling, arguments: tuple[Any, ...], **sizes: Any) -> None:
        """One launch: a program per row and batch tile; the last argument is B, the first a tensor of all rows."""
        first, B = arguments[0], arguments[-1]
        # Triton launches on the current device, whatever device the tensors are on.
        place = torch.cuda.device(first.device) if first.device.type == "cuda" else nullcontext()
        with place:
            kernel[(first.shape[0], tiling.count(B))](
                *arguments, **sizes, BATCH=tiling.batch, UNITS=tiling.units, BLOCK=tiling.block,
                PRECISION=self.precision, num_warps=tiling.warps, num_stages=tiling.stages, enable_fp_fusion=True,
            )  # fmt: skip


def _arguments(like: Tensor, activation: Activation, entries: int) -> KernelArguments:
    """For a loop over tensors like this one, with so many entries of a row; what no kernel can run is refused here."""
    if activation.name not in FUSED:
        raise ValueError(f"activation {activation.name} has no fused loop")
    check_entries(entries)
    return KernelArguments(like.dtype, like.device)


def _lengths(at: KernelArguments, lengths: Int64[Tensor, "P ..."], P: int, B: int, T: int) -> Int64[Tensor, " N"]:
    """Lengths of the rows, or of all sequences side by side."""
    if lengths.ndim == 1:
        return at.whole("lengths", lengths, P, 1, T)
    at.check("lengths", lengths, (P, B), torch.int64)
    return at.whole("lengths", lengths.flatten(), P * B, 1, T)


def _over_tiles(parts: Float[Tensor, "P tiles H"] | None) -> Float[Tensor, "P H"] | None:
    """Sums tile by tile: one order for every P."""
    if parts is None:
        return None
    total = parts[:, 0]
    for i in range(1, parts.shape[1]):
        total = total + parts[:, i]
    return total


def _to_one_exponent(delta: Tensor, change: Tensor, exponents: Tensor, batch: int) -> Tangent:
    """The pair of all batch tiles at the largest exponent of a tile that is not zero."""
    if exponents.shape[1] == 1:
        return Tangent(delta, change, exponents[:, 0])
    B = delta.shape[1]
    each = exponents.repeat_interleave(batch, 1)[:, :B]  # P B
    # A tile whose deltas are all 0 has an arbitrary exponent: it must not lift the others'.
    used = ((delta != 0) | (change != 0)).any(2)
    lowest = torch.iinfo(torch.int64).min
    largest = torch.where(used, each, torch.full_like(each, lowest)).amax(1)
    largest = torch.where(largest == lowest, torch.zeros_like(largest), largest)
    power = torch.where(used, each - largest[:, None], torch.zeros_like(each))[..., None]
    return Tangent(numerics.scale_by_power(delta, power), numerics.scale_by_power(change, power), largest)
