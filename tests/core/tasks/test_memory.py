"""Permutation, memorization and copying against a plain account of their papers, one sequence at a time.

Draws are fixed by their keys; `ALARM` is the probability of a false alarm of one statistical check over the choice of
keys.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rnnsweep.core import rng
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.memorization import Memorization
from rnnsweep.core.tasks.permutation import Permutation
from rnnsweep.errors import ConfigError

ALARM = 1e-6
RECALL = [(Memorization, "5bit"), (Memorization, "20bit"), (Copying, "urnn"), (Copying, "exprnn")]
quick = settings(deadline=None, max_examples=20)


def draws(P=2, B=3, seed=0, **options):
    keys = torch.tensor([rng.key(seed, p, "test") for p in range(P)])
    return rng.Draws(keys, torch.arange(P * B).reshape(P, B), seed + torch.arange(P), **options)


def sequences(batch):
    """Symbols of each sequence from its own start, and its row and place; every step is one-hot."""
    for p in range(batch.inputs.shape[0]):
        start = batch.inputs.shape[1] - int(batch.lengths[p])
        for b in range(batch.inputs.shape[2]):
            own = batch.inputs[p, start:, b]
            assert ((own == 0) | (own == 1)).all()
            assert (own.sum(1) == 1).all()
            yield p, b, start, own.argmax(1).tolist()


def wanted_sequence(unit, variant, L, pattern):
    """Inputs and targets of docs/maths.md#tasks, written out for one pattern."""
    kinds, n = {"5bit": (2, 5), "20bit": (5, 10), "urnn": (8, 10), "exprnn": (8, 10)}[variant]
    blank, trigger = kinds, kinds + 1
    if unit is Memorization:
        inputs = [*pattern, *[blank] * L, trigger, *[blank] * (n - 1)]
        recall = L + n  # at the trigger
    elif variant == "urnn":
        inputs = [*pattern, *[blank] * (L - 1), trigger, *[blank] * 10]
        recall = 10 + (L - 1) + 1  # from the step after the marker
    else:
        inputs = [*pattern, *[blank] * L, trigger, *[blank] * 9]
        recall = 10 + L  # at the marker
    targets = [blank] * recall + list(pattern)
    assert len(inputs) == len(targets)
    return inputs, targets


@pytest.mark.parametrize(("unit", "variant"), RECALL)
@quick
@given(
    length=st.one_of(st.integers(1, 40), st.tuples(st.integers(1, 20), st.integers(21, 40))), seed=st.integers(0, 99)
)
def test_recall_sequences_are_those_of_the_papers(unit, variant, length, seed):
    task = unit(length=length, variant=variant)
    batch = task.batch(draws(seed=seed))
    for p, b, start, symbols in sequences(batch):
        L = int(batch.lengths[p]) - task.steps_besides_length
        low, high = (length, length) if isinstance(length, int) else (length[0], length[1] - 1)
        assert low <= L <= high
        inputs, targets = wanted_sequence(unit, variant, L, symbols[: task.span])
        assert symbols == inputs
        assert batch.targets[p, start:, b].tolist() == targets


@pytest.mark.parametrize(("unit", "variant"), RECALL)
def test_patterns_are_uniform(unit, variant):
    task = unit(length=3, variant=variant)
    patterns = task.batch(draws(P=2, B=2000)).targets[:, -task.span :]
    for place in range(task.span):
        counts = np.bincount(patterns[:, place].flatten(), minlength=task.kinds)
        assert stats.chisquare(counts).pvalue > ALARM
    assert patterns.max() < task.kinds


def test_sizes_are_those_of_the_papers():
    sizes = [(task.n_inputs, task.n_outputs) for task in (Memorization(), Memorization(variant="20bit"), Copying())]
    assert sizes == [(4, 3), (7, 6), (10, 9)]
    assert [Copying(length=1000, variant=v).max_length for v in ("urnn", "exprnn")] == [1020, 1020]


def test_one_wrong_step_makes_a_sequence_wrong_but_not_one_before_its_start():
    task = Memorization(length=[3, 20])
    batch = task.batch(draws(P=8))
    start = int((task.max_length - batch.lengths).max())
    row = int((task.max_length - batch.lengths).argmax())
    assert start > 0
    right = torch.nn.functional.one_hot(batch.targets, task.n_outputs).float()
    for step, wrong in ((0, False), (start - 1, False), (start, True), (task.max_length - 1, True)):
        outputs = right.clone()
        outputs[row, step, 1] = outputs[row, step, 1].roll(1)
        found = task.errors(outputs, batch)
        assert bool(found[row, 1]) is wrong
        assert int(found.sum()) == wrong


@pytest.mark.parametrize(("unit", "variant"), RECALL)
def test_chance_loss_is_that_of_blanks_and_guesses(unit, variant):
    """The output that says blank before the recall and gives all symbols the same share during it."""
    task = unit(length=13, variant=variant)
    batch = task.batch(draws())
    logits = torch.full((*batch.targets.shape, task.n_outputs), -math.inf, dtype=torch.float64)
    logits[:, : -task.span, :, -1] = 0
    logits[:, -task.span :, :, : task.kinds] = 0
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 2), batch.targets.flatten())
    assert float(loss) == pytest.approx(task.chance_loss, rel=1e-12)
    assert task.chance_error == pytest.approx(1 - 1 / task.kinds**task.span, abs=1e-12)


def test_chance_levels_are_those_of_the_literature():
    assert Copying(length=100).chance_loss == pytest.approx(10 * math.log(8) / 120)
    assert Memorization(length=50).chance_loss == pytest.approx(5 * math.log(2) / 60)
    assert Memorization(length=[50, 52]).chance_loss == pytest.approx(5 * math.log(2) * (1 / 60 + 1 / 61) / 2)
    assert Permutation().chance_loss == pytest.approx(math.log(2))


@quick
@given(
    length=st.one_of(st.integers(2, 60), st.tuples(st.integers(2, 20), st.integers(21, 60))), seed=st.integers(0, 99)
)
def test_permutation_ends_with_its_first_symbol(length, seed):
    batch = Permutation(length=length).batch(draws(seed=seed))
    for p, b, _, symbols in sequences(batch):
        assert symbols[0] in (0, 1)
        assert all(2 <= symbol <= 99 for symbol in symbols[1:])
        assert int(batch.targets[p, b]) == symbols[0]


def test_permutation_draws_evenly():
    batch = Permutation(length=11).batch(draws(P=4, B=1000))
    assert stats.chisquare(np.bincount(batch.targets.flatten(), minlength=2)).pvalue > ALARM
    counts = batch.inputs[:, 1:].sum((0, 1, 2))[2:].numpy()
    assert counts.sum() == 40_000
    assert stats.chisquare(counts).pvalue > ALARM


@pytest.mark.parametrize(("unit", "least"), [(Permutation, 2), (Memorization, 1), (Copying, 1)])
def test_too_short_lengths_are_refused_by_name(unit, least):
    assert unit(length=least).length == least
    with pytest.raises(ConfigError, match=f">= {least}") as caught:
        unit(length=least - 1)
    assert caught.value.key == "task.length"
