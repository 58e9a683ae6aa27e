"""The fused CPU engine of all cells that are described by formulas: see `recurrence.base` for the contract."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.activations import ACTIVATIONS, Activation
from rnnsweep.core.recurrence.base import Tangent
from rnnsweep.core.recurrence.cells import KeptRecord
from rnnsweep.core.recurrence.cpu.engine.cell_loops import CellLoops
from rnnsweep.core.recurrence.cpu.engine.dispatch import RowThreads, Workspace
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.described_cells import DescribedCell
from rnnsweep.core.recurrence.wrapping import BesideLoops
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace
from rnnsweep.errors import ConfigError


class DescribedEngine(BesideLoops):
    """Fused loops of a `DescribedCell`; what `CpuEngine` promises about rows, threads and buffers holds here too.

    Attributes:
        name: ``cpu``.
        tile: rows whose records stay in the L3 cache together.
        cell: what runs.
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
        self._plain = CpuEngine(threads)
        super().__init__(self._plain)
        self.cell, workspace = cell, Workspace()
        row_threads = RowThreads(threads, workspace)
        self.threads = row_threads.count
        self._loops = CellLoops(cell, row_threads, workspace)

    def refuses(self, activation: Activation, dtype: torch.dtype) -> str | None:
        """No numba, no FMA vectors, or another type than float32 and float64; a cell has its own activations."""
        del activation
        return self._plain.refuses(ACTIVATIONS["tanh"], dtype)

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> KeptRecord:
        """See `Engine.forward`; without w_in, drives are given."""
        del activation
        return self._loops.forward(inputs, weights, lengths)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`; `direct` may cover the leading entries of the state only."""
        del activation
        assert isinstance(record, KeptRecord)
        return self._loops.backward(record, direct, keep=keep)

    def tangent(
        self, trace: Trace, step: Float[Tensor, "P R A"], horizon: Int64[Tensor, " P"], activation: Activation
    ) -> Tangent:
        """Refused: the recursion is defined for the simple cell only (configs are checked before)."""
        del trace, step, horizon, activation
        raise ConfigError(f"{type(self.cell).__name__} has no tangent recursion", key="controllers.sampling")
