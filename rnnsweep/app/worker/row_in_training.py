"""A row as its worker knows it beside its tensors, and what it keeps of a rung."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.app.worker.open_sweeps import OpenSweep
from rnnsweep.app.worker.retrying_store import RetryingStore
from rnnsweep.app.worker.row_records import hash_of, plain_report
from rnnsweep.core.build import Units
from rnnsweep.core.pack import RowSnapshot
from rnnsweep.core.program import Program
from rnnsweep.core.types import RowStatus
from rnnsweep.sweep.fidelity import Stage
from rnnsweep.sweep.patience import Standing
from rnnsweep.sweep.rows import RowReport, RowSpec
from rnnsweep.sweep.states import RowState as State

_STATES = {
    RowStatus.ACTIVE: State.ACTIVE,
    RowStatus.DONE: State.DONE,
    RowStatus.SOLVED: State.SOLVED,
    RowStatus.DIVERGED: State.DIVERGED,
}


@dataclass
class RowInTraining:
    """A row's standing beside its tensors.

    Attributes:
        spec: by its number in the pool. trial: its number within the sweep.
        reports: those since the driver's last acknowledgement; they travel in every checkpoint.
        decided: last rung whose verdict is known.
        standing: how long its objective has not improved.
        rung: rungs done.
        stage: that it is in the pack of; None where the sweep has none.
    """

    spec: RowSpec
    sweep: OpenSweep
    trial: int
    units: Units
    folder: str
    reports: list[RowReport] = field(default_factory=list)
    decided: int = 0
    standing: Standing = field(default_factory=Standing)
    rung: int = 0
    stage: Stage | None = None


def checkpoint_of(row: RowInTraining, state: RowSnapshot) -> Callable[[RetryingStore], None]:
    """The checkpoint of the row's present rung, as it is now; what is returned writes it, on any thread.

    That saves first, then deletes what no verdict can need any more: the last two, undecided ones and the best stay.
    Metrics of its reports are read only then: those that are found late have come.
    """
    reports, params, standing = tuple(row.reports), row.spec.params, row.standing
    patient = row.sweep.settings.patience is not None
    # From the last decided rung on all may still be needed: a verdict may end the row at any of them.
    floor, folder = min(row.decided, state.rung - 1), row.folder

    def write(store: RetryingStore) -> None:
        extra: dict[str, Any] = {"reports": [plain_report(one) for one in reports], "params": hash_of(params)}
        if patient:
            extra["standing"] = [standing.best, standing.since]
        store.save(folder, state, extra)
        kept = [rung for rung in store.rungs(folder) if rung >= floor or rung == state.best_rung]
        store.prune(folder, kept)

    return write


def has_ended(row: RowInTraining, state: RowSnapshot) -> bool:
    """Whether a restored row has nothing left to train: a raised budget only moves rows that had used theirs up."""
    last = row.reports[-1].state if row.reports else State.ACTIVE
    through = (State.SOLVED, State.STALLED, State.DIVERGED)
    return last in through or (last is State.DONE and state.step >= row.spec.updates)


def report_of(
    program: Program,
    status: RowStatus,
    row: RowInTraining,
    state: RowSnapshot,
    metrics: Mapping[str, float],
    share: float,
) -> RowReport:
    """What a row reports of the rung that it has just trained; `share` is its part of the device time."""
    return RowReport(
        row.trial,
        row.spec.replica,
        row.spec.token,
        state.rung,
        state.step,
        metrics,
        _STATES[status],
        state.solved_at,
        state.solved_exactly_at,
        state.diverged_at,
        share,
        f"{program.engine.name} ({program.engine_note})" if program.engine_note else program.engine.name,
        row.sweep.settings.session.number,
    )
