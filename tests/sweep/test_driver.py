from __future__ import annotations

import contextlib
import threading

import pytest

from rnnsweep.adapters.inline import InlineExecutor
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.progress import Progress
from rnnsweep.sweep.rebuild import Reopen
from rnnsweep.sweep.session import Pace
from rnnsweep.sweep.states import SweepState, TrialState
from tests.kit.clock import FakeClock
from tests.kit.executor import SimExecutor
from tests.kit.ledger import MemoryLedger, away
from tests.kit.plans import plan
from tests.kit.sampler import ScriptedSampler
from tests.kit.trainer import Faults
from tests.sweep.simulation import World, after


def test_inline_and_simulated_executors_give_the_same_table() -> None:
    rule = lambda number, step, value: number % 3 == 0 and step >= 20  # noqa: E731
    many = World(plan(7), rule=rule)
    many.run()
    alone = World(plan(7), rule=rule)
    assert alone.run(executor=InlineExecutor(lambda worker, cores: alone.trainer(worker))).exit_code == 0
    assert alone.table() == many.table()
    assert alone.curves() == many.curves()


def test_inline_survives_an_exception_of_its_trainer() -> None:
    world = World(plan(3, retries=1000), faults=Faults(crash_every=3))
    assert world.run(executor=InlineExecutor(lambda worker, cores: world.trainer(worker))).exit_code == 0
    assert len(world.trainers) > 1
    calm = World(plan(3))
    calm.run()
    assert world.table() == calm.table()


def test_stop_request_pauses_and_resume_equals_undisturbed() -> None:
    calm = World(plan(20))
    calm.run()
    world = World(plan(20))
    acting = after(9, lambda: world.ledger.post("s", "stop"))(world.trainer, 2)
    outcome = world.run(executor=acting)
    assert (outcome.state, outcome.exit_code) == (SweepState.STOPPED, 3)
    assert acting.stopped is True
    assert TrialState.RUNNING not in world.states()
    assert TrialState.WAITING in world.states()
    sweep = world.ledger.sweep("s")
    assert sweep is not None
    assert sweep.state is SweepState.STOPPED
    assert world.run().exit_code == 0
    assert world.table() == calm.table()
    assert world.rungs() == calm.rungs()
    assert all(view.charged == 0 for view in world.ledger.trials("s"))


def test_interrupt_takes_the_last_reports_in() -> None:
    world = World(plan(4))
    driver = world.driver(executor=(acting := after(4, lambda: driver.interrupt())(world.trainer, 1)))
    outcome = driver.run()
    assert (outcome.state, outcome.exit_code) == (SweepState.INTERRUPTED, 3)
    assert acting.stopped is True
    trained = {(t, r, n) for trainer in world.trainers for t, r, n in trainer.trained}
    assert trained == set(world.ledger.row_reports)  # nothing that was trained is trained again


def test_a_fenced_driver_stops_without_another_write() -> None:
    world = World(plan(6))
    acting = after(6, lambda: world.ledger.acquire("s", "another", 0.0))(world.trainer, 2)
    driver = world.driver(executor=acting)
    outcome = driver.run()
    assert outcome.exit_code == 4
    assert acting.stopped is False
    sweep = world.ledger.sweep("s")
    assert sweep is not None
    assert sweep.state is SweepState.RUNNING
    assert world.run().exit_code == 0


def test_the_lock_keeper_notices_that_the_driver_was_replaced() -> None:
    world = World(plan(None))
    fenced = threading.Event()

    class Slow(MemoryLedger):
        def renew(self, name: str, fence: int) -> None:
            if threading.current_thread().name.startswith("lock"):
                fenced.set()
                self.fence += 1
            super().renew(name, fence)

    world.ledger = Slow()
    assert world.run(pace=Pace(renew=0.01, drain=1.0)).exit_code == 4
    assert fenced.is_set()


def test_a_ledger_that_is_away_for_a_while_loses_nothing() -> None:
    calm = World(plan(5))
    calm.run()
    world = World(plan(5), ledger=MemoryLedger(away(3, 12)))
    assert world.run().exit_code == 0
    assert world.table() == calm.table()


def test_a_ledger_that_stays_away_stops_the_sweep_with_exit_1() -> None:
    world = World(plan(5), ledger=MemoryLedger(away(3, 10**9)))
    outcome = world.run(pace=Pace(renew=0.0, store=5.0, drain=1.0))
    assert (outcome.state, outcome.exit_code) == (SweepState.FAILED, 1)
    assert "locked" in outcome.reason
    world.ledger.before_commit = None
    assert world.run().exit_code == 0


def test_orders_reach_workers_only_after_their_trials_are_durable() -> None:
    world = World(plan(5))

    class Watching(SimExecutor):
        def order(self, worker: str, orders) -> None:
            for spec in orders.join:
                view = world.ledger.trial_views[spec.trial]
                assert (view.state, view.token, dict(view.params)) == (TrialState.RUNNING, spec.token, spec.params)
            for (trial, replica), rung in orders.acknowledged.items():
                assert all((trial, replica, done) in world.ledger.row_reports for done in range(1, rung + 1))
            for leave in orders.leave:
                if leave.keep_rung is not None:
                    assert (leave.trial, leave.keep_rung, "prune") in world.ledger.verdict_list
            super().order(worker, orders)

    rule = lambda number, step, value: number == 1 and step == 20  # noqa: E731
    assert world.run(executor=Watching(world.trainer, 2), sampler=ScriptedSampler(rule=rule)).exit_code == 0
    assert world.states()[1] is TrialState.PRUNED


@pytest.mark.parametrize("limit", [{"wall_s": 1.2}, {"device_s": 0.05}, {"target": 0.2}])
def test_budgets_end_the_sweep_and_can_be_raised(limit: dict[str, float]) -> None:
    world = World(plan(30, **limit))
    outcome = world.run(clock=FakeClock(tick=0.01))
    ((key, value),) = limit.items()
    assert (outcome.state, outcome.exit_code) == (SweepState.COMPLETE, 0)
    assert outcome.reason == f"budget.{key}={value:g} reached"
    assert 0 < sum(state is TrialState.COMPLETE for state in world.states()) < 30
    assert TrialState.RUNNING not in world.states()
    world.plan = plan(30)
    assert world.run().reason == "all 30 trials finished"
    assert set(world.states()) == {TrialState.COMPLETE}


def test_more_trials_on_resume_and_by_request() -> None:
    world = World(plan(3))
    world.run()
    assert world.run().exit_code == 0
    assert len(world.states()) == 3
    world.plan = plan(5)
    acting = after(3, lambda: world.ledger.post("s", "budget", {"trials": 6}))(world.trainer, 1)
    assert world.run(executor=acting).reason == "all 6 trials finished"
    assert world.states() == [TrialState.COMPLETE] * 6
    sweep = world.ledger.sweep("s")
    assert sweep is not None
    assert sweep.config["budget"] == {"trials": 6}


def test_failed_trials_try_again_only_when_asked() -> None:
    faults = Faults(bug=lambda trial, replica, rung: "broken" if (trial, rung) == (1, 3) else "")
    world = World(plan(3), faults=faults)
    assert world.run().exit_code == 1
    assert world.run().exit_code == 1
    world.faults = Faults()
    assert world.run(reopen=Reopen(trials=(1,))).exit_code == 0
    calm = World(plan(3))
    calm.run()
    assert world.table() == calm.table()
    assert world.curves() == calm.curves()
    repeated = [who for trainer in world.trainers for who in trainer.trained if who[0] == 1]
    assert len(repeated) == len(set(repeated))  # from the checkpoint, not from the start
    with pytest.raises(ConfigError, match="no such trial"):
        world.run(reopen=Reopen(trials=(9,)))
    with pytest.raises(ConfigError, match="--extend"):
        world.run(reopen=Reopen(trials=(0,)))


def test_extend_goes_on_from_the_last_checkpoint() -> None:
    faults = Faults(solves=lambda trial, replica, rung: trial == 2 and rung == 2)
    world = World(plan(3, updates=40), faults=faults)
    world.run()
    before = {view.number: view for view in world.ledger.trials("s")}
    world.plan = plan(3, updates=60)
    assert world.run(reopen=Reopen(extend=True)).exit_code == 0
    long = World(plan(3, updates=60), faults=faults)
    long.run()
    assert world.table() == long.table()
    assert world.curves().keys() == long.curves().keys()
    views = world.ledger.trials("s")
    assert views[0].extra == {"objective@40": before[0].values[0]}
    assert views[2] == before[2]  # solved: nowhere to go
    trained = [who for trainer in world.trainers for who in trainer.trained]
    assert len(trained) == len(set(trained))


@pytest.mark.parametrize("inline", [True, False])
def test_an_extension_over_several_rungs_trains_them_all(inline: bool) -> None:
    world = World(plan(2, updates=20))
    world.run()
    world.plan = plan(2, updates=60)
    executor = InlineExecutor(lambda worker, cores: world.trainer(worker)) if inline else None
    assert world.run(reopen=Reopen(extend=True), executor=executor).exit_code == 0
    long = World(plan(2, updates=60))
    long.run()
    assert world.table() == long.table()
    assert world.curves().keys() == long.curves().keys()


def test_raised_updates_apply_to_unfinished_trials() -> None:
    world = World(plan(4, updates=40))
    acting = after(7, lambda: world.ledger.post("s", "stop"))(world.trainer, 1)
    world.run(executor=acting)
    finished = {view.number for view in world.ledger.trials("s") if view.state.finished}
    world.plan = plan(4, updates=80)
    assert world.run().exit_code == 0
    assert {view.number: view.step for view in world.ledger.trials("s")} == {
        number: 40 if number in finished else 80 for number in range(4)
    }


def test_a_sampler_that_pairs_replicas_gets_their_values_also_after_a_resume() -> None:
    world, sampler = World(plan(2)), ScriptedSampler()
    sampler.wants_replicas = True
    world.run(sampler=sampler)
    assert {len(values) for points in sampler.replicas.values() for _, values in points} == {2}
    again = ScriptedSampler()
    again.wants_replicas = True
    world.run(sampler=again)
    assert again.replicas == sampler.replicas
    assert again.values == sampler.values


def test_an_exhausted_sampler_ends_the_sweep() -> None:
    sampler = ScriptedSampler(point=lambda number: {"x": 0.1 * number} if number < 3 else None)
    world = World(plan(None))
    assert world.run(sampler=sampler).reason == "the space is used up: 3 trials"
    assert world.states() == [TrialState.COMPLETE] * 3


def test_several_objectives_are_never_judged() -> None:
    objectives = (Objective("valid/error"), Objective("train/loss", goal="maximize", take="best"))
    world = World(plan(3, objectives=objectives), rule=lambda *_: True)
    assert world.run().exit_code == 0
    assert world.ledger.verdict_list == []
    assert all(len(view.values) == 2 for view in world.ledger.trials("s"))


def test_a_trial_with_more_replicas_than_any_worker_holds_is_spread() -> None:
    world = World(plan(3, replicas=5), slots=2, workers=2)
    assert world.run().exit_code == 0
    calm = World(plan(3, replicas=5))
    calm.run()
    assert world.table() == calm.table()


def test_a_crash_of_the_sampler_is_noted_and_raised() -> None:
    def point(number: int) -> dict:
        raise ZeroDivisionError("sampler")

    world = World(plan(3))
    with pytest.raises(ZeroDivisionError):
        world.run(sampler=ScriptedSampler(point=point))
    sweep = world.ledger.sweep("s")
    assert sweep is not None
    assert (sweep.state, sweep.reason) == (SweepState.FAILED, "ZeroDivisionError: sampler")


def test_progress_is_seen_a_few_times_a_second() -> None:
    seen: list[Progress] = []
    clock = FakeClock(tick=0.02)
    world = World(plan(4))
    world.run(observer=seen.append, clock=clock)
    assert seen[-1].trials[TrialState.COMPLETE] == 4
    assert seen[-1].best == (1, min(view.values[0] for view in world.ledger.trials("s")))
    assert seen[-1].updates == 4 * 2 * 40
    assert seen[-1].left_s == 0.0
    assert len(seen) <= 4 * (clock.time - 1_000_000.0) + 2


def test_an_unknown_sweep_is_refused_before_anything_starts() -> None:
    world = World(plan(2))
    driver = world.driver()
    world.ledger.sweep_views.clear()
    with pytest.raises(ConfigError, match="no such sweep"):
        driver.run()
    assert world.ledger.commits == 0


def test_the_real_signal_handlers_are_put_back() -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    world = World(plan(2))
    acting = after(4, lambda: signal.raise_signal(signal.SIGINT))(world.trainer, 1)
    assert world.run(executor=acting).state is SweepState.INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_that_python_swallowed_counts_all_the_same() -> None:
    """As within callbacks of a compiler's C code: "Exception ignored on calling ctypes callback function"."""
    import signal

    class Deaf(SimExecutor):
        seen = 0

        def poll(self, timeout: float):
            self.seen += 1
            if self.seen == 6:
                for _ in range(2):
                    with contextlib.suppress(KeyboardInterrupt):
                        signal.raise_signal(signal.SIGINT)
            return super().poll(timeout)

    world = World(plan(4))
    outcome = world.driver(executor=Deaf(world.trainer, 1)).run()
    assert (outcome.state, outcome.exit_code, outcome.at_once) == (SweepState.INTERRUPTED, 3, True)
    assert "twice" in outcome.reason
