"""Synthetic tasks against a plain-Python account: positions, ranges, frequencies, targets, chance levels.

Draws are fixed by their keys; `ALARM` is the probability of a false alarm of one statistical check over the choice of
keys.
"""

import importlib.util
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rnnsweep.core import rng
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.multiplication import Multiplication
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.tasks.temporal_order_3bit import TemporalOrder3bit
from rnnsweep.errors import ConfigError

_spec = importlib.util.spec_from_file_location("tasks_oracle", Path(__file__).with_name("oracle.py"))
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)

ALARM = 1e-6
ORDER = [(unit, variant) for unit in (TemporalOrder, TemporalOrder3bit) for variant in ("pascanu", "chernodub")]
MARKED = [(Adding, "pascanu"), (Adding, "chernodub"), (Adding, "urnn")]
MARKED += [(Multiplication, "pascanu"), (Multiplication, "chernodub")]
LENGTHS = st.one_of(st.integers(10, 60), st.sampled_from([100, 150, 199, 1000, 5000]))
quick = settings(deadline=None, max_examples=25)


def draws(P=2, B=3, seed=0, **options):
    keys = torch.tensor([rng.key(seed, p, "test") for p in range(P)])
    return rng.Draws(keys, torch.arange(P * B).reshape(P, B), seed + torch.arange(P), **options)


def sequences(batch):
    """Each sequence from its own start, as [steps, I], with its row and place."""
    for p in range(batch.inputs.shape[0]):
        start = batch.inputs.shape[1] - int(batch.lengths[p])
        for b in range(batch.inputs.shape[2]):
            yield p, b, batch.inputs[p, start:, b]


@pytest.mark.parametrize(("unit", "variant"), ORDER)
@quick
@given(length=LENGTHS, seed=st.integers(0, 10**6))
def test_order_targets_follow_from_the_inputs(unit, variant, length, seed):
    batch = unit(length=length, variant=variant).batch(draws(seed=seed))
    for p, b, sequence in sequences(batch):
        assert len(sequence) == length
        assert torch.equal(sequence.sort(1).values, torch.eye(6)[-1:].expand(length, 6)), "one-hot"
        places, wanted = oracle.order_class(sequence.argmax(1).tolist())
        windows = oracle.order_windows(variant, unit.bits, length)
        assert len(places) == unit.bits
        assert all(low <= place <= high for place, (low, high) in zip(places, windows, strict=True))
        assert int(batch.targets[p, b]) == wanted


@pytest.mark.parametrize(("unit", "variant"), MARKED)
@quick
@given(length=LENGTHS, seed=st.integers(0, 10**6), double=st.booleans())
def test_marked_targets_follow_from_the_inputs(unit, variant, length, seed, double):
    dtype = torch.float64 if double else torch.float32
    batch = unit(length=length, variant=variant).batch(draws(seed=seed, dtype=dtype))
    for p, b, sequence in sequences(batch):
        extra = int(0.1 * length) - 1 if variant == "pascanu" else 0
        assert length <= len(sequence) <= length + extra
        places, values = oracle.marked(sequence.tolist())
        windows = oracle.marker_windows(variant, len(sequence))
        assert all(low <= place <= high for place, (low, high) in zip(places, windows, strict=True))
        assert sequence[:, 0].unique().tolist() == [0, 1]
        assert sequence[:, 1].min() >= (-1 if variant == "chernodub" else 0)
        assert sequence[:, 1].max() < 1
        wanted = values[0] * values[1] if unit is Multiplication else sum(values) / (1 if variant == "urnn" else 2)
        # one rounding: relative 2**-24 in float32; the plain account works in float64
        assert float(batch.targets[p, b, 0]) == pytest.approx(wanted, rel=2.0**-52 if double else 2.0**-23)


@pytest.mark.parametrize(("unit", "variant"), ORDER + MARKED)
def test_windows_agree_with_the_published_formulas_at_every_length(unit, variant):
    task = unit(variant=variant)
    for length in range(10, 20_001):
        if (unit, variant) in ORDER:
            wanted = oracle.order_windows(variant, unit.bits, length)
        else:
            wanted = oracle.marker_windows(variant, length)
        assert task.windows(length) == wanted
        flat = [end for window in wanted for end in window]
        assert flat[0] >= 0
        assert flat[-1] < length
        assert flat == sorted(flat)
        assert all(low > high for (_, high), (low, _) in itertools.pairwise(wanted)), "windows are disjoint"


@pytest.mark.parametrize(("unit", "variant"), ORDER + MARKED)
@pytest.mark.parametrize("length", [20, 100])
def test_positions_are_uniform_in_their_windows(unit, variant, length):
    batch = unit(length=length, variant=variant).batch(draws(P=1, B=6000))
    steps = int(batch.lengths[0])
    order = (unit, variant) in ORDER
    own = batch.inputs[0, batch.inputs.shape[1] - steps :]  # T B I
    special = own[..., :2].sum(-1) if order else own[..., 0]
    windows = oracle.order_windows(variant, unit.bits, steps) if order else oracle.marker_windows(variant, steps)
    counts = special.sum(1).numpy()
    assert counts.sum() == 6000 * len(windows)
    for low, high in windows:
        assert counts[low : high + 1].sum() == 6000
        if high > low:
            assert stats.chisquare(counts[low : high + 1]).pvalue > ALARM


@pytest.mark.parametrize(("unit", "variant"), ORDER)
@pytest.mark.parametrize("length", [10, 200])
def test_classes_and_distractors_are_equally_frequent(unit, variant, length):
    batch = unit(length=length, variant=variant).batch(draws(P=4, B=1000))
    assert stats.chisquare(np.bincount(batch.targets.flatten(), minlength=2**unit.bits)).pvalue > ALARM
    distractors = batch.inputs.sum((0, 1, 2))[2:].numpy()
    assert distractors.sum() == 4000 * (length - unit.bits)
    assert stats.chisquare(distractors).pvalue > ALARM


@pytest.mark.parametrize(("unit", "variant"), MARKED)
def test_values_are_uniform(unit, variant):
    batch = unit(length=50, variant=variant).batch(draws(P=1, B=1000))
    values = np.concatenate([sequence[:, 1].numpy() for _, _, sequence in sequences(batch)])
    low = -1 if variant == "chernodub" else 0
    assert stats.kstest(values, stats.uniform(low, 1 - low).cdf).pvalue > ALARM


def best_constant_success(targets, task):
    """Share of successes of the best constant: the most targets in any interval of the rule's width."""
    ordered = np.sort(targets)
    inside = np.searchsorted(ordered, ordered + 2 * task.half_width, side="right") - np.arange(len(ordered))
    return inside.max() / len(ordered)


@pytest.mark.parametrize(("unit", "variant"), MARKED)
@pytest.mark.parametrize("success", [None, "squared_error", "absolute"])
def test_chance_levels_of_values(unit, variant, success):
    task = unit(length=10, variant=variant, success=success)
    targets = task.batch(draws(P=1, B=200_000, dtype=torch.float64)).targets.flatten().numpy()
    squares = (targets - targets.mean()) ** 2
    z = (squares.mean() - task.chance_loss) / (squares.std() / math.sqrt(len(squares)))
    assert abs(z) < stats.norm.isf(ALARM / 2)
    # Dvoretzky, Kiefer, Wolfowitz: an interval's empirical share is off by more than 2 e with p <= 2 exp(-2 n e^2)
    e = math.sqrt(math.log(2 / ALARM) / (2 * len(targets)))
    assert abs(best_constant_success(targets, task) - (1 - task.chance_error)) < 2 * e


def test_chance_levels_are_those_of_the_literature():
    assert TemporalOrder().chance_loss == pytest.approx(1.386, abs=5e-4)
    assert TemporalOrder().chance_error == 0.75
    assert TemporalOrder3bit().chance_loss == pytest.approx(2.079, abs=5e-4)
    assert TemporalOrder3bit().chance_error == 0.875
    assert Adding().chance_loss == pytest.approx(1 / 24)
    assert 1 - Adding().chance_error == pytest.approx(0.64)
    assert Adding(variant="urnn").chance_loss == pytest.approx(1 / 6)
    assert Adding(variant="chernodub").chance_loss == pytest.approx(1 / 6)
    assert 1 - Adding(variant="chernodub").chance_error == pytest.approx(0.154, abs=5e-4)
    assert Multiplication().chance_loss == pytest.approx(7 / 144)
    assert 1 - Multiplication().chance_error == pytest.approx(0.766, abs=6e-4)
    assert Multiplication(variant="chernodub").chance_loss == pytest.approx(1 / 9)
    assert 1 - Multiplication(variant="chernodub").chance_error == pytest.approx(0.169, abs=5e-4)


@pytest.mark.parametrize("unit", [TemporalOrder, TemporalOrder3bit, Adding, Multiplication])
def test_random_lengths_are_drawn_per_mini_batch_and_row(unit):
    task = unit(length=[50, 200], variant="chernodub")
    assert task.max_length == 199
    keys = torch.full((20_000,), rng.key(0, 0, "test"))
    made = rng.Draws(keys, torch.zeros(20_000, 1, dtype=torch.int64), torch.arange(20_000))
    counts = np.bincount(task.place(made)[0], minlength=200)
    assert counts[:50].sum() == 0
    assert len(counts) == 200
    assert stats.chisquare(counts[50:]).pvalue > ALARM


def test_pascanu_adding_prolongs_its_sequences():
    task = Adding(length=[50, 201])
    assert task.max_length == 200 + 19
    keys = torch.full((5_000,), rng.key(0, 0, "test"))
    made = rng.Draws(keys, torch.zeros(5_000, 1, dtype=torch.int64), torch.arange(5_000))
    lengths = task.place(made)[0]
    assert 50 <= lengths.min() < lengths.max() <= 219
    fixed = np.bincount(Adding(length=100).place(made)[0], minlength=110)
    assert fixed[:100].sum() == 0
    assert stats.chisquare(fixed[100:]).pvalue > ALARM


def test_success_rules_by_variant():
    def wrong(task, error):
        batch = task.batch(draws())
        return bool(task.errors(batch.targets + error, batch).all()), bool(
            task.errors(batch.targets + error, batch).any()
        )

    for task, right, too_much in [
        (Adding(), 0.19, 0.21),  # sqrt(.04) = .2
        (Adding(variant="urnn"), 0.19, 0.21),
        (Multiplication(), 0.19, 0.21),
        (Adding(variant="chernodub"), 0.079, 0.081),
        (Multiplication(variant="chernodub"), 0.039, 0.041),
        (Adding(variant="chernodub", success="squared_error"), 0.19, 0.21),
        (Multiplication(success="absolute"), 0.039, 0.041),
    ]:
        for sign in (-1, 1):
            assert wrong(task, sign * right) == (False, False)
            assert wrong(task, sign * too_much) == (True, True)


def test_finite_training_set_is_the_replicas_own():
    task = TemporalOrder(length=20, train_size=7)
    assert task.samples == 7
    made = draws(P=2, B=40)
    batch = task.batch(made)
    same = (made.ids[:, :, None] - made.ids[:, None]) % 7 == 0
    flat = batch.inputs.transpose(1, 2).flatten(2)  # P B TI
    equal = (flat[:, :, None] == flat[:, None]).all(-1)
    assert torch.equal(equal, same), "20 symbols leave no room for a chance repetition"
    assert not torch.equal(batch.inputs[0], batch.inputs[1])
    fresh = task.batch(draws(P=2, B=40, split="valid"))
    assert torch.equal(fresh.inputs, TemporalOrder(length=20).batch(made).inputs)


@pytest.mark.parametrize("unit", [TemporalOrder, TemporalOrder3bit, Adding, Multiplication])
@pytest.mark.parametrize(
    "length",
    [9, 0, -5, 10.5, math.nan, math.inf, "50", None, True, [50], [50, 50], [200, 50], [5, 50], [50, 60, 70], []],
)
def test_wrong_lengths_are_refused_by_name(unit, length):
    with pytest.raises(ConfigError) as caught:
        unit(length=length)
    assert caught.value.key == "task.length"
    assert ">= 10" in str(caught.value)


def test_other_wrong_fields_are_refused_by_name():
    for field, value in [("train_size", 0), ("train_size", 1.5), ("variant", "pascan"), ("variant", "urnn")]:
        with pytest.raises(ConfigError) as caught:
            TemporalOrder(**{field: value})
        assert caught.value.key == f"task.{field}"
    with pytest.raises(ConfigError, match=r"task\.success"):
        Adding(success="argmax")
    assert Adding(length=2, variant="urnn").max_length == 2
    with pytest.raises(ConfigError, match=">= 2"):
        Adding(length=1, variant="urnn")
