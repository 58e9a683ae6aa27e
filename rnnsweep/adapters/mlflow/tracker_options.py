"""What the tracker needs besides the journal; app hands it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnsweep.sweep.plan import Params

Files = Mapping[str, bytes | Path]
"""Path within the run -> content, or a file or folder to copy."""


def _no_files(*_: object) -> Files:
    return {}


def _nothing() -> None:
    return


def _no_rung(_: int) -> tuple[int, Mapping[str, float]] | None:
    return None


def _no_key(_: Params) -> str:
    return ""


@dataclass(frozen=True)
class TrackerOptions:
    """Settings and providers of `MlflowMirror`.

    Attributes:
        points: largest number of points per curve and trial.
        metrics: gives every metric key; each finished trial has all of them. Called in the mirror's thread.
        environment: gives versions, processors, commit; becomes the artifact ``environment.json``.
        artifact_root: where artifacts go when the store is a database; None leaves it to the MLflow server.
        commands: command lines for the note, as they are to be typed: how to go on, run again, report.
        artifacts: trial number -> its artifacts; called when the trial has ended. Its failure is logged, no more.
        report: artifacts of the sweep (figures); called when the sweep stops running.
        prepare: loads what `report` needs, while trials train: at the end somebody waits. Its failure is logged, no
            more.
        last_rung: trial number -> (step, metrics) of its newest rung, read from the ledger when the tracker has not
            seen it itself (after a restart).
        shape_key: params -> the trial's shape key, for the tag; empty where the params are refused.
    """

    points: int = 200
    metrics: Callable[[], Sequence[str]] = tuple
    environment: Callable[[], Mapping[str, object]] = dict
    artifact_root: str | None = None
    commands: Sequence[str] = ()
    artifacts: Callable[[int], Files] = _no_files
    report: Callable[[], Files] = _no_files
    prepare: Callable[[], None] = _nothing
    last_rung: Callable[[int], tuple[int, Mapping[str, float]] | None] = _no_rung
    shape_key: Callable[[Params], str] = _no_key
