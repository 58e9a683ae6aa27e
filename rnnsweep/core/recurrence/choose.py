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
    wanted = ("cpu" if device.type == "cpu" else "gpu") if name == "auto" else name
    if wanted == "reference":
        return ReferenceEngine(), ""
    engine, reason = _load(wanted, device)
    if engine is not None:
        reason = engine.refuses(activation, dtype) or ""
        if not reason:
            return engine, ""
    return ReferenceEngine(), f"{wanted} engine not used: {reason}"


def engine_for(
    cell: Cell | None, name: str, activation: Activation, dtype: torch.dtype, device: torch.device
) -> tuple[Engine, str]:
    """The engine of a family's loop and a note: a cell of its own runs through one-step products."""
    if cell is None:
        return choose_engine(name, activation, dtype, device)
    note = "" if name in ("auto", "reference") else f"{name} engine not used: {type(cell).__name__} has no fused loop"
    return CellEngine(cell), note


def _load(name: str, device: torch.device) -> tuple[Engine | None, str]:
    if name == "cpu":
        if device.type != "cpu":
            return None, f"the rows are on {device.type}"
        try:
            from rnnsweep.core.recurrence.cpu.engine import CpuEngine
        except ImportError as error:
            return None, str(error)
        return CpuEngine(), ""
    if device.type == "cpu":
        return None, "no GPU here"
    try:
        from rnnsweep.core.recurrence.gpu.engine import GpuEngine
    except ImportError as error:
        return None, str(error)
    return GpuEngine(), ""
