"""A trial as its reports in the ledger have it, before any of them is replayed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rnnsweep.sweep import machine
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import AttemptView, TrialView
from rnnsweep.sweep.records import OpenTrial
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.segments import taken
from rnnsweep.sweep.states import RowState


def restored_trial(
    plan: SweepPlan, view: TrialView, reports: Iterable[RowReport], attempts: Sequence[AttemptView], replicas: int
) -> OpenTrial:
    """The trial with its rows, of which none has a rung yet; those of a race that were started later stand apart."""
    trial = OpenTrial(view.number, dict(view.params), machine.new_rows(replicas), state=view.state, reason=view.reason)
    trial.attempts, trial.charged, trial.token = view.attempts, view.charged, view.token
    trial.tokens = tuple(attempt.token for attempt in attempts)
    trial.started, trial.engine = view.started, view.engine
    trial.history, trial.extra = list(view.history), dict(view.extra)
    trial.enqueued, trial.informed_by, trial.reopened = view.enqueued, view.informed_by, view.reopened
    trial.space = view.space
    trial.paused_by, trial.segments = view.paused_by, view.segments or ()
    begun = {segment.rung for segment in taken(trial.segments)}
    for report in sorted(reports, key=lambda report: report.rung):
        row = trial.rows[report.replica]
        # Up to the first gap only: a report beyond one has no rung before it, and the row trains that again anyway.
        if report.rung == row.reported + 1 or report.rung - 1 in begun:
            # as if it had just arrived: `take_rung` replays from here
            row.ahead[report.rung] = known = unfinished(plan, report)
            # what a checkpoint repeats up to here is acknowledged and not counted again
            row.reported = row.stored = known.rung
            row.step, row.state = known.step, known.state
    first = plan.first_replicas
    trial.rows, trial.late = trial.rows[:first], trial.rows[first:]
    return trial


def unfinished(plan: SweepPlan, report: RowReport) -> RowReport:
    """A replica that was DONE with a smaller budget goes on; its next rung ends where the next whole one would."""
    if report.state is RowState.DONE and report.step < plan.budget.updates:
        return replace(report, state=RowState.ACTIVE)
    return report
