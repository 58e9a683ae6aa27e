"""The fused CPU engine of all cells that are described by formulas: see `recurrence.base` for the contract."""

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.engine.cell_loops import CellLoops
from rnnsweep.core.recurrence.cpu.engine.dispatch import RowThreads, Workspace
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.described_cells import DescribedCell
from rnnsweep.core.recurrence.wrapping import OneCellEngine


class DescribedEngine(OneCellEngine):
    """Fused loops of a `DescribedCell`; what `CpuEngine` promises about rows, threads and buffers holds here too.

    Attributes:
        name: ``cpu``.
        tile: rows whose records stay in the L3 cache together.
        threads: threads that rows are spread over; one row is always one thread's.

    Raises:
        TypeError, ValueError: an argument of another type, shape or range than its kernel counts on.

    Numerics:
        As for `CpuEngine`: every entry of a product is summed in the order of its inner index, elementwise work is the
        same in every vector lane, so that no bit of a row depends on other rows, on P or on the number of threads. NaN
        and inf stay in their row; steps before a row's start are not read.
    """

    name = "cpu"
    tile: int | None = 8
    regularised = False

    def __init__(self, cell: DescribedCell, threads: int | None = None) -> None:
        workspace = Workspace()
        row_threads = RowThreads(threads, workspace)
        super().__init__(CpuEngine(threads), cell, CellLoops(cell, row_threads, workspace))
        self.threads = row_threads.count
