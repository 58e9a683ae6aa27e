"""A scheduler as it was when its last driver ended, from what the ledger has of its decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnsweep.sweep.decisions import carry_out
from rnnsweep.sweep.events import Command
from rnnsweep.sweep.exploits import advance, restore
from rnnsweep.sweep.objective import rung_values
from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.rungs import at_rung
from rnnsweep.sweep.schedulers.base import AtRung, Decision, Scheduler
from rnnsweep.sweep.segments import point_at
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.verdicts import EXPLOIT, PROMOTE
from rnnsweep.sweep.views import TrialView


def restore_scheduler(
    memory: SweepMemory,
    scheduler: Scheduler,
    trials: Sequence[TrialView],
    reports: Mapping[int, Sequence[RowReport]],
    verdicts: Sequence[tuple[int, int, str]],
    out: list[Command],
) -> None:
    """What it knew when it took its last decision; then whatever it had not decided yet reaches it again."""
    plan, views = memory.plan, sorted(trials, key=lambda view: view.number)
    rungs: dict[tuple[int, int], AtRung] = {}
    for view in views:
        ended = view.state.finished and view.number not in memory.open
        for rung, step, values in rung_values(plan, reports.get(view.number, ()), plan.budget.updates):
            point = point_at(view.params, view.segments or (), rung)
            last = ended and rung == view.rung and view.state is TrialState.COMPLETE
            rungs[view.number, rung] = AtRung(view.number, rung, step, values, point, last)
    segments = {(view.number, one.rung - 1): one for view in views for one in view.segments or ()}
    decisions: list[Decision] = []
    for trial, rung, verdict in verdicts:
        begun = segments.get((trial, rung)) if verdict == EXPLOIT else None
        source, params = (None, None) if begun is None else (begun.source, begun.params)
        decisions.append(Decision(trial, rung, verdict, source, params))
    at_rungs = (rungs.get((one.trial, one.rung)) for one in decisions if one.verdict != PROMOTE)
    now = [memory.open[view.number].view() if view.number in memory.open else view for view in views]
    scheduler.restore([at for at in at_rungs if at is not None], decisions, now)
    # only now: what ended while records were read is no news
    memory.scheduler = scheduler
    restore(memory)
    for number in sorted(memory.open):
        trial = memory.open[number]
        if trial.judging:
            memory.undecided.add(number)
            memory.decisions.extend(scheduler.reached(at_rung(trial)))
    carry_out(memory, out)
    while advance(memory, out):
        carry_out(memory, out)
