"""Against a plain simulation that looks for promotions as the paper's `get_job`, anew after every result."""

from __future__ import annotations

import random

import optuna
import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.schedulers.asha import Asha
from rnnsweep.sweep.schedulers.base import AtRung, Decision, Scheduler, build_scheduler
from rnnsweep.sweep.schedulers.halving import milestones
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView
from tests.kit.plans import plan

RUNGS = 16
PLAN = plan(60, updates=10 * RUNGS, replicas=1)


def value(trial: int, rung: int) -> float:
    """A curve that falls, and that others cross."""
    draw = random.Random(f"{trial}")
    return draw.random() + draw.random() / rung + 0.05 * random.Random(f"{trial}/{rung}").random()


def at(trial: int, rung: int, values: tuple[float, ...] | None = None, last: bool = False) -> AtRung:
    return AtRung(trial, rung, 10 * rung, values or (value(trial, rung),), {}, last)


def played(scheduler: Scheduler, trials: int, seed: int, rungs: int = RUNGS) -> list[Decision]:
    """Decisions on trials that run at random speeds, until nothing can go on."""
    draw, made = random.Random(seed), list[Decision]()
    running = dict.fromkeys(range(trials), 0)
    while running:
        number = draw.choice(sorted(running))
        running[number] += 1
        last = running[number] == rungs
        new = list(scheduler.reached(at(number, running[number], last=last)))
        made += new
        for one in new:
            if one.verdict == "promote":
                running[one.trial] = one.rung
        if last or any(one.trial == number and one.verdict in ("pause", "prune") for one in new):
            del running[number]
    return made


class PaperAsha:
    """Algorithm 2 of Li et al. (2020) with one free worker after each result, as lists that are sorted anew."""

    def __init__(self, levels: list[int], eta: int) -> None:
        self.levels, self.eta = levels, eta
        self.results: list[dict[int, float]] = [{} for _ in levels]
        self.promoted: list[set[int]] = [set() for _ in levels]

    def reached(self, case: AtRung):
        if case.rung not in self.levels:
            return [] if case.last else [Decision(case.number, case.rung, "keep")]
        self.results[self.levels.index(case.rung)][case.number] = case.values[0]
        goes_on = []
        for k in reversed(range(len(self.levels))):
            best = sorted(self.results[k], key=lambda number: (self.results[k][number], number))
            for number in best[: len(best) // self.eta]:
                if number not in self.promoted[k]:
                    self.promoted[k].add(number)
                    goes_on.append((number, self.levels[k]))
        own = "keep" if (case.number, case.rung) in goes_on else "pause"
        others = [Decision(n, rung, "promote") for n, rung in goes_on if n != case.number]
        return [Decision(case.number, case.rung, own), *others]


@pytest.mark.parametrize(("eta", "least"), [(2, None), (3, 20), (4, 10)])
def test_promotions_are_those_of_the_paper(eta: int, least: int | None) -> None:
    levels = milestones(PLAN, least, eta)
    for seed in range(8):
        ours = played(Asha(eta=eta, min_updates=least).start(PLAN), 60, seed)
        assert ours == played(PaperAsha(levels, eta), 60, seed)  # type: ignore[arg-type]
        assert any(one.verdict == "promote" for one in ours)


class OptunasPruner:
    """Optuna's pruner in the words of a scheduler."""

    def __init__(self, trials: int) -> None:
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)
        study = optuna.create_study(pruner=pruner)
        self.trials = [study.ask() for _ in range(trials)]

    def reached(self, case: AtRung):
        trial = self.trials[case.number]
        trial.report(case.values[0], case.rung)
        if case.last:
            return []
        return [Decision(case.number, case.rung, "prune" if trial.should_prune() else "keep")]


def test_with_stop_it_ends_whom_optunas_pruner_ends() -> None:
    for seed in range(5):
        ours = played(Asha(eta=3, min_updates=20, stop=True).start(PLAN), 30, seed)
        assert ours == played(OptunasPruner(30), 30, seed)  # type: ignore[arg-type]
        assert {one.verdict for one in ours} == {"keep", "prune"}


def test_milestones_are_rounded_up_to_rungs_and_end_before_the_trial() -> None:
    assert milestones(plan(updates=160), None, 4) == [1, 4]
    assert milestones(plan(updates=161), None, 4) == [1, 4, 16]
    assert milestones(plan(updates=160), 25, 2) == [3, 5, 10]
    assert milestones(plan(updates=160), 1, 3) == [1, 3, 9]  # 1, 3 and 9 updates end in one rung: one milestone
    assert milestones(plan(updates=10), None, 4) == []


def test_a_rung_without_news_at_a_milestone_moves_the_competition_to_the_next_that_has_some() -> None:
    scheduler = Asha(eta=2).start(plan(updates=160))  # milestones at rungs 1, 2, 4, 8
    assert scheduler.reached(at(0, 3)) == [Decision(0, 3, "pause")]  # evaluated every third rung
    assert scheduler.reached(at(1, 3, (0.0,))) == [Decision(1, 3, "keep")]
    assert scheduler.reached(at(2, 3, (0.1,))) == [Decision(2, 3, "pause")]
    assert scheduler.reached(at(3, 3, (0.2,))) == [Decision(3, 3, "pause"), Decision(2, 3, "promote")]


def test_a_trial_that_solved_early_competes_and_one_that_diverged_stays_where_it_is() -> None:
    scheduler = Asha(eta=2).start(plan(updates=160))
    assert scheduler.reached(at(0, 1, (0.0,), last=True)) == []  # solved at once
    assert scheduler.reached(at(1, 1, (9.0,), last=True)) == []  # diverged
    # two of four may go on: the one that has solved, and the best of the others
    assert scheduler.reached(at(2, 1, (0.5,))) == [Decision(2, 1, "pause")]
    assert scheduler.reached(at(3, 1, (0.4,))) == [Decision(3, 1, "keep")]
    # at rung 2 the solved one stands before it
    assert scheduler.reached(at(3, 2, (0.4,))) == [Decision(3, 2, "pause")]


def test_when_all_is_drained_the_best_of_the_highest_level_goes_on_until_one_is_complete() -> None:
    scheduler = Asha(eta=4).start(plan(updates=160))  # milestones at rungs 1, 4
    for number, loss in enumerate([0.3, 0.2, 0.4]):
        assert scheduler.reached(at(number, 1, (loss,))) == [Decision(number, 1, "pause")]
    assert scheduler.drained() == [Decision(1, 1, "promote")]
    scheduler.ended(TrialView(1, TrialState.FAILED, {}))
    assert scheduler.drained() == [Decision(0, 1, "promote")]
    assert scheduler.reached(at(0, 4, (0.3,))) == [Decision(0, 4, "pause")]
    assert scheduler.drained() == [Decision(0, 4, "promote")]
    assert scheduler.reached(at(0, 16, (0.3,), last=True)) == []
    assert not scheduler.drained()


def test_a_trial_that_has_diverged_is_no_reason_to_end_without_a_result() -> None:
    scheduler = Asha(eta=4).start(plan(updates=160))
    scheduler.reached(at(0, 1, (9.0,), last=True))
    scheduler.reached(at(1, 1, (0.5,)))
    assert scheduler.drained() == [Decision(1, 1, "promote")]


@pytest.mark.parametrize("unit", [Asha(eta=2), Asha(eta=3, stop=True)])
def test_restored_after_any_decision_it_decides_the_rest_alike(unit: Asha) -> None:
    """The ledger's story: rungs with a verdict, in order."""
    rungs: list[AtRung] = []
    made: list[Decision] = []

    class Kept:
        def __init__(self) -> None:
            self.inner = unit.start(PLAN)

        def reached(self, case: AtRung):
            new = self.inner.reached(case)
            rungs.append(case)
            made.extend([Decision(case.number, case.rung, "keep")] if case.last else [])
            made.extend(new)
            return new

    played(Kept(), 24, 5)  # type: ignore[arg-type]
    for cut in range(0, len(rungs), 7):
        cases, later = rungs[:cut], rungs[cut:]
        keys = {(case.number, case.rung) for case in cases}
        past = [one for one in made if (one.trial, one.rung) in keys and _index(made, one) < _first(made, later)]
        again = unit.start(PLAN)
        again.restore(cases, past, [])
        fresh: list[Decision] = []
        for case in later:
            fresh += [Decision(case.number, case.rung, "keep")] if case.last else []
            fresh += again.reached(case)
        assert past + fresh == made


def _index(made: list[Decision], one: Decision) -> int:
    return next(index for index, other in enumerate(made) if other is one)


def _first(made: list[Decision], later: list[AtRung]) -> int:
    case = later[0]
    return next(index for index, one in enumerate(made) if (one.trial, one.rung) == (case.number, case.rung))


def test_several_objectives_are_ranked_by_fronts() -> None:
    several = plan(20, updates=160, objectives=(Objective("valid/error"), Objective("train/loss")))
    scheduler = Asha(eta=2).start(several)
    # (0, 1) and (1, 0) make the first front
    assert scheduler.reached(at(0, 1, (0.0, 1.0))) == [Decision(0, 1, "pause")]
    assert scheduler.reached(at(1, 1, (2.0, 2.0))) == [Decision(1, 1, "pause"), Decision(0, 1, "promote")]
    assert scheduler.reached(at(2, 1, (3.0, 3.0))) == [Decision(2, 1, "pause")]
    assert scheduler.reached(at(3, 1, (1.0, 0.0))) == [Decision(3, 1, "keep")]


def test_what_it_refuses_names_key_and_values() -> None:
    block = {"_target_": "rnnsweep.sweep.schedulers.asha.Asha", "_name_": "asha"}
    none = {"_target_": "?", "_name_": "none"}
    for bad, words in (
        ({"eta": 1}, "scheduler.eta"),
        ({"among": "crowding"}, "epsilon_net"),
        ({"grace": 1}, "scheduler.grace"),
        ({"min_updates": 0}, "scheduler.min_updates"),
        ({"stop": 3}, "scheduler.stop"),
    ):
        with pytest.raises(ConfigError, match=words):
            build_scheduler(PLAN, {**block, **bad}, none)
    with pytest.raises(ConfigError, match=r"pruner='median'.*pruner=none"):
        build_scheduler(PLAN, block, {**none, "_name_": "median"})
    assert build_scheduler(PLAN, block, none) == Asha()


def test_where_it_can_do_nothing_it_says_why() -> None:
    assert Asha().idle(plan(20, updates=160)) is None
    assert "nobody" in (Asha().idle(plan(1)) or "")
    assert "first milestone is at 50" in (Asha(min_updates=45).idle(plan(20, updates=50)) or "")
