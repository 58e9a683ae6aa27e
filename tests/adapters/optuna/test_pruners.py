"""Every pruner of conf/pruner: pure verdicts, and agreement with Optuna's own ask/tell study."""

import random

import optuna
import pytest
import yaml

from rnnsweep.adapters.hydra.search import packaged_configs
from rnnsweep.adapters.optuna.sampler import build_sampler
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Budget, Objective, Racing, SweepPlan
from rnnsweep.sweep.ports import TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState

CONF, _ = packaged_configs()
PRUNERS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONF / "pruner").glob("*.yaml"))}
PRUNERS["threshold"]["upper"] = 0.9
RANDOM = yaml.safe_load((CONF / "sampler" / "random.yaml").read_text())
RUNGS = 27


def plan_for(**changes):
    space = Space((Dimension("x", "float", 0.0, 1.0),))
    objectives = changes.pop("objectives", (Objective("valid/error"),))
    return SweepPlan("s", 1, changes.pop("replicas", 6), 10, objectives, Budget(50, RUNGS * 10), space, **changes)


def sampler_for(name, **changes):
    spec = {**PRUNERS[name], **changes.pop("keys", {})}
    return build_sampler(plan_for(**changes), RANDOM, spec)


def value(number, rung, replica=None):
    draw = random.Random(f"{number}.{rung}.{replica}").random()
    return (number * 7 % 10) / 10 * 0.8 + 0.2 * draw / (1 + rung)


def run(sampler, count):
    """Trials one after the other; returns the rung at which each ended, and what a ledger would hold."""
    ends, views, rungs, replicas = [], [], {}, {}
    for number in range(count):
        params = sampler.ask(number)
        rungs[number], replicas[number] = [], []
        state = TrialState.COMPLETE
        for rung in range(1, RUNGS + 1):
            step = rung * 10
            rungs[number].append((step, value(number, rung)))
            replicas[number].append((step, tuple(value(number, rung, r) for r in range(6))))
            sampler.report(number, *rungs[number][-1])
            sampler.report_replicas(number, *replicas[number][-1])
            if sampler.prune(number, step):
                state = TrialState.PRUNED
                break
        ends.append(rung)
        views.append(TrialView(number, state, params, (rungs[number][-1][1],)))
        sampler.tell(views[-1])
    return ends, views, rungs, replicas


@pytest.mark.parametrize("name", PRUNERS)
class TestEveryPruner:
    def test_a_restored_history_gives_the_same_verdicts(self, name):
        fed = sampler_for(name)
        _, views, rungs, replicas = run(fed, 15)
        open_trial = TrialView(15, TrialState.RUNNING, {"x": 0.5})
        rebuilt = sampler_for(name)
        rebuilt.restore([*views, open_trial], rungs, replicas)
        fed.restore([*views, open_trial], rungs, replicas)
        for rung in range(1, RUNGS + 1):
            for sampler in (fed, rebuilt):
                sampler.report(15, rung * 10, 0.5)
                sampler.report_replicas(15, rung * 10, (0.5,) * 6)
            assert fed.prune(15, rung * 10) == rebuilt.prune(15, rung * 10)

    def test_a_verdict_can_be_asked_again(self, name):
        sampler = sampler_for(name)
        run(sampler, 12)
        sampler.ask(12)
        verdicts = []
        for rung in range(1, RUNGS + 1):
            sampler.report(12, rung * 10, 0.95)
            sampler.report_replicas(12, rung * 10, (0.95,) * 6)
            verdicts.append(sampler.prune(12, rung * 10))
        assert verdicts == [sampler.prune(12, rung * 10) for rung in range(1, RUNGS + 1)]
        assert any(verdicts) == (name != "none")


def expected_ends(pruner, count):
    """What Optuna's own study does with the same reports (steps are rungs)."""
    study, ends = optuna.create_study(pruner=pruner), []
    for number in range(count):
        trial, state = study.ask(), optuna.trial.TrialState.COMPLETE
        for rung in range(1, RUNGS + 1):
            trial.report(value(number, rung), rung)
            if trial.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
        ends.append(rung)
        study.tell(trial, None if state.name == "PRUNED" else value(number, rung), state=state)
    return ends


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("median", optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3)),
        ("percentile", optuna.pruners.PercentilePruner(25.0, n_startup_trials=5, n_warmup_steps=3)),
        ("successive_halving", optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4)),
        ("threshold", optuna.pruners.ThresholdPruner(upper=0.9, n_warmup_steps=3)),
    ],
)
def test_verdicts_are_those_of_optuna(name, peer):
    ends = run(sampler_for(name), 25)[0]
    assert ends == expected_ends(peer, 25)
    assert name == "threshold" or len(set(ends)) > 1


def test_halving_counts_the_first_report_after_a_competition():
    """Evaluations every third rung never meet rungs 1, 4, 16, yet the competitions are held."""
    sampler = sampler_for("successive_halving")
    for number, score in enumerate((0.1, 0.9)):
        sampler.ask(number)
        sampler.report(number, 30, score)
    assert not sampler.prune(0, 30)
    assert sampler.prune(1, 30)


def test_hyperband_keeps_brackets_apart():
    """27 rungs, factor 3: brackets of 27, 12, 6 and 4 in each deal of 49; only the first competes at rung 1.

    It has trials 0..26 and 49..59, 38 of 60; the best 38 // 3 = 12 of them go on.
    """
    sampler = sampler_for("hyperband")
    for number in range(60):
        sampler.ask(number)
        sampler.report(number, 10, 0.1 + number / 100)
    ended = [number for number in range(60) if sampler.prune(number, 10)]
    assert ended == [*range(12, 27), *range(49, 60)]


def test_wilcoxon_pairs_replicas_at_the_same_rung():
    """The best trial's replicas at rung 3 are worse than at its end; only the former may be compared."""
    sampler = sampler_for("wilcoxon")
    sampler.ask(0)
    for step, level in ((10, 0.9), (30, 0.8), (270, 0.1)):
        sampler.report(0, step, level)
        sampler.report_replicas(0, step, [level + 0.01 * r for r in range(6)])
    sampler.tell(TrialView(0, TrialState.COMPLETE, {"x": 0.1}, (0.1,)))
    for number, level in ((1, 0.7), (2, 0.95)):
        sampler.ask(number)
        sampler.report(number, 30, level)
        sampler.report_replicas(number, 30, [level + 0.012 * r for r in range(6)])
    assert not sampler.prune(1, 30)
    assert sampler.prune(2, 30)


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("threshold", {"keys": {"upper": None}}, "pruner.upper"),
        ("median", {"keys": {"warmup": -1}}, "pruner.warmup"),
        ("percentile", {"keys": {"percentile": 101}}, "pruner.percentile"),
        ("median", {"keys": {"warmpu": 1}}, "pruner.warmpu"),
        ("wilcoxon", {"replicas": 3}, "replicas"),
        ("wilcoxon", {"replicas": 9, "racing": Racing(0.1, 1)}, "racing.block"),
        ("median", {"objectives": (Objective("a"), Objective("b"))}, "pruner"),
        ("none", {"keys": {"_target_": "os.system"}}, "pruner._target_"),
    ],
)
def test_wrong_input_names_the_key(name, changes, key):
    with pytest.raises(ConfigError) as caught:
        sampler_for(name, **changes)
    assert caught.value.key == key
