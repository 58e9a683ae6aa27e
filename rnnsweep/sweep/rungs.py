"""Reports become rungs, rungs become verdicts, verdicts become results.

A report counts once the rung before it was kept: until then it is held in memory, unacknowledged, and a `prune` drops
it unseen. So the outcome does not depend on how far workers ran ahead of the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rnnsweep.sweep.events import AskPruner, Command, Judged, Leave, Progressed, ReportRung, TellSampler
from rnnsweep.sweep.fidelity import full_after
from rnnsweep.sweep.objective import fresh, measured_after, reduced, replica_loss, replica_values, rung_metrics
from rnnsweep.sweep.patience import stalled
from rnnsweep.sweep.placement import leave_group
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import PutAttempt, PutReports, PutRung, PutTrial, PutVerdict, TrialView
from rnnsweep.sweep.records import OpenTrial, Row, SweepMemory
from rnnsweep.sweep.rows import RowReport, Withdrawal
from rnnsweep.sweep.schedulers.base import AtRung, Reviving, Scheduler
from rnnsweep.sweep.segments import LAPSED, taken
from rnnsweep.sweep.states import RowState, TrialState
from rnnsweep.sweep.summary import best_of, rank, unsolved
from rnnsweep.sweep.verdicts import KEEP, PRUNE


def accept_report(memory: SweepMemory, trial: OpenTrial, report: RowReport, out: list[Command]) -> None:
    """Take in the next rung of a row; the caller has checked token, worker and order."""
    row = trial.rows[report.replica]
    # a row that restored from an older checkpoint repeats updates: those are counted once
    memory.spent.updates += max(0, report.step - row.step)
    row.reported, row.step = report.rung, report.step
    row.ahead[report.rung] = report
    trial.engine = report.engine or trial.engine
    # its place is free now, before its trial has a verdict: the worker has dropped the row by itself
    if report.state.ended:
        row.move(trial.number, report.state)
        memory.vacate(trial.number, row)
    store(trial, row, out)


def store(trial: OpenTrial, row: Row, out: list[Command], decided: int | None = None) -> None:
    """Hand those reports to the ledger that count already: the next rung's, or all when no verdict will come."""
    before = row.stored
    # While rung r is judged only reports up to r may be stored; a pruned trial must end at r on any cluster, however
    # far its rows ran ahead.
    waits = trial.judging or trial.awaits
    # nor does any come once a trial has got late rows: what they train counts, or the whole trial fails
    last = row.reported if trial.failures or trial.late else min(row.reported, trial.rung + (not waits))
    if trial.late and row.stored < last:
        decided = last
    while row.stored < last:
        row.stored += 1
        out.append(PutReports((row.ahead[row.stored],)))
    # In the same batch as the write: the worker forgets a report only when the ledger has it, and drops older
    # checkpoints only when no verdict can send the row back to them.
    if row.placed and (row.stored > before or decided is not None):
        out.append(Progressed(row.worker, (trial.number, row.replica), row.stored, decided))


def settle(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """Advance a trial through all rungs that its replicas have, up to a verdict or to its end."""
    # the verdict on a rung comes back as an event; until then the trial stands still, its rows do not; one that is
    # paused there stands still until it is promoted
    while trial.number in memory.open and not _stands_still(memory, trial):
        if trial.failures:
            _settle_failed(memory, trial, out)
            return
        known = len(trial.fingerprints)
        reports = take_rung(memory, trial)
        if not reports:
            return
        if known and len(trial.fingerprints) > known:
            _note_mixture(trial, out)
        curves = [row.curve for row in trial.rows]
        metrics = rung_metrics(memory.plan, curves, trial.values)
        out.append(PutRung(trial.number, trial.rung, trial.step, metrics, trial.values))
        # Optuna's pruners and intermediate values exist for one objective only.
        single, news = len(memory.plan.objectives) == 1, has_news(memory.plan, reports)
        if single and news:
            replicas = replica_values(memory.plan, curves, memory.plan.budget.updates)
            out.append(ReportRung(trial.number, trial.step, trial.values[0], replicas))
        # a trial at its end is complete, whatever a verdict would be
        if all(curve.ended for curve in curves):
            _last_rung(memory, trial, out)
        elif news and (single or memory.scheduler is not None) and not (trial.late or trial.raced_out):
            trial.judging = trial.rung
            ask(memory, trial, out)
        else:
            kept(trial, out)


def _stands_still(memory: SweepMemory, trial: OpenTrial) -> bool:
    """Whether its next rung waits for something other than reports; one that comes to a look says so there."""
    if trial.judging or trial.unpromoted:
        return True
    if trial.failures:
        return False
    catch_up(memory, trial)
    if at_look(memory, trial):
        arrive(memory, trial)
        return True
    return trial.awaits


def has_news(plan: SweepPlan, reports: Sequence[RowReport]) -> bool:
    """Whether a rung is one to decide on: its reports say something new about some objective."""
    return any(fresh(objective, reports) for objective in plan.objectives)


def ask(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """Have the trial's rung decided on: by the scheduler here and now, by the pruner outside."""
    if memory.scheduler is None:
        out.append(AskPruner(trial.number, trial.rung, trial.step))
    else:
        memory.undecided.add(trial.number)
        memory.decisions.extend(memory.scheduler.reached(at_rung(trial)))


def at_rung(trial: OpenTrial, *, last: bool = False) -> AtRung:
    """The trial as its scheduler sees it."""
    diverged = trial.judging > trial.rung
    return AtRung(trial.number, max(trial.rung, trial.judging), trial.step, trial.values, trial.point, last, diverged)


def revived_after(scheduler: Scheduler | None, trial: OpenTrial) -> int:
    """The rung that a trial waits for whose replicas have all diverged, to go on from another one's state; 0: none."""
    if not trial.diverged or not isinstance(scheduler, Reviving):
        return 0
    return scheduler.revived_after(at_rung(trial))


def _last_rung(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    if trial.diverged and trial.awaits:
        return  # the state that it is to take over is on its way
    rung = revived_after(memory.scheduler, trial)
    if rung:
        trial.judging = rung
        ask(memory, trial, out)
        return
    if memory.scheduler is not None:
        # so that the order in which the scheduler has seen rungs can be read from the verdicts
        out.append(PutVerdict(trial.number, trial.rung, KEEP))
        memory.decisions.extend(memory.scheduler.reached(at_rung(trial, last=True)))
    if trial.raced_out:
        out.append(PutVerdict(trial.number, trial.rung, PRUNE))
        end(memory, trial, TrialState.PRUNED, trial.raced_out, out)
        return
    complete(memory, trial, out)


def at_look(memory: SweepMemory, trial: OpenTrial) -> bool:
    """Whether the trial stands where it is decided if it gets further replicas: before the last rung of its first ones.

    That rung exists once, with all replicas that it has by then, so it is not taken before it has lost its race or has
    got them all.
    """
    if memory.races is None or trial.failures or trial.raced_out or len(trial.rows) >= memory.plan.replicas:
        return False
    if len(trial.rows) > memory.plan.first_replicas:
        return True
    return all(_is_last(row.ahead.get(trial.rung + 1)) for row in trial.rows if not row.curve.ended)


def _is_last(report: RowReport | None) -> bool:
    return report is not None and report.state.ended


def arrive(memory: SweepMemory, trial: OpenTrial) -> None:
    """Once all replicas that it has have ended, it waits for the decision."""
    plan, curves = memory.plan, [row.whole_curve(memory.plan) for row in trial.rows]
    if memory.races is not None and all(curve.ended for curve in curves):
        memory.races.note(trial.number, [replica_loss(plan, curve, plan.budget.updates) for curve in curves])
        memory.at_look.add(trial.number)


def catch_up(memory: SweepMemory, trial: OpenTrial) -> None:
    """Late rows come up to the trial's rung; the rungs before it exist without them."""
    for row in trial.late:
        for rung in sorted(rung for rung in row.ahead if rung <= trial.rung):
            row.curve.take(row.ahead.pop(rung), memory.plan)


def take_rung(memory: SweepMemory, trial: OpenTrial) -> list[RowReport]:
    """Reports of the trial's next rung, now part of its curves; empty if some replica has none yet."""
    _begin_segment(trial)
    rung = trial.rung + 1
    going = [row for row in trial.rows if not row.curve.ended]
    # replicas in step: the reduced value must be one of the same rung for all, ended ones count with their last
    if not going or any(rung not in row.ahead for row in going):
        return []
    reports = [row.ahead.pop(rung) for row in going]
    for row, report in zip(going, reports, strict=True):
        row.curve.take(report, memory.plan)
    # rows end at different steps (solved early): the trial is as far as its furthest row
    trial.fingerprints.update(report.fingerprint for report in reports)
    trial.rung, trial.step = rung, max(trial.step, *(report.step for report in reports))
    before = full_after(memory.plan.stages)
    trial.full = rung > before and all(measured_after(memory.plan, row.curve, before) for row in trial.rows)
    trial.values = reduced(memory.plan, [row.curve for row in trial.rows], memory.plan.budget.updates)
    return reports


def _begin_segment(trial: OpenTrial) -> None:
    """Where a trial stands at the begin of a segment, or has diverged before it, its replicas go on from there."""
    begun = [one for one in taken(trial.segments) if one.rung >= trial.rung]
    if not begun or not (begun[0].rung == trial.rung or trial.diverged):
        return
    segment = begun[0]
    trial.rung, trial.step = segment.rung, max(trial.step, segment.step)
    for row in (row for row in trial.rows if row.curve.diverged):
        row.curve.revive()
        if row.reported <= segment.rung:  # else it has gone on already
            row.reported = row.stored = segment.rung
            row.step = segment.step
            if row.state is RowState.DIVERGED:
                row.move(trial.number, RowState.ACTIVE)
                row.worker = ""


def _note_mixture(trial: OpenTrial, out: list[Command]) -> None:
    """Its rungs come from more than one code or data: said at once, not only when it ends."""
    numbers = ", ".join(map(str, sorted(trial.fingerprints)))
    trial.log(f"trained under changed code or data up to update {trial.step}: fingerprints {numbers}")
    out.append(PutTrial(trial.view()))


def complete(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """All replicas have ended."""
    stopped = [row.replica for row in trial.rows if row.curve.state is RowState.STALLED]
    end(memory, trial, TrialState.COMPLETE, stalled(memory.plan, stopped), out)


def judged(memory: SweepMemory, event: Judged, out: list[Command]) -> None:
    """A verdict; refused unless it is the one that was asked for."""
    trial = memory.open.get(event.trial)
    # an attempt can end between question and answer; a verdict is never applied to another rung than its own
    if trial is None or trial.judging != event.rung:
        memory.refused += 1
        return
    trial.judging = 0
    out.append(PutVerdict(trial.number, event.rung, PRUNE if event.prune else KEEP))
    if event.prune:
        pruned(memory, trial, out)
        return
    kept(trial, out)
    # the next rung may be here already, held back for this verdict
    settle(memory, trial, out)


def pruned(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """The trial ends at its rung."""
    end(memory, trial, TrialState.PRUNED, f"pruned at update {trial.step}", out)


def kept(trial: OpenTrial, out: list[Command]) -> None:
    """The trial goes on: what was held for the next rung counts now."""
    for row in trial.rows:
        store(trial, row, out, decided=trial.decided)


def _settle_failed(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """One replica failed: the others finish, their reports are kept, then the trial is FAILED."""
    for row in trial.rows:
        store(trial, row, out)
    # LOST counts as `ended` for the attempt, but the next attempt takes the row up again
    if all(row.state.ended and row.state is not RowState.LOST for row in trial.rows):
        # the lowest replica, so that the reason does not depend on who failed first
        replica, reason = min(trial.failures.items())
        end(memory, trial, TrialState.FAILED, f"replica {replica}: {reason}", out)


def end(memory: SweepMemory, trial: OpenTrial, state: TrialState, reason: str, out: list[Command]) -> None:
    """A trial is finished, once and for all."""
    for row in trial.rows:
        _release(memory, trial, row, state, out)
    if trial.state is TrialState.PAUSED:
        memory.move(trial, TrialState.WAITING)
        out.append(PutTrial(trial.view()))
    if state is not TrialState.FAILED and trial.state is TrialState.WAITING:
        memory.move(trial, TrialState.RUNNING)  # its last rung was known before it had a place
        out.append(PutTrial(trial.view()))
    elif trial.state is TrialState.RUNNING:
        out += map(PutAttempt, trial.closed_attempts(state.value.lower()))
    memory.move(trial, state)
    trial.reason = reason
    trial.log(f"{state.value} at update {trial.step}" + (f": {reason}" if reason else ""))
    leave_group(memory, trial)
    if trial.number in memory.queue:
        memory.queue.remove(trial.number)
    _leave_population(memory, trial)
    del memory.open[trial.number]
    # after the move, so that ledger and sampler see the same final state
    view = trial.view(finished=memory.now)
    out.extend((PutTrial(view), TellSampler(view)))
    if state is TrialState.COMPLETE:
        remember_best(memory, view)
    if memory.scheduler is not None:
        memory.decisions.extend(memory.scheduler.ended(view))


def _leave_population(memory: SweepMemory, trial: OpenTrial) -> None:
    """It takes over no state any more; whoever is to have its own learns in this step what has become of it."""
    if trial.segments and trial.segments[-1].open:
        lapsed = replace(trial.segments[-1], state=LAPSED, reason="it trains no more itself")
        trial.segments = (*trial.segments[:-1], lapsed)
    memory.undecided.discard(trial.number)
    memory.at_look.discard(trial.number)
    if trial.lent:
        memory.left[trial.number] = trial


def _release(memory: SweepMemory, trial: OpenTrial, row: Row, state: TrialState, out: list[Command]) -> None:
    """Take a row off its worker; checkpoints beyond the trial's last rung go."""
    pruned = state is TrialState.PRUNED
    # such a row may have ended and left its worker, or been paused, but its newer checkpoints are still there
    ahead = pruned and (row.reported > trial.rung or not row.worker)
    earlier = trial.tokens[1:] if pruned else ()
    now = (trial.token, trial.reserved) if row.placed or ahead else ()
    for token in (*earlier, *now):
        worker = _sweeper(memory, row)
        if token and worker is not None:
            out.append(Leave(worker, Withdrawal(trial.number, row.replica, token, keep_rung=trial.rung)))
    if row.placed:
        memory.vacate(trial.number, row)
    # rows that ended on their own are PRUNED too: what they did after the trial's last rung does not count
    if state is TrialState.PRUNED and row.state not in (RowState.LOST, RowState.FAILED):
        row.move(trial.number, RowState.PRUNED)


def _sweeper(memory: SweepMemory, row: Row) -> str | None:
    """The worker that deletes a row's checkpoints: who trains it or did last, so that nothing is written afterwards."""
    known = (name for name in (row.worker, row.last, *memory.workers) if name in memory.workers)
    return next(known, None)


def remember_best(memory: SweepMemory, view: TrialView) -> None:
    """Keep the best COMPLETE trial by the rule of `summary`, and count who ties with it."""
    if view.values:
        goal, value = memory.plan.objectives[0], view.values[0]
        late = unsolved(goal, value, view.solved_at, memory.plan.budget.updates, view.unsolved or 0)
        memory.best = best_of(memory.best, rank(goal, value, view.solved_at, view.number), value, late)
