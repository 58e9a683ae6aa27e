"""The machine's memory, piece by piece."""

from __future__ import annotations

import pytest

from rnnsweep.errors import IllegalTransition
from rnnsweep.sweep.policy import Policy
from rnnsweep.sweep.records import LiveWorker, OpenTrial, Row, token
from rnnsweep.sweep.rows import RowReport, WorkerInfo
from rnnsweep.sweep.states import RowState, TrialState
from tests.kit.plans import plan


def test_a_worker_kept_for_suspects_has_no_place_for_others() -> None:
    worker = LiveWorker(WorkerInfo("w", "n", "cpu", "", 4), 1, 4)
    assert worker.free == 4
    worker.rows.add((0, 0))
    assert worker.free == 3
    worker.slots = 0
    assert worker.free == 0
    worker.slots, worker.group = 4, 7
    assert worker.free == 0


def trial(replicas: int = 2) -> OpenTrial:
    return OpenTrial(3, {"x": 1.0}, [Row(replica) for replica in range(replicas)])


def test_the_history_keeps_its_first_line_and_the_newest() -> None:
    one = trial()
    for line in range(9):
        one.log(str(line), Policy(history=4))
    assert one.history == ["0", "6", "7", "8"]


def test_an_illegal_move_carries_the_history() -> None:
    one = trial()
    one.log("attempt 1 from update 0")
    with pytest.raises(IllegalTransition, match="trial 3: WAITING -> COMPLETE") as error:
        one.move(TrialState.COMPLETE)
    assert error.value.history == ("attempt 1 from update 0",)
    with pytest.raises(IllegalTransition, match="trial 3 replica 0: ACTIVE -> ACTIVE"):
        one.rows[0].move(3, RowState.ACTIVE)


def test_progress_is_that_of_the_slowest_row_in_training() -> None:
    one = trial(3)
    for row, rung in zip(one.rows, (5, 2, 3), strict=True):
        row.reported = rung
    one.rows[1].state = RowState.SOLVED
    assert one.progress == 3
    for row in one.rows:
        row.state = RowState.DONE
    assert one.progress > 10**9


def test_a_view_shows_values_of_results_only_and_the_share_of_diverged_replicas() -> None:
    one = trial()
    one.values = (0.5,)
    one.rows[0].worker, one.rows[1].worker = "a", "a"
    one.rows[0].curve.take(RowReport(3, 0, "t", 2, 20, {}, RowState.DIVERGED, diverged_at=17), plan())
    view = one.view()
    assert (view.values, view.diverged_at, view.diverged_share, view.worker) == ((), 17, 0.5, "a")
    one.state = TrialState.COMPLETE
    assert one.view(finished=9.0).values == (0.5,)


def test_tokens_name_try_and_driver() -> None:
    tokens = {token("s", trial, number, fence) for trial in range(3) for number in (1, 2) for fence in (1, 2)}
    assert len(tokens) == 12
    assert token("s", 0, 12, 1).startswith("0012-")
