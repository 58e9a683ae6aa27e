"""Which worker trains which row: continuous packing, and quarantine for trials that seem to kill their workers.

A trial's replicas go to one worker where one has room for all of them, else they are spread. Suspects run in groups
that have a worker to themselves; a group that makes progress is cleared, one that dies is split (see `failures`).
"""

from __future__ import annotations

from bisect import insort

from rnnsweep.sweep.events import Command, Join
from rnnsweep.sweep.ports import PutAttempt, PutTrial
from rnnsweep.sweep.records import Row, SweepMemory, Trial, Worker, token
from rnnsweep.sweep.rows import RowSpec
from rnnsweep.sweep.states import RowState, TrialState


def enqueue(memory: SweepMemory, trial: Trial) -> None:
    """Put a trial in line, lowest number first: retries go before new trials."""
    if trial.group is None and trial.number not in memory.queue:
        insort(memory.queue, trial.number)


def quarantine(memory: SweepMemory, parts: list[list[int]]) -> None:
    """Make each part a group that needs a worker to itself."""
    for part in parts:
        memory.group_count += 1
        memory.groups[memory.group_count] = list(part)
        memory.pending.append(memory.group_count)
        for number in part:
            memory.open[number].group = memory.group_count
            if number in memory.queue:
                memory.queue.remove(number)


def leave_group(memory: SweepMemory, trial: Trial) -> None:
    """The trial is cleared or has ended; the last one out frees the worker."""
    group, trial.group = trial.group, None
    if group is None:
        return
    members = memory.groups[group]
    members.remove(trial.number)
    if members:
        return
    del memory.groups[group]
    if group in memory.pending:
        memory.pending.remove(group)
    for name, worker in memory.workers.items():
        if worker.group == group:
            worker.group = None
            memory.touch(name)


def fill(memory: SweepMemory, out: list[Command]) -> None:
    """Give waiting rows a place, as long as there is room."""
    if memory.stopping is not None:
        return
    if memory.pending:
        _fill_groups(memory, out)
    while memory.queue and memory.roomy:
        trial = memory.open[memory.queue[0]]
        if not _place(memory, trial, out):
            return
        memory.queue.pop(0)


def _place(memory: SweepMemory, trial: Trial, out: list[Command]) -> bool:
    """Place a trial's waiting rows; False if some of them still wait."""
    waiting = [row for row in trial.rows if row.waits]
    while waiting:
        worker = _roomiest(memory)
        if worker is None:
            return False
        if worker.room < len(waiting) and _fits_somewhere(memory, len(waiting)):
            return False
        taken, waiting = waiting[: worker.room], waiting[worker.room :]
        _join(memory, trial, taken, worker, out)
    return True


def _roomiest(memory: SweepMemory) -> Worker | None:
    found = [memory.workers[name] for name in memory.roomy]
    return max(found, key=lambda worker: (worker.room, -worker.order), default=None)


def _fits_somewhere(memory: SweepMemory, rows: int) -> bool:
    """Whether waiting for one worker with room for all of them makes sense."""
    return any(worker.slots >= rows for worker in memory.workers.values())


def _fill_groups(memory: SweepMemory, out: list[Command]) -> None:
    empty = [worker for worker in memory.workers.values() if not worker.rows and worker.group is None]
    empty.sort(key=lambda worker: (-worker.slots, worker.order))
    while memory.pending and empty:
        worker, group = empty.pop(0), memory.pending.pop(0)
        worker.group, worker.draining = group, False
        memory.touch(worker.info.worker)
        _start_group(memory, group, worker, out)
    for worker in memory.workers.values():
        if worker.draining and not memory.pending:
            worker.draining = False
            memory.touch(worker.info.worker)
    if memory.pending and not any(worker.draining for worker in memory.workers.values()):
        _drain_one(memory)


def _drain_one(memory: SweepMemory) -> None:
    usable = [worker for worker in memory.workers.values() if worker.group is None]
    if usable:
        worker = min(usable, key=lambda worker: (len(worker.rows), worker.order))
        worker.draining = True
        memory.touch(worker.info.worker)


def _start_group(memory: SweepMemory, group: int, worker: Worker, out: list[Command]) -> None:
    """A group's rows join their worker; what does not fit goes on as a group of its own."""
    rest: list[int] = []
    for number in list(memory.groups[group]):
        trial = memory.open[number]
        waiting = [row for row in trial.rows if row.waits]
        if len(worker.rows) + len(waiting) <= worker.slots:
            _join(memory, trial, waiting, worker, out)
        elif not worker.rows:  # one trial that no worker can hold: it goes its normal way
            leave_group(memory, trial)
            enqueue(memory, trial)
            return
        else:
            rest.append(number)
    if rest:
        memory.groups[group] = [number for number in memory.groups[group] if number not in rest]
        quarantine(memory, [rest])


def _join(memory: SweepMemory, trial: Trial, rows: list[Row], worker: Worker, out: list[Command]) -> None:
    if trial.state is TrialState.WAITING:
        _begin_attempt(memory, trial)
    earlier = trial.tokens[1:]
    for row in rows:
        if row.state is RowState.LOST:
            row.move(trial.number, RowState.ACTIVE)
        row.worker = worker.info.worker
        worker.rows.add((trial.number, row.replica))
        updates, newest = memory.plan.budget.updates, row.heard if trial.rewind else None
        spec = RowSpec(trial.number, row.replica, trial.token, trial.params, updates, earlier, newest)
        out.append(Join(row.worker, spec))
    memory.touch(worker.info.worker)
    out.append(PutAttempt(trial.attempt()))
    out.append(PutTrial(trial.view()))


def _begin_attempt(memory: SweepMemory, trial: Trial) -> None:
    trial.attempts += 1
    trial.token = token(memory.plan.name, trial.number, trial.attempts, memory.fence)
    trial.tokens = (trial.token, *trial.tokens)
    trial.reason = ""
    trial.attempt_started = memory.now
    trial.started = memory.now if trial.started is None else trial.started
    trial.from_step = min((row.step for row in trial.rows if row.waits), default=0)
    memory.move(trial, TrialState.RUNNING)
    trial.tell(f"attempt {trial.attempts} from update {trial.from_step}")
