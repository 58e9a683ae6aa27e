"""What happens when rows or workers fail; see `policy` for the rules."""

from __future__ import annotations

from rnnsweep.sweep.events import Command, Exclude
from rnnsweep.sweep.exploits import no_source
from rnnsweep.sweep.placement import enqueue, leave_group, quarantine, withdraw
from rnnsweep.sweep.policy import BUG, LOST, NO_SOURCE, OUT_OF_MEMORY, halves, lost_for_good, repeated_bug, signature
from rnnsweep.sweep.ports import PutAttempt, PutTrial, WorkerLost
from rnnsweep.sweep.records import LiveWorker, OpenTrial, SweepMemory
from rnnsweep.sweep.rows import RowFailure
from rnnsweep.sweep.rungs import end, settle
from rnnsweep.sweep.states import RowState, SweepState, TrialState


def fail_rows(memory: SweepMemory, worker: LiveWorker, failures: list[RowFailure], out: list[Command]) -> None:
    """Rows that their worker could not train; the caller has checked tokens."""
    held = len(worker.rows)
    failures = [failure for failure in failures if not _goes_on_alone(memory, failure, out)]
    memory_failures = [failure for failure in failures if failure.kind == OUT_OF_MEMORY]
    if memory_failures:
        _halve(worker, alone=not any(failure.shared for failure in memory_failures))
    shared = _shared(failures)
    for failure in failures:
        trial = memory.open.get(failure.trial)
        if trial is None or not trial.rows[failure.replica].placed:
            continue  # another replica's failure has ended this attempt already
        if failure.kind == OUT_OF_MEMORY:
            reason, alone = f"{OUT_OF_MEMORY}: {failure.reason}", held <= 1 and not failure.shared
            lose_attempt(memory, trial, reason, out, charge=alone)
            if alone:
                trial.mark = trial.progress
                quarantine(memory, [[trial.number]])  # nobody's pack is to be halved for it again
        # Not charged: an illegal memory access, say, fails every row of a pack, and only the quarantine shows whose
        # it was.
        elif trial.number in shared or failure.shared:
            trial.mark = trial.progress
            lose_attempt(memory, trial, f"{failure.kind}: {failure.reason}", out, charge=False)
        else:
            _fail_row(memory, trial, failure, out)
    # in trials: a group is to fit on one worker with all its replicas
    most = max(1, worker.slots // memory.plan.replicas)
    # each trial maps to its whole list: without dict.fromkeys a list would be quarantined once per member; a set
    # would lose the order, on which group numbers depend
    for suspects in dict.fromkeys(tuple(trials) for trials in shared.values()):
        quarantine(memory, halves(suspects, most))
    memory.touch(worker.info.worker)


def _goes_on_alone(memory: SweepMemory, failure: RowFailure, out: list[Command]) -> bool:
    """Whether a trial does without the state that it was to take over."""
    trial = memory.open.get(failure.trial)
    if failure.kind != NO_SOURCE or trial is None or not trial.rows[failure.replica].placed:
        return False
    return no_source(memory, trial, failure.reason, out)


def _halve(worker: LiveWorker, *, alone: bool) -> None:
    """A worker ran out of memory; a row that did so `alone` is too large itself."""
    held = len(worker.rows)
    if held > 1:
        worker.slots = worker.most = max(1, held // 2)
    elif alone:
        worker.slots, worker.most = max(1, worker.info.slots), None


def _shared(failures: list[RowFailure]) -> dict[int, list[int]]:
    """Trials that failed together in the same way: one of them may have taken its whole pack with it.

    Returns:
        trial -> all trials of its kind, for those that were not the only one.
    """
    kinds: dict[str, list[int]] = {}
    for failure in failures:
        if failure.kind != OUT_OF_MEMORY and not failure.shared:
            trials = kinds.setdefault(signature(failure.traceback, failure.reason), [])
            if failure.trial not in trials:
                trials.append(failure.trial)
    return {number: sorted(trials) for trials in kinds.values() if len(trials) > 1 for number in trials}


def _fail_row(memory: SweepMemory, trial: OpenTrial, failure: RowFailure, out: list[Command]) -> None:
    row = trial.rows[failure.replica]
    row.move(trial.number, RowState.FAILED)
    memory.vacate(trial.number, row)
    reason = f"{failure.kind}: {failure.reason}"
    trial.failures[failure.replica] = reason
    trial.log(f"replica {failure.replica} failed: {reason}")
    if failure.kind == BUG:
        _count_bug(memory, trial, failure)
    # The other replicas train to their end: their reports are paid for, and the user sees whether the point works at
    # all.
    settle(memory, trial, out)


def _count_bug(memory: SweepMemory, trial: OpenTrial, failure: RowFailure) -> None:
    trials = memory.bugs.setdefault(signature(failure.traceback, failure.reason), [])
    if trial.number not in trials:
        trials.append(trial.number)
    # one trial may be a bad point; the same traceback on several is the code, and each further trial would only
    # repeat it
    if len(trials) >= memory.policy.bug_trials and memory.stopping is None:
        memory.stopping = (SweepState.FAILED, repeated_bug(trials, failure.reason, failure.traceback))


def lose_attempt(memory: SweepMemory, trial: OpenTrial, reason: str, out: list[Command], *, charge: bool) -> None:
    """End the attempt in progress: rows in training are LOST and wait for the next attempt, or for the end."""
    withdraw(memory, trial, out)
    trial.charged += charge
    out.append(PutAttempt(trial.attempt(outcome=reason.split(":")[0], charged=charge)))
    trial.reason = reason
    trial.log(f"attempt {trial.attempt_number} lost: {reason}" + (" (charged)" if charge else ""))
    memory.move(trial, TrialState.WAITING)
    if trial.charged > memory.plan.retries:
        end(memory, trial, TrialState.FAILED, lost_for_good(trial.charged, reason), out)
        return
    enqueue(memory, trial)
    out.append(PutTrial(trial.view()))


def worker_lost(memory: SweepMemory, event: WorkerLost, out: list[Command]) -> None:
    """A worker is gone with all its rows."""
    worker = memory.workers.pop(event.worker, None)
    memory.touch(event.worker)
    # While the sweep stops workers go by themselves; that is no loss, and `Closed` interrupts their trials without
    # charge.
    if worker is None or memory.stopping is not None:
        return
    reason = f"{LOST}: worker {event.worker} on {event.node}: {event.reason}"
    numbers = sorted({trial for trial, _ in worker.rows})
    if event.store:
        _store_away(memory, event, numbers, out)
        return
    alone = len(numbers) == 1 and not event.shared
    for number in numbers:
        trial = memory.open[number]
        # Everybody on the worker gets a strike and only progress takes it away: a killer collects them on every
        # worker, an innocent bystander trains on in between.
        trial.strikes += 1
        trial.mark = trial.progress
        # alone on the worker: it was the trial or the node, and no third can be blamed
        if alone:
            trial.died_on.append(event.node)
        lose_attempt(memory, trial, reason, out, charge=alone)
    suspects = _suspects(memory, numbers, alone=alone)
    # one of the two is blamed, not both: a node must not be lost because of a trial that kills every worker
    if suspects:
        quarantine(memory, halves(suspects, max(1, worker.slots // memory.plan.replicas)))
    else:
        blame_node(memory, event.node, out)


def _store_away(memory: SweepMemory, event: WorkerLost, numbers: list[int], out: list[Command]) -> None:
    """No row's fault: nothing is charged, nobody suspected. Where no worker gets on any more, the sweep stops."""
    for number in numbers:
        lose_attempt(memory, memory.open[number], f"store: {event.reason}", out, charge=False)
    blame_node(memory, event.node, out)
    # reset by every rung that is trained anywhere: only an unbroken chain means that the store is away for all
    memory.store_losses += 1
    if memory.store_losses >= memory.policy.store_losses:
        memory.stopping = (SweepState.FAILED, f"store: {event.reason}")


def _suspects(memory: SweepMemory, numbers: list[int], *, alone: bool) -> list[int]:
    needed = 1 if alone else memory.policy.strikes
    return [number for number in numbers if number in memory.open and memory.open[number].strikes >= needed]


def clear_suspect(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """Progress beyond the last loss clears a suspect; the nodes on which it died alone are to blame then."""
    suspected = trial.strikes or trial.group is not None
    # at least `progress` rungs: one may have been in flight when the worker died, and says nothing about the trial
    # since
    if suspected and trial.progress >= trial.mark + memory.policy.progress:
        trial.strikes = 0
        leave_group(memory, trial)
        for node in trial.died_on:
            blame_node(memory, node, out)
        trial.died_on.clear()


def blame_node(memory: SweepMemory, node: str, out: list[Command]) -> None:
    """A loss counts against its node unless a trial is suspected, or once that trial has shown its innocence."""
    memory.node_losses[node] += 1
    # the rungs that win forgiveness are counted from the last loss
    memory.node_rungs[node] = 0
    # the last node is never excluded: a sweep on bad hardware still beats one that waits for ever
    others = any(worker.info.node != node for worker in memory.workers.values())
    if memory.node_losses[node] >= memory.policy.node_losses and others and node not in memory.excluded:
        memory.excluded.add(node)
        out.append(Exclude(node))


def credit_node(memory: SweepMemory, node: str) -> None:
    """A rung trained on a node; enough of them and its losses are forgotten."""
    if node in memory.node_losses:
        memory.node_rungs[node] += 1
        if memory.node_rungs[node] >= memory.policy.node_forgiven:
            del memory.node_losses[node], memory.node_rungs[node]
