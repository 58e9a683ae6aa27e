"""The fused GPU engine: see `rnnsweep.core.recurrence.base` for the contract."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.kernels import KernelArguments
from rnnsweep.core.recurrence.base import (
    BackwardTerm,
    Bounds,
    Judgement,
    NormRatio,
    StepRule,
    Tangent,
    TermResult,
)
from rnnsweep.core.recurrence.diagonal_loops import DiagonalLoops
from rnnsweep.core.recurrence.filtering import DriveFilter, FilterGradients, FilterRecord
from rnnsweep.core.recurrence.gpu import compiling
from rnnsweep.core.recurrence.gpu.arguments import arguments, lengths_of, own_of, parameter
from rnnsweep.core.recurrence.gpu.cell_loops import CellLoops
from rnnsweep.core.recurrence.gpu.description import Description
from rnnsweep.core.recurrence.gpu.judging import judged
from rnnsweep.core.recurrence.gpu.layout import items_of
from rnnsweep.core.recurrence.gpu.loops import Loops, fuses_inputs
from rnnsweep.core.recurrence.gpu.norm_ratio import norm_ratio
from rnnsweep.core.recurrence.gpu.simple_step import FUSED
from rnnsweep.core.recurrence.gpu.weight_gradients import WantedWeights, weight_gradients
from rnnsweep.core.types import (
    Direct,
    LoopGradients,
    LoopWeights,
    Record,
    Trace,
    check_parts,
)
from rnnsweep.extras import install_hint

try:
    from rnnsweep.core.recurrence.gpu.filters import GpuFilterLoops
except ImportError as error:
    raise ImportError(f"the gpu engine needs triton ({error}). {install_hint('gpu')}") from error


class GpuEngine:
    """Loops in CUDA C++, each one launch for all steps: a program per row and tile of the mini-batch.

    A row's matrix stays in shared memory over all steps where it fits, else in the caches. Gradients of weights and
    bias are sums over all steps after the loop, in one launch; those of activation parameters and of h_0 are made
    in the loop. See docs/decisions/0041-loops-in-cuda.md.

    Attributes:
        name: ``gpu``.
        tile: None: the whole pack at once.

    Raises:
        TypeError, ValueError: an argument of another type, device, shape or range than its kernel counts on. Lengths
            and horizons that are on a GPU are checked there, without waiting: then the run ends with CUDA's assertion.

    Numerics:
        Float32 and float64 throughout; plain TF32 is never used. A program knows one row only and tile sizes do not
        depend on P, so that loops and gradients of weights are the same for a row in every pack, bit for bit; products
        beside them (`outer`, `matmul`) are cuBLAS's, which may choose another kernel for another P: equal for equal
        bucket width.
    """

    name = "gpu"
    tile: int | None = None
    regularised = False

    def __init__(self) -> None:
        compiling.require()
        self._diagonals = DiagonalLoops(lambda cell: CellLoops(cell, shown=True))
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
        if (found := self._diagonals.forward(inputs, w, activation, lengths)) is not None:
            return found
        at = _arguments(inputs, activation, (T + 1) * B * max(H, I))
        inputs = at.packed("inputs", inputs, (P, T, B, I if w.w_in is not None else H))
        w_rec, w_in = parameter(at, "w_rec", w.w_rec, (P, H, H)), parameter(at, "w_in", w.w_in, (P, I, H))
        bias, h0 = parameter(at, "bias", w.bias, (P, H)), at.packed("h0", w.h0, (P, H))
        description = _described(activation, w)
        own, rows = own_of(at, description, _own(at, w, P, H), P), lengths_of(at, lengths, P, B, T)
        given = inputs
        if w_in is None and bias is not None:
            given = inputs + bias[:, None, None]
        elif w_in is not None and not fuses_inputs(description, I):
            given, w_in = numerics.matmul(inputs.flatten(1, 2), w_in).unflatten(1, (T, B)), None
            given = given if bias is None else given + bias[:, None, None]
        h, kept = Loops(description).forward(given, w_rec, w_in, None if w_in is None else bias, own, h0, rows)
        return Record(inputs, h, kept if description.formulas.kept else None, weights, lengths)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`."""
        w, (P, T, B, I), H = record.weights, record.inputs.shape, record.h.shape[-1]  # noqa: E741
        if (found := self._diagonals.backward(record, direct, activation, keep=keep)) is not None:
            return found
        at = _arguments(record.h, activation, (T + 1) * B * H)
        check_parts(record, direct, activation.name, activation.from_output)
        inputs = at.packed("inputs", record.inputs, (P, T, B, I if w.w_in is not None else H))
        h, slope = at.packed("h", record.h, (P, T + 1, B, H)), at.packed("slope", record.slope, (P, T, B, H))
        given = Direct(at.packed("last", direct.last, (P, B, H)), at.packed("steps", direct.steps, (P, T, B, H)))
        w_rec, description = parameter(at, "w_rec", w.w_rec, (P, H, H)), _described(activation, w)
        own, rows = own_of(at, description, _own(at, w, P, H), P), lengths_of(at, record.lengths, P, B, T)
        kept = h.new_empty(P, T, B, 0) if slope is None else slope
        errors = Loops(description).backward(h, kept, given, w_rec, own, rows, keep=keep, first=w.h0 is not None)
        w_rec_grad, w_in_grad, bias_grad = weight_gradients(
            h, None if w.w_in is None else inputs, errors.x, WantedWeights(H, H, bias=w.bias is not None)
        )
        grads = LoopGradients(
            w_rec=w_rec_grad,
            w_in=w_in_grad,
            bias=bias_grad,
            act_bias=None if w.act_bias is None else errors.down[:, 0],
            h0=errors.h0,
            inputs=errors.x if w.w_in is None else None,
        )
        return grads, None if errors.back is None else Trace(record, direct, errors.x, errors.back)

    def takes(self, term: BackwardTerm) -> bool:
        """See `TermEngine.takes`."""
        return isinstance(term, NormRatio)

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
        """See `TermEngine.backward_with`; x is written for the term's norms, also where no trace is wanted."""
        if not isinstance(term, NormRatio):
            raise TypeError(f"this loop takes NormRatio along, not {type(term).__name__}")
        gradients, trace = self.backward(record, direct, activation)
        assert trace is not None
        return gradients, trace if keep else None, norm_ratio(trace, term, rows)

    def tangent(
        self, trace: Trace, step: Float[Tensor, "P R A"], horizon: Int64[Tensor, " P"], activation: Activation
    ) -> Tangent:
        """See `Engine.tangent`; each batch tile is scaled by itself, and brought to the row's exponent at the end.

        Where a loss is of the last step alone, the trace's earlier deltas are those of the recursion, and are read.
        """
        record, w, (P, T, B, H) = trace.record, trace.record.weights, trace.delta.shape
        at = _arguments(trace.delta, activation, (T + 1) * B * H)
        check_parts(record, trace.direct, activation.name, activation.from_output)
        last = trace.direct.last if trace.direct.steps is None else trace.direct.steps[:, -1]
        h, slope = at.packed("h", record.h, (P, T + 1, B, H)), at.packed("slope", record.slope, (P, T, B, H))
        deltas, total = at.packed("delta", trace.delta, (P, T, B, H)), at.packed("last", last, (P, B, H))
        w_rec, change = parameter(at, "w_rec", w.w_rec, (P, H, H)), parameter(at, "step", step, (P, H, H))
        assert total is not None
        assert w_rec is not None
        assert change is not None
        description, horizon = _described(activation, w), at.whole("horizon", horizon, P, 0, T - 1)
        own, kept = (
            own_of(at, description, _own(at, w, P, H), P),
            h.new_empty(P, T, B, 0) if slope is None else slope,
        )
        known = trace.direct.steps is None and trace.cut is None
        made = Loops(description).tangent(h, kept, deltas, total, w_rec, change, own, horizon, known=known)
        return _to_one_exponent(*made)

    def judge(self, last: Float[Tensor, "P B H"], tangent: Tangent, bounds: Bounds, rule: StepRule) -> Judgement:
        """See `JudgingEngine.judge`."""
        return judged(last, tangent, bounds, rule)

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


def _arguments(like: Tensor, activation: Activation, entries: int) -> KernelArguments:
    """For a loop over tensors like this one, with so many entries of a row; what no kernel can run is refused here."""
    if activation.name not in FUSED:
        raise ValueError(f"activation {activation.name} has no fused loop")
    return arguments(like, entries)


def _described(activation: Activation, weights: LoopWeights) -> Description:
    return Description.simple(activation, weights.w_rec.shape[-1], leaky=weights.leak is not None)


def _own(at: KernelArguments, weights: LoopWeights, P: int, H: int) -> dict[str, Tensor | None]:
    """What the cell's formulas read besides: vectors, or one number for all units."""
    leak = at.packed("leak", weights.leak, (P,))
    return {
        "leak": None if leak is None else leak[:, None],
        "act_bias": at.packed("act_bias", weights.act_bias, (P, H)),
    }


def _to_one_exponent(delta: Tensor, change: Tensor, exponents: Tensor) -> Tangent:
    """The pair of all batch tiles at the largest exponent of a tile that is not zero."""
    if exponents.shape[1] == 1:
        return Tangent(delta, change, exponents[:, 0])
    B = delta.shape[1]
    each = exponents.repeat_interleave(items_of(B), 1)[:, :B]  # P B
    # A tile whose deltas are all 0 has an arbitrary exponent: it must not lift the others'.
    used = ((delta != 0) | (change != 0)).any(2)
    lowest = torch.iinfo(torch.int64).min
    largest = torch.where(used, each, torch.full_like(each, lowest)).amax(1)
    largest = torch.where(largest == lowest, torch.zeros_like(largest), largest)
    power = torch.where(used, each - largest[:, None], torch.zeros_like(each))[..., None]
    return Tangent(numerics.scale_by_power(delta, power), numerics.scale_by_power(change, power), largest)
