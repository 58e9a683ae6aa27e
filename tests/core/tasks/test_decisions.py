"""Decision tasks trial by trial, from their inputs alone; and an ideal observer.

`ALARM` is the probability of a false alarm of one statistical check.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rnnsweep.core import rng
from rnnsweep.core.rng import stream_of
from rnnsweep.core.tasks.context_integration import ContextIntegration
from rnnsweep.core.tasks.delayed_match import DelayedMatch
from rnnsweep.core.tasks.noise import gaussian
from rnnsweep.core.tasks.perceptual_decision import PerceptualDecision
from rnnsweep.errors import ConfigError

ALARM = 1e-6
TASKS = [DelayedMatch, PerceptualDecision, ContextIntegration]


def draws(P=2, B=3, seed=0, **options):
    keys = torch.tensor([rng.key(seed, p, "test") for p in range(P)])
    return rng.Draws(keys, torch.arange(P * B).reshape(P, B), seed + torch.arange(P), dtype=torch.float64, **options)


def trials(task, batch):
    """Each trial's own steps as numpy arrays: inputs, targets, mask."""
    for p in range(len(batch.inputs)):
        start = task.max_length - int(batch.lengths[p])
        for b in range(batch.inputs.shape[2]):
            arrays = (batch.inputs[p, start:, b], batch.targets[p, start:, b], batch.mask[p, start:])
            yield [array.numpy() for array in arrays]


def bumps(count, direction):
    """Tuning of the ring's inputs to one direction, by numpy."""
    theta = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.cos(theta - theta[direction])


def test_delayed_match_by_comparing_what_was_shown():
    task = DelayedMatch(length=[2, 9], sigma=0, directions=4, fixation=2, sample=3, test=2, decision=3)
    matches = []
    for inputs, targets, mask in trials(task, task.batch(draws(4, 25))):
        delay = len(inputs) - 10
        periods = np.repeat(["fixation", "sample", "delay", "test", "decision"], [2, 3, delay, 2, 3])
        assert np.array_equal(inputs[:, 0], periods != "decision")
        shown = {name: inputs[periods == name, 1:] for name in set(periods)}
        assert not shown["fixation"].any()
        assert not shown["delay"].any()
        assert not shown["decision"].any()
        first, second = (int(shown[name][0].argmax()) for name in ("sample", "test"))
        np.testing.assert_allclose(shown["sample"], np.tile(0.5 + 0.5 * bumps(4, first), (3, 1)), atol=1e-7)
        np.testing.assert_allclose(shown["test"], np.tile(0.5 + 0.5 * bumps(4, second), (2, 1)), atol=1e-7)
        assert second in (first, (first + 2) % 4)
        matches.append(first == second)
        assert np.array_equal(targets, np.where(periods == "decision", 1 if first == second else 2, 0))
        assert mask.all()
    assert stats.binomtest(sum(matches), 100, 0.5).pvalue > ALARM


def test_evidence_without_noise_points_to_the_choice():
    task = PerceptualDecision(
        length=[4, 9], sigma=0, directions=5, coherences=[20, 80], fixation=2, delay=3, decision=2
    )
    seen = set()
    for inputs, targets, _ in trials(task, task.batch(draws(4, 25))):
        stimulus = len(inputs) - 7
        periods = np.repeat(["fixation", "stimulus", "delay", "decision"], [2, stimulus, 3, 2])
        on = inputs[periods == "stimulus", 1:]
        assert not inputs[periods != "stimulus", 1:].any()
        choice = int(on[0].argmax())
        coherence = round(float(on[0, choice] - 0.5) * 200)
        seen.add((choice, coherence))
        np.testing.assert_allclose(on, np.tile(0.5 + coherence / 200 * bumps(5, choice), (stimulus, 1)), atol=1e-7)
        assert np.array_equal(targets, np.where(periods == "decision", 1 + choice, 0))
    assert seen == {(choice, coherence) for choice in range(5) for coherence in (20, 80)}


def test_the_context_says_which_stream_counts():
    task = ContextIntegration(sigma=0, coherences=[10, 50])
    kinds = {}
    for inputs, targets, _ in trials(task, task.batch(draws(4, 50))):
        periods = np.repeat(["fixation", "stimulus", "delay", "decision"], [3, 7, 6, 1])
        assert np.array_equal(inputs[:, 0], periods != "decision")
        context = inputs[:, 5:]
        assert (context == context[0]).all()
        assert sorted(context[0]) == [0, 1]
        assert not inputs[periods != "stimulus", 1:5].any()
        streams = inputs[3, 1:3], inputs[3, 3:5]
        choices = [int(stream.argmax()) for stream in streams]
        assert np.array_equal(targets, np.where(periods == "decision", 1 + choices[int(context[0, 1])], 0))
        kind = (*choices, int(context[0, 1]))
        kinds[kind] = kinds.get(kind, 0) + 1
    assert len(kinds) == 8
    assert stats.chisquare(list(kinds.values())).pvalue > ALARM


def test_an_ideal_observer_errs_as_often_as_the_formula_says():
    """The sum of the difference of both inputs is N(c n / 100, 2 n sigma^2), the sufficient statistic."""
    task, n = PerceptualDecision(length=10, sigma=0.2, coherences=[0, 6.4, 25.6]), 10
    batch = task.batch(draws(10, 2000))
    evidence = (batch.inputs[..., 1] - batch.inputs[..., 2]).sum(1)
    answers = torch.where(evidence > 0, 1, 2)
    wrong = int((answers != batch.targets[:, -1]).sum())
    expected = np.mean([stats.norm.cdf(-c * math.sqrt(n) / (100 * math.sqrt(2) * 0.2)) for c in (0, 6.4, 25.6)])
    assert stats.binomtest(wrong, 20_000, float(expected)).pvalue > ALARM
    by_default = np.mean([stats.norm.cdf(-c * math.sqrt(20) / (10 * math.sqrt(2))) for c in (0, 6.4, 12.8, 25.6, 51.2)])
    assert by_default == pytest.approx(0.104, abs=5e-4)


def test_noise_is_normal_and_the_same_by_any_generator():
    numbers = gaussian(draws(2, 500), 101, stream_of("test noise"))
    assert numbers.shape == (2, 500, 101)
    assert stats.kstest(numbers.flatten().numpy(), "norm").pvalue > ALARM
    assert torch.equal(numbers, gaussian(draws(2, 500, compiled=False), 101, stream_of("test noise")))
    # halves of one word are neighbours: they must not be related
    pairs = numbers[..., :100].reshape(-1, 2).numpy()
    assert stats.pearsonr(pairs[:, 0], pairs[:, 1]).pvalue > ALARM


@pytest.mark.parametrize("unit", TASKS)
def test_scored_periods_are_the_mask(unit):
    task = unit(scored=["decision"], fixation=2, decision=3)
    batch = task.batch(draws())
    assert torch.equal(batch.mask, (batch.targets[:, :, 0] > 0).double())
    assert task.chance_loss == pytest.approx(math.log(2))
    whole = unit(fixation=2, decision=3)
    assert whole.chance_loss == pytest.approx(3 * math.log(2) / whole.max_length)
    for scored in (["fixation"], ["decison", "decision"], "decision", []):
        with pytest.raises(ConfigError) as caught:
            unit(scored=scored)
        assert caught.value.key == "task.scored"
    assert unit(scored=["fixation", "decision"], length=[3, 6], fixation=2, decision=3).chance_loss == pytest.approx(
        3 * math.log(2) / 5
    )


@pytest.mark.parametrize("unit", TASKS)
def test_decisions_and_broken_fixations_are_counted(unit):
    task = unit(decision=2)
    batch = task.batch(draws())
    outputs = torch.nn.functional.one_hot(batch.targets, 3).double()
    assert task.measure(outputs, batch)["valid/fixation_breaks"].sum() == 0
    outputs[0, 1, 2] = torch.tensor([0.0, 1.0, 0.0])  # leaves fixation early, decides rightly
    outputs[1, -1, 0, 0] = 9.0  # fixates for ever, but of the choices the right one is ahead
    found = task.measure(outputs, batch)
    assert found["valid/fixation_breaks"].tolist() == [[False, False, True], [False] * 3]
    assert found["valid/decision_accuracy"].all()
    assert task.errors(outputs, batch).tolist() == [[False] * 3, [True, False, False]]


@pytest.mark.parametrize("values", [[], [101], ["a"], 5, [-1]])
def test_wrong_coherences_are_one_line(values):
    with pytest.raises(ConfigError) as caught:
        PerceptualDecision(coherences=values)
    assert caught.value.key == "task.coherences"
