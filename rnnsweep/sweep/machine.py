"""The sweep's decisions: `step(memory, event) -> commands`, without clock, input or output.

`step` changes `memory` in place (copying thousands of trials per event would cost more than the decision), but it is
deterministic: the same memory and event give the same memory and commands, and nothing else is read or touched.

    WorkerJoined, WorkerLost ─┐                                            ┌─► writes (durable first)
    RungTrained ──────────────┼─► step ── rungs ── failures ── placement ──┼─► AskSampler, AskPruner, ... (sampler)
    Asked, Judged ────────────┤                                            └─► Join, Leave, Progressed, Exclude
    Tick, StopAsked, ... ─────┘

An illegal move of a trial or row raises `IllegalTransition` with the trial's history: a bug of ours, never a user's.
"""

from __future__ import annotations

from dataclasses import replace

from rnnsweep.sweep import budget, races, repeats
from rnnsweep.sweep.decisions import carry_out, drained
from rnnsweep.sweep.edits import edited
from rnnsweep.sweep.events import (
    Asked,
    AskSampler,
    BudgetChanged,
    Closed,
    Command,
    Enqueued,
    Event,
    Judged,
    Leave,
    Progressed,
    SpaceEdited,
    StopAsked,
    Tick,
    TrialRequest,
    Wish,
)
from rnnsweep.sweep.exploits import AHEAD, advance, give_way, return_to_line
from rnnsweep.sweep.failures import clear_suspect, credit_node, fail_rows, lose_attempt, worker_lost
from rnnsweep.sweep.placement import displaced, fill, surplus
from rnnsweep.sweep.ports import PutAttempt, PutTrial, RungTrained, WorkerJoined, WorkerLost, WorkerResized
from rnnsweep.sweep.records import LiveWorker, OpenTrial, Row, SweepMemory
from rnnsweep.sweep.rows import RowFailure, RowReport, Withdrawal
from rnnsweep.sweep.rungs import accept_report, judged, settle
from rnnsweep.sweep.states import RowState, SweepState, TrialState
from rnnsweep.sweep.trial_requests import held, obey, only_paused
from rnnsweep.sweep.work_stealing import steal
from rnnsweep.wording import counted


def step(memory: SweepMemory, *events: Event) -> list[Command]:
    """Take an event into `memory` and return what is to be done, in order.

    Workers that join together come in one step, else the first would get all that waits.
    """
    out: list[Command] = []
    # reports may still trickle in from workers that are being stopped; the end is written already
    if memory.closed:
        return out
    for event in events:
        _take(memory, event, out)
    carry_out(memory, out)
    while advance(memory, out):
        carry_out(memory, out)
    return_to_line(memory, out)
    races.decide(memory, out)
    repeats.settle(memory, out)
    # Limits before new work: an event that reaches one must not also hand out trials.
    _check_budget(memory)
    _check_done(memory, events, out)
    if memory.stopping is None:
        fill(memory, out)
        while (memory.queue and give_way(memory, out)) or give_way(memory, out, AHEAD):
            fill(memory, out)
        _make_way(memory, out)
        _ask(memory, out)
        steal(memory, out)
    return out


def _make_way(memory: SweepMemory, out: list[Command]) -> None:
    """Empty a worker for a quarantine group that has none, and give the displaced trials another place."""
    numbers = displaced(memory)
    for number in numbers:
        reason = "displaced: a worker is needed to isolate a suspect"
        lose_attempt(memory, memory.open[number], reason, out, charge=False)
    if numbers:
        fill(memory, out)


def ended(memory: SweepMemory) -> bool:
    """No more work is to be ordered: workers may be stopped and `Closed` sent."""
    return memory.stopping is not None


def _take(memory: SweepMemory, event: Event, out: list[Command]) -> None:
    match event:
        case Tick():
            memory.now, memory.spent.wall_s = event.now, event.wall_s
        case RungTrained():
            _rung_trained(memory, event, out)
        case Asked():
            _asked(memory, event, out)
        case Judged():
            judged(memory, event, out)
        case WorkerLost():
            worker_lost(memory, event, out)
        case _:
            _take_rare(memory, event, out)


def _take_rare(
    memory: SweepMemory,
    event: WorkerJoined | WorkerResized | Wish | Closed,
    out: list[Command],
) -> None:
    match event:
        case WorkerJoined():
            _worker_joined(memory, event)
        case WorkerResized():
            _worker_resized(memory, event, out)
        case Closed():
            _close(memory, out)
        case _:
            _heed(memory, event, out)


def _heed(memory: SweepMemory, event: Wish, out: list[Command]) -> None:
    """What users ask for."""
    match event:
        case BudgetChanged():
            changed = budget.change(memory.plan.budget, event.limits)
            memory.plan = replace(memory.plan, budget=changed)
        case Enqueued():
            memory.known += event.points
            memory.exhausted = nothing_new(memory)  # the sampler has these, whatever it said before
        case SpaceEdited():
            _edit(memory, event)
        case TrialRequest():
            obey(memory, event, out)
        # The first reason wins: a Ctrl-C during the stop for a bug must not turn FAILED into INTERRUPTED.
        case StopAsked():
            if memory.stopping is None:
                memory.stopping = (event.state, event.reason)


def _edit(memory: SweepMemory, event: SpaceEdited) -> None:
    """Trials that are asked for from now on lie in another space; those that were are left as they are."""
    memory.plan = edited(memory.plan, event.edit, event.first)
    memory.known = max(0, memory.known - event.unfit)
    if event.edit.searches:
        memory.tried.search(memory.plan)
        memory.exhausted = nothing_new(memory)  # else the sampler may have points again


def _worker_joined(memory: SweepMemory, event: WorkerJoined) -> None:
    info = event.info
    # a repeated greeting must not reset the slots that running out of memory has halved
    if info.worker not in memory.workers:
        memory.worker_count += 1
        memory.workers[info.worker] = LiveWorker(info, memory.worker_count, max(1, info.slots))
        memory.touch(info.worker)
        memory.nothing_to_steal = False


def _worker_resized(memory: SweepMemory, event: WorkerResized, out: list[Command]) -> None:
    """Rows that it has no place for any more go on from their checkpoints, as soon as there is one."""
    worker = memory.workers.get(event.worker)
    if worker is None:
        return
    worker.info = replace(worker.info, slots=event.slots)
    # what it has run out of memory with stays too much
    worker.slots = event.slots if worker.most is None else min(event.slots, worker.most)
    memory.touch(event.worker)
    memory.nothing_to_steal = False
    if memory.stopping is None:
        for number in surplus(memory, worker):
            reason = "displaced: the worker has fewer places for this sweep"
            lose_attempt(memory, memory.open[number], reason, out, charge=False)


def _rung_trained(memory: SweepMemory, event: RungTrained, out: list[Command]) -> None:
    worker = memory.workers.get(event.worker)
    # Lost and then heard after all (a node that was only unreachable): its rows have new attempts, so these reports
    # are fenced off.
    if worker is None:
        memory.refused += len(event.reports)
        return
    credit_node(memory, worker.info.node)
    # A worker checkpoints before it reports: the store is there.
    memory.store_losses = 0
    # a dict as an ordered set: trials settle in the order of their reports, so that a replay decides the same
    touched: dict[int, None] = {}
    for report in event.reports:
        # also for reports that are refused below: the device has worked for them
        memory.spent.device_s += report.device_s
        if _take_report(memory, worker, report, out):
            touched[report.trial] = None
    # checked before `settle`, which can end trials, and handled after it, so that reports that came along still count
    failures = [failure for failure in event.failures if _current(memory, worker, failure) is not None]
    for number in touched:
        trial = memory.open.get(number)
        if trial is not None:
            settle(memory, trial, out)
    if failures:
        fail_rows(memory, worker, failures, out)


def _current(memory: SweepMemory, worker: LiveWorker, who: RowReport | RowFailure) -> OpenTrial | None:
    """The trial that this message belongs to; None if it comes from a fenced attempt or another worker."""
    trial = memory.open.get(who.trial)
    if trial is None or trial.token != who.token or trial.state is not TrialState.RUNNING:
        return None
    # The token alone does not do: replicas of one attempt share it and may sit on different workers.
    return trial if trial.rows[who.replica].worker == worker.info.worker else None


def _take_report(memory: SweepMemory, worker: LiveWorker, report: RowReport, out: list[Command]) -> bool:
    trial = _current(memory, worker, report)
    if trial is None:
        memory.refused += 1
        return False
    row = trial.rows[report.replica]
    if not row.placed:
        memory.refused += 1
        if report.rung > row.reported:  # it ended, and its worker does not know
            gone = Withdrawal(trial.number, row.replica, trial.token, keep_rung=row.reported)
            out.append(Leave(worker.info.worker, gone))
        return False
    # A repetition: the worker restored from a checkpoint with reports whose acknowledgement it never got. Say it
    # again, or it would carry and send them for ever.
    if report.rung <= row.reported:
        out.append(Progressed(row.worker, report.row, acknowledged=row.stored))
        return False
    # A gap: the checkpoint is ahead of the reports that the ledger has. Only training the missing rungs again closes
    # it, hence `rewind`: the next attempt restores nothing newer than what is known here.
    if report.rung > row.reported + 1:
        trial.rewind = True
        reason = f"lost: replica {row.replica} reported rung {report.rung} after {row.reported}"
        lose_attempt(memory, trial, reason, out, charge=True)
        return False
    accept_report(memory, trial, report, out)
    clear_suspect(memory, trial, out)
    return True


def _asked(memory: SweepMemory, event: Asked, out: list[Command]) -> None:
    memory.asking -= 1
    if event.params is None:
        memory.exhausted = True
        if not memory.asking:  # numbers that were asked for in vain are asked for again, should points be enqueued
            memory.next_number = memory.last_number + 1
        return
    memory.last_number = max(memory.last_number, event.number)
    trial = OpenTrial(event.number, dict(event.params), new_rows(memory.plan.first_replicas))
    trial.space = memory.plan.version.number or None
    trial.enqueued, trial.informed_by = event.origin.enqueued, event.origin.informed_by
    # the first len(plan.enqueue) trials take the config's own points, which `known` never counted
    if trial.enqueued and trial.number >= len(memory.plan.enqueue):
        memory.known = max(0, memory.known - 1)
    memory.tried.count(repeats.key_of(memory, trial.params))
    add_trial(memory, trial, out)
    if nothing_new(memory):
        memory.exhausted = True


def nothing_new(memory: SweepMemory) -> bool:
    """The space is used up, nobody wants its points twice, and no user has given others."""
    return not memory.plan.repeat and memory.tried.used_up and not memory.known


def new_rows(replicas: int) -> list[Row]:
    """Rows of a trial that has never run."""
    return [Row(replica) for replica in range(replicas)]


def add_trial(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """A new trial waits for a place; it is in the ledger before that."""
    memory.open[trial.number] = trial
    memory.counts[TrialState.WAITING] += 1
    out.append(PutTrial(trial.view()))
    repeats.place(memory, trial, out)


def _ask(memory: SweepMemory, out: list[Command]) -> None:
    """Ask for as many trials as fit, and `prefetch` more, so that no worker waits for the sampler.

    Not for so many that a model would be asked long before it has results (`most_open`). Points that a user gave need
    none: they are asked for at once.
    """
    if memory.exhausted:
        return
    wanted = (
        # rounded up: the last free rows are worth a trial too, its replicas may be spread; trials in line and asks
        # under way take places as well
        -(-memory.free_slots.total // memory.plan.first_replicas)
        + memory.plan.prefetch
        - len(memory.queue)
        - memory.asking
    )
    if memory.plan.most_open is not None:
        # a sequential model that is asked for many points before it sees results proposes from its start-up design
        # only
        going = len(memory.open) - memory.counts[TrialState.PAUSED]
        wanted = min(wanted, memory.plan.most_open - going - memory.asking)
    # after `most_open`, which is for points that depend on results, but below the budget, which holds for all
    wanted = max(wanted, memory.known - memory.asking)
    if not memory.plan.repeat and memory.tried.used_up:  # points that users gave are all that is left
        wanted = memory.known - memory.asking
    limit = memory.plan.budget.trials
    if limit is not None:
        wanted = min(wanted, limit - memory.next_number)
    for _ in range(wanted):
        out.append(AskSampler(memory.next_number))
        memory.next_number += 1
        memory.asking += 1


def _check_budget(memory: SweepMemory) -> None:
    if memory.stopping is not None:
        return
    plan = memory.plan
    best = memory.best.value if memory.best is not None else None
    # `budget.target` is about the first objective, as is everything else that ranks trials.
    reason = budget.reached(plan.budget, plan.objectives[0], memory.spent, best)
    if reason is not None:
        # out of time before any trial was through: STOPPED, so that the status does not promise a result
        some = memory.counts[TrialState.COMPLETE] > 0
        memory.stopping = (SweepState.COMPLETE if some else SweepState.STOPPED, reason)


def _check_done(memory: SweepMemory, events: tuple[Event, ...], out: list[Command]) -> None:
    """All trials that there will be have ended: COMPLETE, unless not one of them has a result.

    Paused ones that nobody else is left to wait for: STOPPED, so that a user may let them go on; where the scheduler
    has paused them, PRUNED.
    """
    paused = memory.counts[TrialState.PAUSED]
    paused += repeats.resting(memory) if paused else 0
    if memory.stopping is not None or len(memory.open) > paused or memory.asking:
        return
    reason = _all_asked(memory)
    if reason is None:
        return
    if any(held(trial) for trial in memory.open.values()):
        # with time only: of several requests that come together a later one may let a trial go on
        if any(isinstance(event, Tick) for event in events):
            memory.stopping = (SweepState.STOPPED, only_paused(memory))
        return
    if not drained(memory, out):
        return
    complete, failed = memory.counts[TrialState.COMPLETE], memory.counts[TrialState.FAILED]
    if memory.counts.total() and not complete:
        pruned = memory.counts[TrialState.PRUNED]
        memory.stopping = (SweepState.FAILED, f"no trial is complete: {failed} failed, {pruned} pruned")
        return
    memory.stopping = (SweepState.COMPLETE, reason)


def _all_asked(memory: SweepMemory) -> str | None:
    """Why no further trial will be asked for; None while there may be one."""
    limit, asked = memory.plan.budget.trials, memory.counts.total()
    # `next_number`, not the count of trials: numbers are given out at the ask
    if limit is not None and memory.next_number >= limit:
        reason = f"{'all ' if limit > 1 else ''}{counted(limit, 'trial')} finished"
        if memory.known:
            reason += f"; enqueued points wait for a larger budget.trials: {memory.known}"
    elif memory.exhausted:
        reason = _used_up(memory, asked)
    else:
        return None
    return reason


def _used_up(memory: SweepMemory, asked: int) -> str:
    """Why no more trials are asked for."""
    limit, tried = memory.plan.budget.trials, memory.tried
    done = counted(asked, "trial") + (f" of {limit}" if limit is not None else "")
    if nothing_new(memory) and tried.cells is not None and tried.left:
        known = f"the last {tried.in_a_row} points were known, {tried.cells - len(tried.left)} of {tried.cells} tried"
        return f"the space is used up: {known}; {done}"
    return f"the space is used up: {done}"


def _close(memory: SweepMemory, out: list[Command]) -> None:
    """Trials in progress wait for `resume`; interrupted attempts are not charged."""
    _, reason = memory.stopping or (SweepState.INTERRUPTED, "interrupted")
    # the trials stay in `open`: they are unfinished in the ledger, and a successor takes them up
    for trial in list(memory.open.values()):
        if trial.state is TrialState.RUNNING:
            interrupt_attempt(memory, trial, reason, out)
    memory.closed = True


def interrupt_attempt(memory: SweepMemory, trial: OpenTrial, reason: str, out: list[Command]) -> None:
    """End an attempt through no fault of the trial."""
    for row in trial.rows:
        if row.state is RowState.ACTIVE:
            row.move(trial.number, RowState.LOST)
            row.worker = ""
    out.append(PutAttempt(trial.attempt(outcome="interrupted")))
    # a bug's reason has its traceback below the first line; once in the sweep's record is enough
    trial.reason = reason.splitlines()[0]
    trial.log(f"attempt {trial.attempt_number} interrupted at update {trial.step}: {trial.reason}")
    memory.move(trial, TrialState.WAITING)
    out.append(PutTrial(trial.view()))
