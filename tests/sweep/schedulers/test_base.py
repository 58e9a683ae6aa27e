"""What every scheduler promises, whatever it is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import yaml

from rnnsweep.adapters.hydra.search import packaged_configs
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.schedulers.base import NO_SCHEDULER, AtRung, Decision, Scheduler, SchedulerUnit, build_scheduler
from rnnsweep.sweep.schedulers.no_scheduler import NoScheduler
from rnnsweep.sweep.verdicts import PAUSE, PROMOTE, PRUNE, VERDICTS
from tests.kit.plans import plan

FILES = sorted((packaged_configs()[0] / "scheduler").glob("*.yaml"))
NONE = {"_target_": "?", "_name_": "none"}
PLAN = plan(30, updates=160, replicas=1)


def unit(name: str) -> SchedulerUnit:
    file = next(file for file in FILES if file.stem == name)
    return build_scheduler(PLAN, {**yaml.safe_load(file.read_text()), "_name_": name}, NONE)


DECIDING = [file.stem for file in FILES if file.stem != "none"]


class Machine:
    """As much of the machine as trains thirty trials, one rung of the furthest behind after the other."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.running = dict.fromkeys(range(30), 0)
        self.undecided: dict[int, int] = {}
        self.paused: dict[int, int] = {}

    def carry_out(self, made: Sequence[Decision]) -> None:
        for one in made:
            assert one.verdict in VERDICTS
            if one.verdict == PROMOTE:
                assert self.paused.pop(one.trial) == one.rung
                self.running[one.trial] = one.rung
                continue
            assert self.undecided.pop(one.trial) == one.rung
            if one.verdict in (PAUSE, PRUNE):
                del self.running[one.trial]
            if one.verdict == PAUSE:
                self.paused[one.trial] = one.rung

    def train(self) -> None:
        able = [number for number in self.running if number not in self.undecided]
        assert able, "everybody waits for a verdict"
        number = min(able, key=lambda trial: (self.running[trial], trial * 7 % 30))
        rung = self.running[number] = self.running[number] + 1
        if rung == 16:
            del self.running[number]
        else:
            self.undecided[number] = rung
        case = AtRung(number, rung, 10 * rung, (number * 37 % 101 / 101,), {}, rung == 16)
        self.carry_out(self.scheduler.reached(case))


@pytest.mark.parametrize("name", DECIDING)
def test_each_decision_is_one_that_the_machine_can_carry_out(name: str) -> None:
    """At most one on a rung that was reached, at once or later; promotions only of whom it has paused, once."""
    scheduler = unit(name).start(PLAN)
    assert scheduler is not None
    machine = Machine(scheduler)
    while machine.running:
        machine.train()
        if not machine.running:
            machine.carry_out(scheduler.drained())
    assert not machine.undecided


@pytest.mark.parametrize("name", DECIDING)
def test_a_user_who_lets_a_trial_go_on_is_not_asked_twice(name: str) -> None:
    scheduler = unit(name).start(PLAN)
    assert scheduler is not None
    made = [one for number in range(6) for one in scheduler.reached(AtRung(number, 1, 10, (number / 10,), {}))]
    kept = {one.trial for one in made if one.verdict == PROMOTE}
    waiting = [one for one in made if one.verdict == PAUSE and one.trial not in kept]
    for one in waiting:
        scheduler.promoted(one.trial, one.rung)
    later = [one for number in range(6, 30) for one in scheduler.reached(AtRung(number, 1, 10, (0.9,), {}))]
    assert not {one.trial for one in later if one.verdict == PROMOTE} & {one.trial for one in waiting}


def test_none_decides_nothing_and_goes_with_every_pruner() -> None:
    none = build_scheduler(PLAN, NO_SCHEDULER, {"_target_": "?", "_name_": "median"})
    assert none == NoScheduler()
    assert none.start(PLAN) is None
    assert none.idle(PLAN) is None


def test_a_unit_that_looks_at_one_objective_refuses_several() -> None:
    several = plan(30, objectives=(Objective("a"), Objective("b")))
    with pytest.raises(ConfigError, match="takes one objective") as error:
        unit("pasha").check_plan(several)
    assert (error.value.key, error.value.value) == ("scheduler", "pasha")
    unit("asha").check_plan(several)
