"""Which engine runs a loop: the one that was asked for where it can, else `reference`, with the reason."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import torch

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.recurrence.reference import ReferenceEngine

SIMPLE: Mapping[str, str] = {
    "cpu": "rnnsweep.core.recurrence.cpu.engine.simple:CpuEngine",
    "gpu": "rnnsweep.core.recurrence.gpu.engine:GpuEngine",
}
"""Fused engines of the simple cell, as `Cell.fused` declares those of others."""


def choose_engine(name: str, activation: Activation, dtype: torch.dtype, device: torch.device) -> tuple[Engine, str]:
    """The engine and a note: empty where it is the wanted one, else why it is not.

    Args:
        name: ``auto`` (fused for the device), ``reference``, ``cpu`` or ``gpu``.
        activation, dtype, device: of the loop.
    """
    return engine_for(None, name, activation, dtype, device)


def engine_for(
    cell: Cell | None,
    name: str,
    activation: Activation,
    dtype: torch.dtype,
    device: torch.device,
    *,
    regularised: bool = False,
) -> tuple[Engine, str]:
    """The engine of a family's loop and a note, as `choose_engine`; a cell falls back to its `Cell.engine`.

    Args:
        cell, name, activation, dtype, device: see `choose_engine`.
        regularised: whether the loop has masks or layer norm inside, see `Engine.regularised`.
    """
    # Made first: it is the answer to every way in which another engine cannot.
    fallback = ReferenceEngine() if cell is None else cell.engine()
    wanted = ("cpu" if device.type == "cpu" else "gpu") if name == "auto" else name
    if wanted == "reference":
        return fallback, ""
    engine, reason = _load(cell, wanted, device)
    if engine is not None:
        reason = engine.refuses(activation, dtype) or ""
        if regularised and not engine.regularised:
            reason = "its loop has no zoneout, recurrent dropout or layer norm"
        if not reason:
            return engine, ""
    return fallback, f"{wanted} engine not used: {reason}"


def _load(cell: Cell | None, name: str, device: torch.device) -> tuple[Engine | None, str]:
    """The fused engine of that name for a cell (None: the simple one), or why there is none."""
    if name == "cpu" and device.type != "cpu":
        return None, f"the rows are on {device.type}"
    if name == "gpu" and device.type == "cpu":
        return None, "no GPU here"
    # `vars` and not an attribute: what a base class's loops compute is not what the subclass means.
    fused = SIMPLE if cell is None else vars(type(cell)).get("fused", {})
    if name not in fused:
        elsewhere = "" if not fused else " on a GPU" if name == "gpu" else " on a CPU"
        return None, f"{type(cell).__name__} has no fused loop{elsewhere}"
    module, _, attribute = fused[name].partition(":")
    try:
        build = getattr(importlib.import_module(module), attribute)
        return (build() if cell is None else build(cell)), ""
    except ImportError as error:  # numba is missing, or what compiles for a GPU
        return None, str(error)
