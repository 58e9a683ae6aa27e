"""Which worker trains which row: continuous packing, and quarantine for trials that seem to kill their workers.

A trial's replicas go to one worker where one has room for all of them, else they are spread. Suspects run in groups
that have a worker to themselves; a group that makes progress is cleared, one that dies is split (see `failures`).
"""

from __future__ import annotations

from bisect import insort

from rnnsweep.sweep.events import Command, Join, Leave
from rnnsweep.sweep.ports import PutAttempt, PutTrial
from rnnsweep.sweep.records import LiveWorker, OpenTrial, Row, SweepMemory, token
from rnnsweep.sweep.rows import RowSpec, Source, Withdrawal
from rnnsweep.sweep.segments import own_attempts, taken
from rnnsweep.sweep.states import RowState, TrialState


def enqueue(memory: SweepMemory, trial: OpenTrial) -> None:
    """Put a trial in line: those tried before and enqueued points first, then the lowest number."""
    # suspects are not in line: `_fill_groups` places them, else they would share a worker again
    if trial.group is None and trial.number not in memory.queue:
        insort(memory.queue, trial.number, key=lambda number: _in_line(memory.open[number]))


def _in_line(trial: OpenTrial) -> tuple[bool, int]:
    # False sorts first: trials that have trained go on before new ones begin
    return not (trial.attempts or trial.enqueued), trial.number


def quarantine(memory: SweepMemory, parts: list[list[int]]) -> None:
    """Make each part a group that needs a worker to itself."""
    for part in parts:
        # a suspect may have ended or been isolated by an earlier failure of the same batch
        members = [number for number in part if number in memory.open and memory.open[number].group is None]
        if not members:
            continue
        memory.group_count += 1
        memory.groups[memory.group_count] = members
        memory.pending.append(memory.group_count)
        for number in members:
            memory.open[number].group = memory.group_count
            if number in memory.queue:
                memory.queue.remove(number)


def leave_group(memory: SweepMemory, trial: OpenTrial) -> None:
    """The trial is cleared or has ended; the last one out frees the worker."""
    group, trial.group = trial.group, None
    if group is None:
        return
    members = memory.groups[group]
    members.remove(trial.number)
    if members:
        return
    del memory.groups[group]
    memory.nothing_to_steal = False
    if group in memory.pending:
        memory.pending.remove(group)
    for name, worker in memory.workers.items():
        if worker.group == group:
            worker.group = None
            memory.touch(name)


def withdraw(memory: SweepMemory, trial: OpenTrial, out: list[Command], keep_rung: int | None = None) -> None:
    """Take a trial's rows in training off their workers; their checkpoints stay, for the next attempt.

    Args:
        memory: the machine's. trial: whose. out: takes the orders.
        keep_rung: none beyond it stays; None: all do.
    """
    leave_group(memory, trial)
    if trial.reserved:
        out.append(PutAttempt(trial.reservation("unused")))
    for row in trial.rows:
        if row.state is not RowState.ACTIVE:
            continue
        # a worker that is gone needs no order; one that only lost the attempt would go on training the row under an
        # old token
        if row.worker in memory.workers:
            out.append(Leave(row.worker, Withdrawal(trial.number, row.replica, trial.token, keep_rung)))
            if trial.reserved:
                out.append(Leave(row.worker, Withdrawal(trial.number, row.replica, trial.reserved)))
        if row.worker:
            memory.vacate(trial.number, row)
        row.move(trial.number, RowState.LOST)
        row.last, row.worker = row.worker or row.last, ""


def rest(memory: SweepMemory, trial: OpenTrial, outcome: str, out: list[Command]) -> None:
    """PAUSED: rows leave their workers, checkpoints stay, the trial leaves the line; no attempt is charged.

    Args:
        memory: the machine's. trial: whose; WAITING or RUNNING. out: takes the orders.
        outcome: of the attempt in progress, where there is one.
    """
    withdraw(memory, trial, out)
    if trial.number in memory.queue:
        memory.queue.remove(trial.number)
    if trial.state is TrialState.RUNNING:
        out.append(PutAttempt(trial.attempt(outcome=outcome)))
    memory.move(trial, TrialState.PAUSED)


def fill(memory: SweepMemory, out: list[Command]) -> None:
    """Give waiting rows a place, as long as there is room."""
    if memory.stopping is not None:
        return
    # before the queue, which would fill the very workers that a group is to have empty
    if memory.pending:
        _fill_groups(memory, out)
    while memory.queue and memory.free_slots.total:
        # strictly in line: a smaller trial that overtook would let a large one wait for ever
        trial = memory.open[memory.queue[0]]
        if not _place(memory, trial, out):
            return
        memory.queue.pop(0)


def _place(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> bool:
    """Place a trial's waiting rows; False if some of them still wait."""
    waiting = [row for row in trial.rows if row.waits]
    while waiting:
        name = memory.free_slots.emptiest(len(waiting))
        if name is None:
            return False
        worker = memory.workers[name]
        # Worth waiting for rows to end: replicas of one worker reach each rung together. They are spread only where
        # no worker is large enough for all.
        if worker.free < len(waiting) and _fits_somewhere(memory, len(waiting)):
            return False
        taken, waiting = waiting[: worker.free], waiting[worker.free :]
        join(memory, trial, taken, worker, out)
    return True


def _fits_somewhere(memory: SweepMemory, rows: int) -> bool:
    """Whether waiting for one worker with room for all of them makes sense."""
    return any(worker.slots >= rows for worker in memory.workers.values())


def _fill_groups(memory: SweepMemory, out: list[Command]) -> None:
    for group in list(memory.pending):
        # alone or not at all: whoever shares the worker would be suspected with it
        empty = [worker for worker in _candidates(memory, group) if not worker.rows]
        if empty:
            # the largest, so that a group need not be cut; `order` makes the choice repeatable
            worker = min(empty, key=lambda one: (-one.slots, one.order))
            memory.pending.remove(group)
            worker.group = group
            memory.touch(worker.info.worker)
            _start_group(memory, group, worker, out)


def _candidates(memory: SweepMemory, group: int) -> list[LiveWorker]:
    """Workers that a group may have, on nodes where none of it died alone as long as there are such."""
    shunned = {node for number in memory.groups[group] for node in memory.open[number].died_on}
    elsewhere = [worker for worker in memory.workers.values() if worker.info.node not in shunned]
    # where all nodes are shunned a second death on one of them is better than waiting for a node that never comes
    return [worker for worker in elsewhere or memory.workers.values() if worker.group is None and worker.slots]


def displaced(memory: SweepMemory) -> list[int]:
    """Trials that should make way for a quarantine group: those of the emptiest worker.

    None while some group has a worker already: isolating one group at a time keeps the other workers busy, and a group
    is cleared after few rungs. Making way costs a trial no more than the rung in progress.
    """
    if not memory.pending or any(worker.group is not None for worker in memory.workers.values()):
        return []
    usable = _candidates(memory, memory.pending[0])
    if not usable:
        return []
    # the fewest rows: each of them repeats its rung in progress
    worker = min(usable, key=lambda worker: (len(worker.rows), worker.order))
    # sorted: sets have no order to rely on, and a decision must be repeatable
    return sorted({trial for trial, _ in worker.rows})


def surplus(memory: SweepMemory, worker: LiveWorker) -> list[int]:
    """Trials that must leave a worker that holds more rows than it has places: the latest first."""
    over, leaving = len(worker.rows) - worker.slots, list[int]()
    for number in sorted({trial for trial, _ in worker.rows}, reverse=True):
        if over <= 0:
            break
        leaving.append(number)
        over -= sum(trial == number for trial, _ in worker.rows)
    return leaving


def _start_group(memory: SweepMemory, group: int, worker: LiveWorker, out: list[Command]) -> None:
    """A group's rows join their worker; what does not fit goes on as a group of its own."""
    rest: list[int] = []
    # a copy: `leave_group` takes members out while this runs
    for number in list(memory.groups[group]):
        trial = memory.open[number]
        waiting = [row for row in trial.rows if row.waits]
        if len(worker.rows) + len(waiting) <= worker.slots:
            join(memory, trial, waiting, worker, out)
        elif not worker.rows:  # one trial that no worker can hold: it goes its normal way
            leave_group(memory, trial)
            enqueue(memory, trial)
            return
        else:
            rest.append(number)
    if rest:
        # before `quarantine`, which only takes trials of no group
        memory.groups[group] = [number for number in memory.groups[group] if number not in rest]
        for number in rest:
            memory.open[number].group = None
        quarantine(memory, [rest])


def join(memory: SweepMemory, trial: OpenTrial, rows: list[Row], worker: LiveWorker, out: list[Command]) -> None:
    """Rows that wait begin on a worker that has room for them; so does an attempt, where none is in progress."""
    if trial.state is TrialState.WAITING:
        _begin_attempt(memory, trial, worker.info.node)
    for row in rows:
        if row.state is RowState.LOST:
            row.move(trial.number, RowState.ACTIVE)
        row.worker = worker.info.worker
        worker.rows.add((trial.number, row.replica))
        memory.nothing_to_steal = False
        out.append(Join(row.worker, row_spec(memory, trial, row)))
    memory.touch(worker.info.worker)
    # The attempt is in the ledger before the worker hears of the row: a successor finds every token that may have
    # written checkpoints.
    out.append(PutAttempt(trial.attempt()))
    out.append(PutTrial(trial.view()))


def row_spec(memory: SweepMemory, trial: OpenTrial, row: Row) -> RowSpec:
    """What a worker is to know of a row of the attempt in progress."""
    updates, newest = memory.plan.budget.updates, row.reported if trial.rewind else None
    # below this attempt's own token nothing has been written yet
    earlier = (number for number in own_attempts(trial.segments, trial.attempts) if number < trial.attempts)
    tokens = tuple(trial.tokens[trial.attempts - number] for number in earlier)
    source, begun = None, taken(trial.segments)
    if begun and begun[-1].source is not None:
        source = Source(begun[-1].source, row.replica, begun[-1].tokens, begun[-1].rung)
    return RowSpec(trial.number, row.replica, trial.token, trial.point, updates, tokens, newest, source)


def reserve_attempt(memory: SweepMemory, trial: OpenTrial) -> None:
    """Set the next attempt apart, which the trial's rows may begin before anybody here knows."""
    trial.attempts += 1
    trial.reserved = token(memory.plan.name, trial.number, trial.attempts, memory.fence)
    trial.tokens = (trial.reserved, *trial.tokens)


def new_attempt(memory: SweepMemory, trial: OpenTrial) -> None:
    """Count it, and give it a token.

    Reports that a lost worker still sends carry the old one and are refused, and its checkpoints cannot overwrite the
    new ones.
    """
    trial.attempts += 1
    trial.reserved = ""
    trial.token = token(memory.plan.name, trial.number, trial.attempts, memory.fence)
    trial.tokens = (trial.token, *trial.tokens)
    trial.attempt_started = memory.now


def _begin_attempt(memory: SweepMemory, trial: OpenTrial, node: str) -> None:
    new_attempt(memory, trial)
    trial.reason = ""
    trial.started = memory.now if trial.started is None else trial.started
    # the row that is furthest behind: replicas may have been lost at different rungs
    trial.from_step = min((row.step for row in trial.rows if row.waits), default=0)
    memory.move(trial, TrialState.RUNNING)
    trial.log(f"attempt {trial.attempts} from update {trial.from_step} on {node}")
