"""The fused GPU engine of cells that are described by formulas: see `recurrence.base` for the contract."""

from __future__ import annotations

from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.recurrence.gpu.cell_loops import CellLoops
from rnnsweep.core.recurrence.gpu.engine import GpuEngine
from rnnsweep.core.recurrence.wrapping import Filtering, OneCellEngine


class GpuCellEngine(OneCellEngine, Filtering):
    """Loops of one cell, made of its formulas; what `GpuEngine` promises about rows holds here too.

    Attributes:
        name: ``gpu``.
        tile: None: the whole pack at once.

    Raises:
        TypeError, ValueError: an argument of another type, device, shape or range than its kernel counts on.
    """

    name = "gpu"
    tile: int | None = None
    regularised = False

    def __init__(self, cell: Cell) -> None:
        plain = GpuEngine()
        OneCellEngine.__init__(self, plain, cell, CellLoops(cell))
        Filtering.__init__(self, plain)
