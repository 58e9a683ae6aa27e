"""Parity, group words, flip-flop and bracket languages against accounts of their own, one sequence at a time.

Permutations are applied to a list, brackets are pushed and popped, pulses are held in a loop: nothing is shared with
the tasks but the inputs that they made. `ALARM` is the probability of a false alarm of one statistical check.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from rnnsweep.core import rng
from rnnsweep.core.tasks.bracket_language import BracketLanguage
from rnnsweep.core.tasks.flip_flop import FlipFlop
from rnnsweep.core.tasks.group_words import GroupWords
from rnnsweep.core.tasks.groups import GROUPS, multiplication_table
from rnnsweep.core.tasks.parity import Parity
from rnnsweep.errors import ConfigError

ALARM = 1e-6


def draws(P=2, B=3, seed=0, **options):
    keys = torch.tensor([rng.key(seed, p, "test") for p in range(P)])
    return rng.Draws(keys, torch.arange(P * B).reshape(P, B), seed + torch.arange(P), **options)


def codes(batch):
    """Symbols of each sequence from its own start, and its row and place; every step is one-hot."""
    for p in range(batch.inputs.shape[0]):
        start = batch.inputs.shape[1] - int(batch.lengths[p])
        for b in range(batch.inputs.shape[2]):
            own = batch.inputs[p, start:, b]
            assert (own.sum(1) == 1).all()
            yield p, b, start, own.argmax(1).tolist()


def permutations_of(group):
    """The elements of a permutation group in lexicographic order, by the determinant of their matrices."""
    n = int(group[1])
    every = [np.array(p) for p in itertools.permutations(range(n))]
    if group[0] == "s":
        return every
    return [p for p in every if round(np.linalg.det(np.eye(n)[p])) == 1]


# ---------------------------------------------------------------- words over groups


@pytest.mark.parametrize("length", [7, [3, 20]])
def test_parity_counts_ones(length):
    task = Parity(length=length)
    batch = task.batch(draws())
    for p, b, start, bits in codes(batch):
        assert batch.targets[p, start:, b].tolist() == [sum(bits[: t + 1]) % 2 for t in range(len(bits))]
    last = Parity(length=length, labels="last").batch(draws())
    assert torch.equal(last.inputs, batch.inputs)
    assert torch.equal(last.targets, batch.targets[:, -1])


@pytest.mark.parametrize("group", ["s3", "a5", "s5"])
def test_permutations_move_a_list_one_after_another(group):
    elements = permutations_of(group)
    batch = GroupWords(group=group, length=[5, 18]).batch(draws())
    for p, b, start, word in codes(batch):
        places = np.arange(len(elements[0]))
        for t, code in enumerate(word, start):
            places = elements[code][places]
            assert np.array_equal(elements[int(batch.targets[p, t, b])], places)


def test_sums_and_pairs_of_the_other_groups():
    batch = GroupWords(group="z60", length=9).batch(draws())
    for p, b, _, word in codes(batch):
        assert batch.targets[p, :, b].tolist() == [sum(word[: t + 1]) % 60 for t in range(9)]
    fours = permutations_of("a4")
    batch = GroupWords(group="a4xz5", length=9).batch(draws())
    for p, b, _, word in codes(batch):
        places, total = np.arange(4), 0
        for t, code in enumerate(word):
            places, total = fours[code // 5][places], (total + code % 5) % 5
            product = int(batch.targets[p, t, b])
            assert np.array_equal(fours[product // 5], places)
            assert product % 5 == total


@pytest.mark.parametrize("group", GROUPS)
def test_tables_are_groups(group):
    table = multiplication_table(group)
    n, everything = len(table), torch.arange(len(table))
    assert torch.equal(table[0], everything)
    assert torch.equal(table[:, 0], everything)
    # each element once per row and column, and associative at random triples
    assert (table.sort(0).values == everything[:, None]).all()
    assert (table.sort(1).values == everything).all()
    a, b, c = torch.randint(n, (3, 500), generator=torch.Generator().manual_seed(0))
    assert torch.equal(table[table[a, b], c], table[a, table[b, c]])
    assert bool((table == table.T).all()) == (group in ("z2", "z60"))


def test_symbols_are_uniform_and_chance_is_that_of_a_constant():
    task = GroupWords(length=20)
    batch = task.batch(draws(2, 500))
    symbols = np.bincount(batch.inputs.argmax(-1).flatten().numpy(), minlength=6)
    assert stats.chisquare(symbols).pvalue > ALARM
    assert task.chance_loss == pytest.approx(math.log(6))
    assert task.chance_error == pytest.approx(1 - 6**-20.0)
    assert GroupWords(labels="last").chance_error == pytest.approx(5 / 6)
    assert Parity(length=[2, 4]).chance_error == pytest.approx(1 - (1 / 4 + 1 / 8) / 2)
    wrong = task.measure(torch.nn.functional.one_hot(torch.zeros(2, 20, 500, dtype=torch.int64), 6).double(), batch)
    share = float(wrong["valid/step_error"].mean())
    assert abs(share - task.chance["valid/step_error"]) < stats.norm.isf(ALARM / 2) * math.sqrt(5 / 36 / 20_000)


def test_one_wrong_step_makes_a_sequence_wrong():
    task = Parity(length=[4, 9])
    batch = task.batch(draws())
    outputs = torch.nn.functional.one_hot(batch.targets, 2).double()
    outputs[0, -2, 1] = outputs[0, -2, 1].flip(0)
    outputs[1, 0] = math.nan  # before the sequences' own start
    assert int(batch.lengths[1]) < task.max_length
    assert task.errors(outputs, batch).tolist() == [[False, True, False], [False] * 3]
    share = task.measure(outputs, batch)["valid/step_error"]
    assert share.tolist() == [[0, 1 / int(batch.lengths[0]), 0], [0, 0, 0]]


# ---------------------------------------------------------------- flip-flop


@pytest.mark.parametrize("task", [FlipFlop(length=[4, 30], p=0.2), FlipFlop(length=12, bits=1, p=1)])
def test_the_last_pulse_is_held(task):
    batch = task.batch(draws())
    for p in range(2):
        start = task.max_length - int(batch.lengths[p])
        for b, k in itertools.product(range(3), range(task.bits)):
            held, pulses = None, batch.inputs[p, start:, b, k].tolist()
            assert pulses[0] in (-1, 1)
            for t, pulse in enumerate(pulses, start):
                assert pulse in (-1, 0, 1)
                held = pulse or held
                assert batch.targets[p, t, b, k] == held


def test_pulses_have_their_frequency_and_chance_is_that_of_one_sign():
    task = FlipFlop(length=6, bits=2, p=0.3)
    batch = task.batch(draws(2, 5000))
    later = batch.inputs[:, 1:]
    assert stats.binomtest(int((later != 0).sum()), later.numel(), 0.3).pvalue > ALARM
    assert stats.binomtest(int((later > 0).sum()), int((later != 0).sum()), 0.5).pvalue > ALARM
    right = int((~task.errors(torch.ones_like(batch.targets), batch)).sum())
    assert task.chance_error == pytest.approx(1 - (0.5 * 0.85**5) ** 2)
    assert stats.binomtest(right, 10_000, 1 - task.chance_error).pvalue > ALARM
    assert task.errors(torch.zeros_like(batch.targets), batch).all()
    wrong_steps = task.measure(torch.ones_like(batch.targets), batch)["valid/step_error"].mean()
    assert float(wrong_steps) == pytest.approx(task.chance["valid/step_error"], abs=0.02)


# ---------------------------------------------------------------- brackets


def run(word, kinds):
    """Stack after each step of a word by hand; None from the first bracket that does not match."""
    stack, seen = [], []
    for code in word:
        if code < kinds:
            stack.append(code)
        elif not stack or stack.pop() != code - kinds:
            return seen, None
        seen.append(list(stack))
    return seen, stack


@pytest.mark.parametrize(("kinds", "depth"), [(1, 2), (2, 3), (5, 40)])
def test_the_top_of_the_stack_closes_next(kinds, depth):
    batch = BracketLanguage(length=[10, 40], kinds=kinds, depth=depth).batch(draws(3, 5))
    for p, b, start, word in codes(batch):
        seen, stack = run(word, kinds)
        assert stack is not None
        assert max(map(len, seen)) <= depth
        assert batch.targets[p, start:, b].tolist() == [now[-1] if now else kinds for now in seen]


def test_words_are_accepted_unless_a_bracket_was_changed():
    kinds, depth = 3, 4
    task = BracketLanguage(length=[2, 30], kinds=kinds, depth=depth, wanted="acceptance")
    batch = task.batch(draws(6, 60))
    assert (batch.lengths % 2 == 0).all()
    for p, b, _, word in codes(batch):
        assert bool(batch.targets[p, b]) == (run(word, kinds)[1] == [])
        # without kinds they are all well formed: counting says nothing
        depths = np.cumsum([1 if code < kinds else -1 for code in word])
        assert depths[-1] == 0
        assert depths.min() == 0
        assert depths.max() <= depth
    assert stats.binomtest(int(batch.targets.sum()), 360, 0.5).pvalue > ALARM


@pytest.mark.parametrize(("kinds", "depth", "length"), [(1, 1, 4), (2, 1, 5), (2, 2, 5), (2, 3, 6), (3, 5, 5)])
def test_chance_in_brackets_by_going_through_all_words(kinds, depth, length):
    """Every prefix with its probability; then the best answer of all, by trying each."""
    probabilities = {(): 1.0}
    for _ in range(length):
        longer = {}
        for word, p in probabilities.items():
            stack = run(word, kinds)[1]
            up = 1.0 if not stack else 0.0 if len(stack) == depth else 0.5
            steps = {kind: up / kinds for kind in range(kinds)}
            steps |= {kinds + stack[-1]: 1 - up} if stack else {}
            longer |= {(*word, code): p * q for code, q in steps.items() if q}
        probabilities = longer
    answers, steps = {}, np.zeros((length, kinds + 1))
    for word, p in probabilities.items():
        wanted = tuple(now[-1] if now else kinds for now in run(word, kinds)[0])
        answers[wanted] = answers.get(wanted, 0.0) + p
        for t, answer in enumerate(wanted):
            steps[t, answer] += p
    task = BracketLanguage(length=length, kinds=kinds, depth=depth)
    logs = np.log(np.where(steps > 0, steps, 1))
    assert task.chance_loss == pytest.approx(float(-(steps * logs).sum(1).mean()))
    assert task.chance["valid/step_error"] == pytest.approx(1 - float(steps.max(1).mean()))
    assert task.chance_error == pytest.approx(1 - max(answers.values()))


def test_one_kind_cannot_be_corrupted():
    with pytest.raises(ConfigError) as caught:
        BracketLanguage(kinds=1, wanted="acceptance")
    assert caught.value.key == "task.kinds"
