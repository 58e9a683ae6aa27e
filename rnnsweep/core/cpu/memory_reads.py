"""What the steps of a matrix memory show, on a CPU: what its engine launches. Shapes: see `core.types`."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.cpu.memory_read_rows import ReadJob, read_rows, read_scratch
from rnnsweep.core.recurrence.cpu.engine.dispatch import RowThreads, TensorAddresses, Workspace, width_of
from rnnsweep.core.recurrence.cpu.host import VECTOR_BYTES
from rnnsweep.core.recurrence.head_memories import HeadMemories
from rnnsweep.core.recurrence.memory_chunks import NOTHING
from rnnsweep.core.recurrence.memory_records import LARGEST, Gates, LastQuery, Shown, Start, chunks, padded

AVAILABLE = VECTOR_BYTES > 0
"""Whether this machine has vectors with fused multiply-add."""


class Reader:
    """Reads matrix memories row by row; an engine's helper, with threads and buffers of its own."""

    def __init__(self) -> None:
        self._workspace = Workspace()
        self._threads = RowThreads(None, self._workspace)

    def read(
        self,
        cell: HeadMemories,
        inputs: Float[Tensor, "P T B I"],
        path: tuple[Float[Tensor, "P I D"] | None, Float[Tensor, "P D"] | None],
        lengths: Int64[Tensor, "P ..."],
        start: Start,
        *,
        last: bool,
    ) -> Shown:
        """What all steps show, or the last one.

        Args:
            cell: sizes, and which gates.
            inputs: what w_in multiplies; drives, 0 before a sequence's start, where there is none.
            path: w_in and bias of the drives; a bias only with w_in.
            lengths: of rows, or of all sequences.
            start: what sequences begin with; h's first states are left alone.
            last: whether the last step alone is shown.
        """
        w_in, bias = path
        (P, T, B, I), dtype, new = inputs.shape, inputs.dtype, self._workspace.take  # noqa: E741
        N, D, H = cell.heads, cell.size, cell.hidden
        X, K, E, W = P * B * N, padded(D), padded(D + 1), padded(cell.drive)
        ends = [T] if last else [end for _, end in chunks(cell, T)]
        steps = 1 if last else T
        # a sequence's steps lie one behind the other: they are looked at together
        drive = inputs if w_in is None else new((P, B, T, W), dtype)[..., : cell.drive].transpose(1, 2)
        drive = drive if drive.stride(3) == 1 else drive.contiguous()
        at, small = TensorAddresses(dtype), (P, T, B, N)
        keep, write, m, inside = (new(size, dtype) for size in (small, small, small, (P, steps, B, N)))
        y, h = new((P, steps, B, H), dtype), new((P, steps + (not last), B, H), dtype)
        memories = new((len(ends) - 1, X, K, E), dtype)
        weights, shares, faded = (new(size, dtype) for size in ((P, B, N, T), (P, B, N, T), (P, B, N)))
        rows, each = at.lengths(lengths, P, B, T)
        row, step, sample, _ = drive.stride()
        job = ReadJob(
            P=P, T=T, B=B, N=N, D=D, I=I, W=W, K=K, E=E, last=int(last), first_end=ends[0],
            steps=ends[1] - ends[0] if len(ends) > 1 else T, most=1 if last else max(b - a for a, b in chunks(cell, T)),
            carries=int(not last and (start.memory is not None or len(ends) > 1)), sigmoid=int(cell.sigmoid_forget),
            nothing=int(NOTHING), largest=int(LARGEST),
            inputs=at.read("inputs", inputs, (P, T, B, I)), w_in=at.read("w_in", w_in, (P, I, cell.drive)),
            bias=at.read("bias", bias, (P, cell.drive)), drives=at.view("drive", drive, (P, T, B, cell.drive)),
            row_apart=row, step_apart=step, sample_apart=sample, lengths=rows, each=each,
            start=at.read("memory", start.memory, (X, K, E)), start_m=at.read("m", start.m, (P, B, N)),
            keep=at.view("keep", keep, small), write=at.view("write", write, small), m=at.view("m", m, small),
            inside=at.view("inside", inside, (P, steps, B, N)), y=at.view("y", y, (P, steps, B, H)),
            h=at.view("h", h, tuple(h.shape)),
            memories=at.view("memories", memories, (len(ends) - 1, X, K, E)),
            weights=at.view("weights", weights, (P, B, N, T)), shares=at.view("shares", shares, (P, B, N, T)),
            faded=at.view("faded", faded, (P, B, N)),
        )  # fmt: skip
        scratch = read_scratch(0, dtype.itemsize, width_of(job.most, dtype), job).end
        self._threads.run(read_rows, job, P, dtype, scratch)
        query, kept = LastQuery(weights, shares, faded), () if last else (start.memory, *memories)
        return Shown(drive, h, y, inside, Gates(keep, write, m), query, kept)
