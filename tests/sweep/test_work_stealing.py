"""An idle worker takes rows from the busiest one."""

from __future__ import annotations

from collections import Counter

import pytest

from rnnsweep.sweep import machine
from rnnsweep.sweep.events import Asked, Command, Join, Leave, TrialRequest
from rnnsweep.sweep.policy import DEFAULT
from rnnsweep.sweep.ports import PutAttempt, RungTrained, WorkerJoined
from rnnsweep.sweep.rebuild import Records, rebuild
from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.rows import RowReport, WorkerInfo
from tests.kit.plans import plan

RUNGS = 20


def busy(trials: int, replicas: int, *slots: int, at_once: int = 1) -> SweepMemory:
    """All trials that there will be, on workers that join in one step."""
    memory, _ = rebuild(plan(trials, updates=10 * RUNGS, replicas=replicas, prefetch=trials), 1, 0.0, Records())
    memory.next_number = memory.asking = trials
    for number in range(trials):
        machine.step(memory, Asked(number, {"x": float(number)}))
    join(memory, *slots, at_once=at_once)
    return memory


def join(memory: SweepMemory, *slots: int, at_once: int = 1) -> list[Command]:
    first = memory.worker_count
    infos = [
        WorkerInfo(f"w{first + index}", "n", "cpu", "", count, at_once=at_once) for index, count in enumerate(slots)
    ]
    return machine.step(memory, *map(WorkerJoined, infos))


def held(memory: SweepMemory) -> dict[str, list[int]]:
    return {name: sorted(number for number, _ in worker.rows) for name, worker in memory.workers.items()}


def train(memory: SweepMemory, number: int, rung: int) -> list[Command]:
    """All replicas of a trial have trained up to a rung."""
    trial, out = memory.open[number], list[Command]()
    for row in list(trial.rows):
        for done in range(row.reported + 1, rung + 1):
            report = RowReport(number, row.replica, trial.token, done, 10 * done, {"valid/error": 0.5})
            out += machine.step(memory, RungTrained(row.worker, (report,)))
    return out


def end(memory: SweepMemory, number: int) -> list[Command]:
    return machine.step(memory, TrialRequest("end_trial", number))


def test_workers_that_join_in_one_step_share_what_waits() -> None:
    assert held(busy(8, 1, 400, 350)) == {"w0": [0, 2, 4, 6], "w1": [1, 3, 5, 7]}


def test_a_worker_that_joins_later_takes_half_of_what_is_left() -> None:
    memory = busy(6, 2, 40)
    out = join(memory, 40)
    assert Counter(held(memory)["w0"]) == {0: 2, 2: 2, 4: 2}
    assert Counter(held(memory)["w1"]) == {1: 2, 3: 2, 5: 2}
    assert [memory.open[number].attempts for number in range(6)] == [1, 2, 1, 2, 1, 2]
    assert [memory.open[number].charged for number in range(6)] == [0] * 6
    left = {command.withdrawal.key for command in out if isinstance(command, Leave)}
    joined = {command.spec.key for command in out if isinstance(command, Join)}
    assert {key[:2] for key in left} == {key[:2] for key in joined}
    assert not left & joined  # reports of the old attempt are told from those of the new one
    puts = [command.view for command in out if isinstance(command, PutAttempt)]
    assert [put.outcome for put in puts if put.outcome] == ["moved"] * 3


def test_what_moves_is_half_of_the_rungs_left_and_not_of_the_trials() -> None:
    memory = busy(4, 1, 40)
    train(memory, 0, 12)
    train(memory, 1, 12)
    train(memory, 2, 4)
    join(memory, 40)  # left: 8, 8, 16, 20
    assert held(memory) == {"w0": [0, 3], "w1": [1, 2]}


def test_trials_that_are_nearly_through_stay() -> None:
    memory = busy(4, 1, 40)
    for number in range(4):
        train(memory, number, RUNGS - DEFAULT.steal + 1)
    join(memory, 40)
    assert held(memory) == {"w0": [0, 1, 2, 3], "w1": []}


def test_a_single_trial_is_shared_and_goes_on_where_each_replica_was() -> None:
    memory = busy(1, 5, 40)
    train(memory, 0, 3)
    out = join(memory, 40)
    assert held(memory) == {"w0": [0] * 3, "w1": [0] * 2}
    specs = [command.spec for command in out if isinstance(command, Join)]
    assert {spec.token for spec in specs} == {memory.open[0].token}
    assert len(specs) == 5
    assert all(len(spec.restore) == 1 for spec in specs)
    assert memory.queue == []


def test_a_worker_that_has_nothing_to_do_any_more_takes_what_another_one_has() -> None:
    memory = busy(6, 1, 3, 3)
    assert held(memory) == {"w0": [0, 2, 4], "w1": [1, 3, 5]}
    for number in (1, 3, 5):
        end(memory, number)
    assert held(memory) == {"w0": [0, 4], "w1": [2]}


def test_no_more_is_taken_than_there_is_room_for() -> None:
    memory = busy(6, 1, 40)
    join(memory, 1)
    assert held(memory) == {"w0": [0, 2, 3, 4, 5], "w1": [1]}


@pytest.mark.parametrize(("rows", "moves"), [(4, False), (5, True)])
def test_a_pack_that_takes_no_longer_than_half_of_it_stays_together(rows: int, moves: bool) -> None:
    memory = busy(rows, 1, 40, at_once=4)
    join(memory, 40, at_once=4)
    assert bool(held(memory)["w1"]) is moves


def test_a_faster_worker_takes_more_and_a_slower_one_less() -> None:
    memory = busy(8, 1, 40, at_once=1)
    join(memory, 40, at_once=7)
    assert [len(numbers) for numbers in held(memory).values()] == [1, 7]
    memory = busy(24, 1, 40, at_once=7)
    join(memory, 40, at_once=1)
    assert [len(numbers) for numbers in held(memory).values()] == [21, 3]
    memory = busy(1, 8, 40, at_once=7)
    join(memory, 40, at_once=1)
    assert [len(numbers) for numbers in held(memory).values()] == [7, 1]


def test_idle_workers_wait_where_points_are_still_asked_for() -> None:
    memory = busy(4, 1, 40)
    memory.asking = 1
    join(memory, 40)
    assert held(memory)["w1"] == []
    machine.step(memory, Asked(4, None))
    assert held(memory) == {"w0": [0, 2], "w1": [1, 3]}


def test_a_worker_that_is_kept_for_suspects_is_left_alone() -> None:
    memory = busy(3, 1, 40)
    memory.workers["w0"].group = 1
    join(memory, 40)
    assert held(memory) == {"w0": [0, 1, 2], "w1": []}
