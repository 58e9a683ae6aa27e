"""A worker without work takes rows from the busiest one, where nothing else is left to hand out.

Rows are placed once, by how full workers are; how long they take depends on their trials, some of which end early. So
towards the end of a sweep one worker may have all that is left. Rows that move go on from their last checkpoint: they
repeat the rungs that their worker has in hand (two at most), and no result depends on it.
"""

from __future__ import annotations

from rnnsweep.sweep.events import Command
from rnnsweep.sweep.failures import lose_attempt
from rnnsweep.sweep.placement import join
from rnnsweep.sweep.records import LiveWorker, OpenTrial, Row, SweepMemory
from rnnsweep.sweep.states import TrialState


def steal(memory: SweepMemory, out: list[Command]) -> None:
    """Give idle workers parts of the busiest one's rows, as long as that is worth the rungs that they repeat."""
    # rows in line, points that were asked for and suspects need the idle worker more
    while not (memory.queue or memory.asking or memory.pending or memory.nothing_to_steal):
        name = memory.free_slots.idle()
        if name is None:
            return
        thief = memory.workers[name]
        # rows get ever fewer: whoever finds none once need not look again before others are placed
        memory.nothing_to_steal = not any(_steal_from(memory, one, thief, out) for one in _victims(memory))


def _victims(memory: SweepMemory) -> list[LiveWorker]:
    """Workers whose packs take less time with half of the rows, the busiest first."""
    found = [one for one in memory.workers.values() if len(one.rows) > one.info.at_once and one.group is None]
    return sorted(found, key=lambda one: (-_load(memory, one), one.order))


def _steal_from(memory: SweepMemory, victim: LiveWorker, thief: LiveWorker, out: list[Command]) -> bool:
    """Take whole trials, or some replicas where there is only one; whether it got something."""
    movable = _movable(memory, victim)
    moving = _part(memory, victim, movable, thief)
    for trial in moving:
        _move(memory, trial, [(thief, _placed(trial))], out)
    if moving or len(movable) != 1 or len(_placed(movable[0])) < 2:
        return bool(moving)
    rows = _placed(movable[0])
    part = min(len(rows) * thief.info.at_once // (thief.info.at_once + victim.info.at_once), thief.free, len(rows) - 1)
    if not part:
        return False
    _move(memory, movable[0], [(thief, rows[:part]), (victim, rows[part:])], out)
    return True


def _placed(trial: OpenTrial) -> list[Row]:
    return [row for row in trial.rows if row.placed]


def _rungs_left(memory: SweepMemory, row: Row) -> int:
    budget, rung = memory.plan.budget, memory.plan.report_every
    return -(-budget.updates // rung) - row.reported


def _load(memory: SweepMemory, worker: LiveWorker) -> int:
    """Rungs that its rows may still train, together."""
    return sum(_rungs_left(memory, memory.open[number].rows[replica]) for number, replica in worker.rows)


def _movable(memory: SweepMemory, worker: LiveWorker) -> list[OpenTrial]:
    """Trials that are this worker's alone and have enough rungs before them."""
    trials = [memory.open[number] for number in sorted({number for number, _ in worker.rows})]
    return [trial for trial in trials if _may_move(memory, trial, worker)]


def _may_move(memory: SweepMemory, trial: OpenTrial, worker: LiveWorker) -> bool:
    rows = _placed(trial)
    return (
        trial.state is TrialState.RUNNING
        # a state that it is to take over may be on this very worker
        and not (trial.reserved or trial.awaits)
        and all(row.worker == worker.info.worker for row in rows)
        and min(_rungs_left(memory, row) for row in rows) >= memory.policy.steal
    )


def _part(memory: SweepMemory, victim: LiveWorker, movable: list[OpenTrial], thief: LiveWorker) -> list[OpenTrial]:
    """Trials with at most as much before them as the thief is as fast: the longest first, each to the lesser side."""
    room, mine, its = thief.free, thief.info.at_once, victim.info.at_once
    loads = {trial.number: sum(_rungs_left(memory, row) for row in _placed(trial)) for trial in movable}
    moving, moved, kept = list[OpenTrial](), 0, _load(memory, victim) - sum(loads.values())
    for trial in sorted(movable, key=lambda one: (-loads[one.number], one.number)):
        rows = len(_placed(trial))
        if (moved + loads[trial.number]) * its <= kept * mine and rows <= room:
            moving.append(trial)
            moved, room = moved + loads[trial.number], room - rows
        else:
            kept += loads[trial.number]
    return moving


def _move(memory: SweepMemory, trial: OpenTrial, parts: list[tuple[LiveWorker, list[Row]]], out: list[Command]) -> None:
    lose_attempt(memory, trial, "moved: another worker has nothing to do", out, charge=False)
    memory.queue.remove(trial.number)
    for worker, rows in parts:
        join(memory, trial, rows, worker, out)
