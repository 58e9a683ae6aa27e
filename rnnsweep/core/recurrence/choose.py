"""Which engine runs a loop: the one that was asked for where it can, else `reference`, with the reason."""

from __future__ import annotations

import torch

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import Cell, CellEngine
from rnnsweep.core.recurrence.reference import ReferenceEngine


def choose_engine(name: str, activation: Activation, dtype: torch.dtype, device: torch.device) -> tuple[Engine, str]:
    """The engine and a note: empty where it is the wanted one, else why it is not.

    Args:
        name: ``auto`` (fused for the device), ``reference``, ``cpu`` or ``gpu``.
        activation, dtype, device: of the loop.
    """
    return engine_for(None, name, activation, dtype, device)


def engine_for(
    cell: Cell | None, name: str, activation: Activation, dtype: torch.dtype, device: torch.device
) -> tuple[Engine, str]:
    """The engine of a family's loop and a note, as `choose_engine`; a cell of its own falls back to `CellEngine`."""
    fallback = ReferenceEngine() if cell is None else CellEngine(cell)
    wanted = ("cpu" if device.type == "cpu" else "gpu") if name == "auto" else name
    if wanted == "reference":
        return fallback, ""
    engine, reason = _load(cell, wanted, device)
    if engine is not None:
        reason = engine.refuses(activation, dtype) or ""
        if not reason:
            return engine, ""
    return fallback, f"{wanted} engine not used: {reason}"


def _load(cell: Cell | None, name: str, device: torch.device) -> tuple[Engine | None, str]:
    """The fused engine of that name for a cell (None: the simple one), or why there is none."""
    if name == "cpu" and device.type != "cpu":
        return None, f"the rows are on {device.type}"
    if name == "gpu" and device.type == "cpu":
        return None, "no GPU here"
    try:
        return (_load_simple(name), "") if cell is None else _load_gated(cell, name)
    except ImportError as error:
        return None, str(error)


def _load_simple(name: str) -> Engine:
    if name == "cpu":
        from rnnsweep.core.recurrence.cpu.engine import CpuEngine

        return CpuEngine()
    from rnnsweep.core.recurrence.gpu.engine import GpuEngine

    return GpuEngine()


def _load_gated(cell: Cell, name: str) -> tuple[Engine | None, str]:
    from rnnsweep.core.recurrence.cpu.gated_engine import GatedEngine

    if name == "cpu" and GatedEngine.knows(cell):
        return GatedEngine(cell), ""
    return None, f"{type(cell).__name__} has no fused loop" + (" on a GPU" if GatedEngine.knows(cell) else "")
