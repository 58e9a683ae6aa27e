"""Filters over time on a GPU: see `rnnsweep.core.recurrence.filtering` for the contract."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.kernels import KernelArguments
from rnnsweep.core.recurrence.filtering import DriveFilter, FilterGradients, FilterRecord
from rnnsweep.core.recurrence.gpu.arguments import arguments
from rnnsweep.core.recurrence.gpu.filter_kernels import filter_back_kernel, filter_kernel, filter_sums_kernel

_INNER_FUSED = 32
WARPS = 1
STAGES = 4
"""Steps whose loads are under way at once."""
ITEMS = 16
"""Sequences that are summed at once."""
_BYTES_PER_PROGRAM = 512  # four entries of float32 for each thread: whole lines of memory


class GpuFilterLoops:
    """Runs filters with one launch for all steps; an engine's helper.

    Up to 32 inputs u_t w_in is made in the kernel, and its gradient summed there: inputs are read and drives written,
    no more. With more inputs both are products over all steps before and after it.

    Numerics:
        As for `GpuEngine`: a program knows one sequence only, sums over sequences have one order for every P, and
        nothing else depends on P but cuBLAS's products with more than 32 inputs.
    """

    def filtered(
        self, inputs: Float[Tensor, "P T B I"], filter_: DriveFilter, lengths: Int64[Tensor, "P ..."]
    ) -> FilterRecord:
        """See `FilterEngine.filtered`; what is kept of steps before a sequence's own start is never written or read."""
        (P, T, B, I), G, w = inputs.shape, filter_.w_in.shape[-1], filter_  # noqa: E741
        at = arguments(inputs, T * B * max(I, 3 * G))
        inputs, w_in = at.packed("inputs", inputs, (P, T, B, I)), at.packed("w_in", w.w_in, (P, I, G))
        bias, after = at.packed("bias", w.bias, (P, G)), at.packed("after", w.after, (P, G))
        scale, rates = at.packed("scale", w.scale, (P,)), _rates(at, w, (P, T, B))
        path = inputs
        if I > _INNER_FUSED:
            path, w_in = numerics.matmul(inputs.flatten(1, 2), w_in).contiguous(), None
        drives = inputs.new_empty(P, T, B, G)
        kept = None if w.beta is None else inputs.new_empty(P, T, B, 3 * G)
        block = entries_per_program(G, inputs.dtype)
        self._launch(
            filter_kernel, (P * B, -(-G // block)),
            (path, w_in, bias, after, w.decay, scale, w.beta, _starts(at, lengths, (P, T, B)), drives, kept, T, B),
            **rates, G=G, INPUTS=I, INNER=inner_of(I), BLOCK=block, EACH=lengths.ndim == 2, STAGES=STAGES,
        )  # fmt: skip
        return FilterRecord(filter_, inputs, lengths, drives, kept)

    def filtered_back(
        self, record: FilterRecord, gradient: Float[Tensor, "P T B G"], *, further: bool
    ) -> FilterGradients:
        """See `FilterEngine.filtered_back`."""
        w, (P, T, B, I), G = record.filter, record.inputs.shape, gradient.shape[-1]  # noqa: E741
        at, fused = KernelArguments(gradient.dtype, gradient.device), I <= _INNER_FUSED
        if (record.kept is None) != (w.beta is None):
            raise ValueError("a record whose filter has beta, and only such a one, has something kept")
        inputs, g = at.packed("inputs", record.inputs, (P, T, B, I)), at.packed("gradient", gradient, (P, T, B, G))
        kept, scale = at.packed("kept", record.kept, (P, T, B, 3 * G)), at.packed("scale", w.scale, (P,))
        rates, starts = _rates(at, w, (P, T, B)), _starts(at, record.lengths, (P, T, B))
        dz = g.new_empty(P, T, B, G) if further or not fused else None
        lines = (I if fused else 0) + (w.bias is not None) + (w.after is not None)
        parts = g.new_empty(P, lines, B, G) if lines else None
        block = entries_per_program(G, g.dtype)
        self._launch(
            filter_back_kernel, (P * B, -(-G // block)),
            (inputs if fused else None, kept, g, w.decay, scale, w.beta, starts, dz, parts, T, B),
            **rates, G=G, INPUTS=I, INNER=inner_of(I), BIAS=int(w.bias is not None), AFTER=int(w.after is not None),
            BLOCK=block, EACH=record.lengths.ndim == 2, STAGES=STAGES,
        )  # fmt: skip
        bias, after = (None if x is None else g.new_empty(P, G) for x in (w.bias, w.after))
        w_in = g.new_empty(P, I, G) if fused else None
        if parts is not None:
            self._launch(
                filter_sums_kernel, (P * lines, -(-G // block)), (parts, w_in, bias, after, B),
                G=G, INPUTS=I if fused else 0, LINES=lines, BLOCK=block, ITEMS=ITEMS,
            )  # fmt: skip
        if w_in is None:
            assert dz is not None  # made where it is not fused
            w_in = numerics.matmul(inputs.flatten(1, 2).transpose(1, 2), dz.flatten(1, 2))
        before = None
        if further:
            assert dz is not None
            before = numerics.matmul(dz.flatten(1, 2), w.w_in.transpose(1, 2)).unflatten(1, (T, B))
        return FilterGradients(w_in, bias, after, before)

    def _launch(self, kernel: Any, grid: tuple[int, int], arguments: tuple[Any, ...], **sizes: Any) -> None:
        """One launch; some argument is a tensor of all rows."""
        first = next(argument for argument in arguments if isinstance(argument, Tensor))
        # Triton launches on the current device, whatever device the tensors are on.
        place = torch.cuda.device(first.device) if first.device.type == "cuda" else nullcontext()
        with place:
            kernel[grid](*arguments, **sizes, num_warps=WARPS, enable_fp_fusion=True)


def entries_per_program(G: int, dtype: torch.dtype) -> int:
    """Entries of a program's block, a power of two; a function of G and the type only."""
    return min(1 << (G - 1).bit_length(), _BYTES_PER_PROGRAM // dtype.itemsize)


def inner_of(inner: int) -> int:
    """Lines of w_in that a fused program holds, with padding; 1 where it is not fused."""
    return 1 << (inner - 1).bit_length() if inner <= _INNER_FUSED else 1


def _rates(at: KernelArguments, filter_: DriveFilter, shape: tuple[int, int, int]) -> dict[str, int]:
    """Entries of decay and beta from one row, step and sequence to the next: a constant rate lies there once."""
    (P, T, B), S = shape, filter_.decay.shape[2]
    if S not in (1, B):
        raise ValueError(f"decay is given for {S} sequences, neither for 1 nor for {B}")
    found: dict[str, int] = {}
    for name, rate in (("decay", filter_.decay), ("beta", filter_.beta)):
        if rate is not None:
            at.check(name, rate, (P, T, S))
        steps = (0, 0, 0) if rate is None else (rate.stride(0), rate.stride(1), rate.stride(2) if S > 1 else 0)
        found |= dict(zip((f"{name}_row", f"{name}_place", f"{name}_item"), steps, strict=True))
    return found


def _starts(at: KernelArguments, lengths: Int64[Tensor, "P ..."], shape: tuple[int, int, int]) -> Int64[Tensor, " N"]:
    """Lengths of the rows, or of all sequences side by side."""
    P, T, B = shape
    if lengths.ndim == 1:
        return at.whole("lengths", lengths, P, 1, T)
    at.check("lengths", lengths, (P, B), torch.int64)
    return at.whole("lengths", lengths.flatten(), P * B, 1, T)
