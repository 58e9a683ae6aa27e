"""The fused GPU engine of cells that are described by formulas: see `recurrence.base` for the contract."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.activations import ACTIVATIONS, Activation
from rnnsweep.core.recurrence.base import Tangent
from rnnsweep.core.recurrence.cells import Cell, KeptRecord
from rnnsweep.core.recurrence.gpu.cell_loops import CellLoops
from rnnsweep.core.recurrence.gpu.engine import GpuEngine
from rnnsweep.core.recurrence.wrapping import BesideFilteredLoops
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace
from rnnsweep.errors import ConfigError


class GpuCellEngine(BesideFilteredLoops):
    """Loops of one cell, made of its formulas; what `GpuEngine` promises about rows holds here too.

    Records and traces are those of `CellEngine`: states [P, T + 1, B, S], delta = dC/da_t.

    Attributes:
        name: ``gpu``.
        tile: None: the whole pack at once.
        cell: what runs.

    Raises:
        TypeError, ValueError: an argument of another type, device, shape or range than its kernel counts on.
    """

    name = "gpu"
    tile: int | None = None
    regularised = False

    def __init__(self, cell: Cell) -> None:
        self._plain = GpuEngine()
        super().__init__(self._plain)
        self.cell = cell
        self._loops = CellLoops(cell)

    def refuses(self, activation: Activation, dtype: torch.dtype) -> str | None:
        """Another type than float32 and float64; a cell has its own activations."""
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
