"""What a trainer writes beside the tensors: reports inside checkpoints, and failures with their reasons."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rnnsweep.core.checkpoint import Saved
from rnnsweep.sweep.patience import Standing
from rnnsweep.sweep.policy import NO_SOURCE
from rnnsweep.sweep.rows import RowFailure, RowReport, RowSpec
from rnnsweep.sweep.states import RowState as State


def failures_of(specs: Sequence[RowSpec], kind: str, error: Exception) -> list[RowFailure]:
    """The same failure for each of some rows; call it where the exception is being handled."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    # a refusal is the user's to read: its line says all, a traceback would point into our code
    said = kind in ("refused", NO_SOURCE)
    text = "" if said else traceback.format_exc()
    prefix = "" if said else f"{type(error).__name__}: "
    return [RowFailure(spec.trial, spec.replica, spec.token, kind, prefix + reason, text) for spec in specs]


def no_memory(error: Exception) -> bool:
    """Whether an exception means that memory ran out; torch has no class of its own for that on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def plain_report(report: RowReport) -> dict[str, Any]:
    """A report as JSON can hold it."""
    # not `dataclasses.asdict`, which copies deeply: this runs per row and rung
    data = {name: getattr(report, name) for name in report.__dataclass_fields__}
    if not report.fingerprint:  # as launched: then an older rnnsweep can still restore it
        del data["fingerprint"]
    return {**data, "state": report.state.value, "metrics": dict(report.metrics)}


def reports_of(saved: Saved) -> list[RowReport]:
    """The reports that a checkpoint carries, oldest first."""
    return [RowReport(**{**data, "state": State(data["state"])}) for data in saved.extra["reports"]]


def standing_of(saved: Saved) -> Standing:
    """How long the row has not improved; a checkpoint of a sweep without patience does not say."""
    return Standing(*saved.extra.get("standing", ()))


def hash_of(params: Mapping[str, Any]) -> str:
    """Hash of a trial's point, kept in the manifest."""
    # sorted: the same point in another order is the same point
    text = json.dumps(dict(params), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
