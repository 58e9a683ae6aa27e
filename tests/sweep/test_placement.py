"""Which worker gets which row."""

from __future__ import annotations

from rnnsweep.sweep import machine
from rnnsweep.sweep.events import Asked, Join, Leave
from rnnsweep.sweep.placement import displaced, fill, leave_group, quarantine
from rnnsweep.sweep.ports import PutTrial, RungTrained, WorkerJoined, WorkerLost, WorkerResized
from rnnsweep.sweep.rebuild import Records, rebuild
from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.rows import RowFailure, WorkerInfo
from rnnsweep.sweep.states import TrialState
from tests.kit.plans import plan


def memory_with(trials: int, replicas: int, *slots: int) -> tuple[SweepMemory, list]:
    """Trials that were asked for, then workers that join; and the joins that followed."""
    memory, _ = rebuild(plan(trials, replicas=replicas, prefetch=trials), 1, 0.0, Records())
    memory.next_number = memory.asking = trials
    for number in range(trials):
        machine.step(memory, Asked(number, {"x": float(number)}))
    out: list = []
    for index, count in enumerate(slots):
        out += machine.step(memory, WorkerJoined(WorkerInfo(f"w{index}", f"n{index}", "cpu", "", count)))
    return memory, [command for command in out if isinstance(command, Join)]


def test_a_trial_stays_together_where_some_worker_holds_all_of_it() -> None:
    memory, joins = memory_with(2, 3, 4, 4)
    assert [(join.worker, join.spec.row) for join in joins] == [
        *(("w0", (0, replica)) for replica in range(3)),
        *(("w1", (1, replica)) for replica in range(3)),
    ]
    assert memory.queue == []


def test_a_trial_that_no_worker_holds_is_spread() -> None:
    memory, joins = memory_with(1, 5, 2, 2)
    assert [join.worker for join in joins] == ["w0", "w0", "w1", "w1"]
    assert memory.queue == [0]  # one replica still waits
    assert len({join.spec.token for join in joins}) == 1


def test_the_emptiest_worker_is_filled_first_and_the_lowest_number_goes_first() -> None:
    _, joins = memory_with(6, 1, 1, 3)
    assert [(join.worker, join.spec.trial) for join in joins] == [("w0", 0), ("w1", 1), ("w1", 2), ("w1", 3)]


def test_a_suspect_gets_a_worker_to_itself_and_frees_it_when_it_is_cleared() -> None:
    memory, _ = memory_with(3, 1, 4)
    numbers = sorted({number for number, _ in memory.workers["w0"].rows})
    assert numbers == [0, 1, 2]
    out: list = []
    for number in numbers:
        machine.lose_attempt(memory, memory.open[number], "lost: test", out, charge=False)
    quarantine(memory, [[1]])
    assert displaced(memory) == []  # the worker is empty: nobody has to make way
    fill(memory, out)
    worker = memory.workers["w0"]
    assert (worker.group, sorted(worker.rows), worker.free) == (1, [(1, 0)], 0)
    assert memory.queue == [0, 2]
    leave_group(memory, memory.open[1])
    fill(memory, out)
    assert sorted(worker.rows) == [(0, 0), (1, 0), (2, 0)]
    assert len([command for command in out if isinstance(command, Leave)]) == 3


def test_the_worker_with_fewest_rows_makes_way() -> None:
    memory, _ = memory_with(5, 1, 3, 2)
    suspect = next(number for number, _ in memory.workers["w0"].rows)
    machine.lose_attempt(memory, memory.open[suspect], "lost: test", [], charge=False)
    quarantine(memory, [[suspect]])
    fewest = min(memory.workers.values(), key=lambda worker: (len(worker.rows), worker.order))
    assert displaced(memory) == sorted(number for number, _ in fewest.rows)


def test_a_group_avoids_nodes_on_which_it_died_as_long_as_there_are_others() -> None:
    memory, _ = memory_with(1, 1, 2, 2)
    machine.lose_attempt(memory, memory.open[0], "lost: test", [], charge=False)
    memory.open[0].died_on.append("n0")
    quarantine(memory, [[0]])
    out: list = []
    fill(memory, out)
    assert [command.worker for command in out if isinstance(command, Join)] == ["w1"]


def test_a_worker_with_fewer_places_sends_the_latest_trials_away_and_takes_them_back() -> None:
    memory, _ = memory_with(4, 2, 8)
    out = machine.step(memory, WorkerResized("w0", 5))
    assert {command.withdrawal.trial for command in out if isinstance(command, Leave)} == {2, 3}, "whole trials"
    assert sorted(memory.workers["w0"].rows) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert memory.queue == [2, 3], "first in line"
    assert {command.withdrawal.keep_rung for command in out if isinstance(command, Leave)} == {None}
    assert [trial.charged for trial in memory.open.values()] == [0] * 4
    out = machine.step(memory, WorkerResized("w0", 8))
    again = [command.spec for command in out if isinstance(command, Join)]
    assert [spec.trial for spec in again] == [2, 2, 3, 3]
    assert all(len(spec.restore) == 1 for spec in again), "from the checkpoints of the attempt before"


def test_a_worker_without_places_gets_nothing_and_isolates_nobody() -> None:
    memory, _ = memory_with(2, 1, 4, 4)
    machine.step(memory, WorkerResized("w0", 0))
    machine.step(memory, WorkerResized("w1", 0))
    assert sorted(memory.queue) == [0, 1]
    quarantine(memory, [[0]])
    out: list = []
    fill(memory, out)
    assert out == []
    assert memory.pending == [1], "it waits for a worker that has a place"
    machine.step(memory, WorkerResized("w1", 4))
    assert memory.workers["w1"].group == 1


def test_what_a_worker_ran_out_of_memory_with_stays_too_much() -> None:
    memory, joins = memory_with(6, 1, 6)
    failures = tuple(RowFailure(*join.spec.key, "out_of_memory", "no memory") for join in joins)
    machine.step(memory, RungTrained("w0", (), failures))
    assert memory.workers["w0"].slots == 3
    machine.step(memory, WorkerResized("w0", 100))
    assert memory.workers["w0"].slots == 3
    machine.step(memory, WorkerResized("w0", 2))
    assert memory.workers["w0"].slots == 2


def test_who_was_not_alone_is_charged_nothing_and_not_suspected_at_once() -> None:
    for shared, charged in ((False, 1), (True, 0)):
        memory, _ = memory_with(1, 1, 4, 4)
        machine.step(memory, WorkerLost("w0", "n0", "killed", shared=shared))
        assert memory.open[0].charged == charged
        assert bool(memory.open[0].died_on) is not shared
        assert (memory.open[0].group is not None) is not shared


def test_a_row_that_failed_with_rows_of_others_tries_again() -> None:
    for shared, state in ((False, TrialState.FAILED), (True, TrialState.RUNNING)):
        memory, joins = memory_with(1, 1, 4)
        failure = RowFailure(*joins[0].spec.key, "bug", "ValueError: told to", "Traceback: told to", shared=shared)
        out = machine.step(memory, RungTrained("w0", (), (failure,)))
        states = [command.view.state for command in out if isinstance(command, PutTrial)]
        assert states[-1] is state
        assert not any(trial.charged for trial in memory.open.values())
