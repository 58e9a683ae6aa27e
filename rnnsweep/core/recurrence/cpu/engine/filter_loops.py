"""Filters over time on the CPU: see `rnnsweep.core.recurrence.filtering` for the contract."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.recurrence.cpu.engine.dispatch import (
    SAMPLES_PER_BLOCK,
    RowThreads,
    TensorAddresses,
    Workspace,
    rows_of,
    width_of,
)
from rnnsweep.core.recurrence.filtering import DriveFilter, FilterGradients, FilterRecord


class FilterLoops:
    """Runs filters row by row; an engine's helper, with its threads and buffers.

    Numerics:
        As for `CpuEngine`: no bit of a row depends on other rows, on P or on the number of threads.
    """

    def __init__(self, threads: RowThreads, workspace: Workspace) -> None:
        self._threads, self._workspace = threads, workspace

    def filtered(
        self, inputs: Float[Tensor, "P T B I"], filter_: DriveFilter, lengths: Int64[Tensor, "P ..."]
    ) -> FilterRecord:
        """See `FilterEngine.filtered`."""
        from rnnsweep.core.recurrence.cpu.kernels.drive_filters import FilterJob, filter_rows, filter_scratch

        (P, T, B, I), G, dtype = inputs.shape, filter_.w_in.shape[-1], inputs.dtype  # noqa: E741
        at, inputs = TensorAddresses(dtype), inputs.contiguous()
        drives = self._workspace.take((P, T, B, G), dtype)
        kept = None if filter_.beta is None else self._workspace.take((P, T, B, 2 * G), dtype)
        rows, each = at.lengths(lengths, P, B, T)
        job = FilterJob(
            T=T, B=B, G=G, I=I, inputs=at.read("inputs", inputs, (P, T, B, I)),
            w_in=at.read("w_in", filter_.w_in, (P, I, G)), bias=at.read("bias", filter_.bias, (P, G)),
            after=at.read("after", filter_.after, (P, G)), lengths=rows, each=each,
            drives=at.view("drives", drives, (P, T, B, G)), kept=at.view("kept", kept, (P, T, B, 2 * G)),
            **_rates(at, filter_, (P, T, B)),
        )  # fmt: skip
        self._threads.run(filter_rows, job, P, dtype, filter_scratch(0, dtype.itemsize, width_of(G, dtype), job).end)
        return FilterRecord(filter_, inputs, lengths, drives, kept)

    def filtered_back(
        self, record: FilterRecord, gradient: Float[Tensor, "P T B G"], *, further: bool
    ) -> tuple[FilterGradients, Float[Tensor, "P T B G"] | None]:
        """Gradients of what the filter consists of, and (`further`) of z."""
        from rnnsweep.core.recurrence.cpu.kernels.drive_filters import (
            FilterBackJob,
            filter_back_rows,
            filter_back_scratch,
        )

        (P, T, B, I), (G, dtype) = record.inputs.shape, (gradient.shape[-1], gradient.dtype)  # noqa: E741
        at, w, new, g = TensorAddresses(dtype), record.filter, self._workspace.take, rows_of(gradient, 0)
        found = FilterGradients(
            new((P, I, G), dtype),
            None if w.bias is None else new((P, G), dtype),
            None if w.after is None else new((P, G), dtype),
            None,
        )
        dz = new((P, T, B, G), dtype) if further else None
        rows, each = at.lengths(record.lengths, P, B, T)
        job = FilterBackJob(
            T=T, B=B, G=G, I=I, inputs=at.read("inputs", record.inputs, (P, T, B, I)), lengths=rows, each=each,
            w_in=at.read("w_in", w.w_in, (P, I, G)), bias=at.read("bias", w.bias, (P, G)),
            kept=at.view("kept", record.kept, (P, T, B, 2 * G)), g=at.view("gradient", g, (P, T, B, G)),
            g_row=g.stride(0), ldg=g.stride(2), chunk=min(T, -(-SAMPLES_PER_BLOCK // B)),
            dz=at.view("dz", dz, (P, T, B, G)), dw_in=at.view("dw_in", found.w_in, (P, I, G)),
            dbias=at.view("dbias", found.bias, (P, G)), dafter=at.view("dafter", found.after, (P, G)),
            **_rates(at, w, (P, T, B)),
        )  # fmt: skip
        scratch = filter_back_scratch(0, dtype.itemsize, width_of(G, dtype), job).end
        self._threads.run(filter_back_rows, job, P, dtype, scratch)
        return found, dz


def _rates(at: TensorAddresses, filter_: DriveFilter, shape: tuple[int, int, int]) -> dict[str, int]:
    """Addresses of decay, scale and beta, and how many sequences they are given for."""
    (P, T, B), S = shape, filter_.decay.shape[2]
    if S not in (1, B):
        raise ValueError(f"decay is given for {S} sequences, neither for 1 nor for {B}")
    return {
        "S": S,
        "decay": at.read("decay", filter_.decay, (P, T, S)),
        "scale": at.read("scale", filter_.scale, (P,)),
        "beta": at.read("beta", filter_.beta, (P, T, S)),
    }
