"""What users ask of a running sweep, and what a raised budget does to finished trials."""

from __future__ import annotations

from dataclasses import replace

from rnnsweep.sweep.rebuild import Reopen
from rnnsweep.sweep.rows import WorkerInfo
from rnnsweep.sweep.states import TrialState
from tests.kit.executor import SimExecutor
from tests.kit.ledger import Killed, kill_at
from tests.kit.plans import plan
from tests.kit.trainer import SimTrainer
from tests.sweep.simulation import World


def test_enqueued_points_are_tried_next_and_count_towards_the_budget() -> None:
    world = World(plan(20))
    driver = world.driver()
    world.ledger.post("s", "enqueue", {"points": [{"x": 0.125}, {"x": 0.25}]})
    world.ledger.post("s", "enqueue", {"points": [{"y": 1}]})  # refused, with a warning
    assert driver.run().exit_code == 0
    params = [view.params["x"] for view in world.ledger.trials("s")]
    assert len(params) == 20
    assert params.count(0.125) == params.count(0.25) == 1


def test_enqueued_points_survive_the_driver() -> None:
    points = [{"x": (n + 1) / 64} for n in range(6)]
    killed: list[int] = []
    for at in (3, 6, 9):
        world = World(plan(12), slots=2, workers=1)
        driver = world.driver()
        world.ledger.post("s", "enqueue", {"points": points})
        world.ledger.before_commit = kill_at(at)
        try:
            driver.run()
        except Killed:
            killed.append(at)
        world.ledger.before_commit = None
        world.run()
        params = [view.params["x"] for view in world.ledger.trials("s")]
        assert len(params) == 12
        assert all(params.count(point["x"]) == 1 for point in points)
    assert killed == [3, 6, 9]


def test_an_extended_trial_goes_on_from_an_update_that_ends_no_whole_rung() -> None:
    """Budget 25 with rungs of 10, raised to 40: the rungs end at 10, 20, 25, 40, and no replica is skipped."""
    world = World(plan(3, updates=25))
    assert world.run().exit_code == 0
    before = [view.values[0] for view in world.ledger.trials("s")]
    world.plan = plan(3, updates=40)
    assert world.run(reopen=Reopen(extend=True)).exit_code == 0
    for view, value in zip(world.ledger.trials("s"), before, strict=True):
        assert (view.state, view.step, view.rung) == (TrialState.COMPLETE, 40, 4)
        assert view.extra == {"objective@25": value}
    steps = [report.step for key, report in sorted(world.ledger.row_reports.items()) if key[:2] == (0, 0)]
    assert steps == [10, 20, 25, 40]
    plain = World(plan(3, updates=40))
    plain.run()
    assert [v.values for v in world.ledger.trials("s")] == [v.values for v in plain.ledger.trials("s")]


def test_another_type_of_processor_is_warned_about(caplog) -> None:
    world = World(plan(3))
    world.run()
    assert world.ledger.sweep("s").config["processors"] == ["simulated"]  # type: ignore[union-attr]
    assert "last bits" not in caplog.text
    world.plan = plan(6)

    class Other(SimTrainer):
        def describe(self) -> WorkerInfo:
            return replace(super().describe(), processor="another")

    world.run(executor=SimExecutor(lambda worker: Other(worker, world.disk), 1))
    assert "a another, this sweep has trained on simulated" in caplog.text
