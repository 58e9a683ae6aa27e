"""Tasks with a teacher signal: periodic output, interval matching, sequence chaining.

`ALARM` is the probability of a false alarm of one statistical check over the choice of keys.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rnnsweep.core import rng
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.inits.glorot import Glorot
from rnnsweep.core.inits.he import He
from rnnsweep.core.inits.identity import Identity
from rnnsweep.core.inits.normal import Normal
from rnnsweep.core.inits.orthogonal import Orthogonal
from rnnsweep.core.inits.smart_tanh import SmartTanh
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.tasks.interval_matching import IntervalMatching
from rnnsweep.core.tasks.periodic_output import PeriodicOutput
from rnnsweep.core.tasks.sequence_chaining import SequenceChaining
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup

ALARM = 1e-6
quick = settings(deadline=None, max_examples=20)


def draws(P=2, B=3, seed=0, **options):
    keys = torch.tensor([rng.key(seed, p, "test") for p in range(P)])
    return rng.Draws(keys, torch.arange(P * B).reshape(P, B), seed + torch.arange(P), **options)


def test_periodic_output_is_murrays_wave():
    batch = PeriodicOutput().batch(draws(dtype=torch.float64))
    assert batch.inputs.shape == (2, 100, 3, 0)
    for t in (1, 7, 50, 100):
        wave = (
            math.sin(2 * math.pi * t / 100)
            + 0.5 * math.sin(4 * math.pi * t / 100)
            + 0.25 * math.sin(8 * math.pi * t / 100)
        )
        assert (batch.targets[:, t - 1] - wave).abs().max() < 1e-14
    assert PeriodicOutput().chance_loss == pytest.approx((1 + 1 / 4 + 1 / 16) / 2)
    assert PeriodicOutput(length=200).chance_loss == pytest.approx(21 / 32)
    assert PeriodicOutput(length=2, period=1000).chance_error == 0


def test_periodic_output_is_wrong_from_a_mean_squared_error_of_004_on():
    task = PeriodicOutput()
    batch = task.batch(draws())
    assert not task.errors(batch.targets + 0.19, batch).any()
    assert task.errors(batch.targets + 0.21, batch).all()
    half = batch.targets.clone()
    half[:, :50] += 0.27  # .27^2 / 2 = .036
    assert not task.errors(half, batch).any()


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_without_inputs_learns_and_rows_stay_strangers(engine, dtype):
    """I = 0 through loop, backward, clipping, optimiser, evaluation and diagnostics."""
    task = PeriodicOutput(length=20, period=20)
    setup = Setup(task=task, engine=engine, dtype=dtype, batch=2, optimizer=Adam(lr=0.02), sigma=0.4)
    pack = setup.pack([0, 1, 2, 3, 4])
    curves = [train_rung(pack, 40, 1) for _ in range(2)]
    assert pack.program.layout.view(pack.params)["w_in"].shape == (5, 0, 12)
    assert all(curves[1][row]["valid/loss"] < 0.8 * curves[0][row]["valid/loss"] for row in range(5))
    assert all(curves[0][row]["valid/loss"] < 0.25 * task.chance_loss for row in range(5))
    alone = setup.pack([3])
    assert [train_rung(alone, 40, 1)[0] for _ in range(2)] == [rung[3] for rung in curves]


def test_the_engines_agree_without_inputs():
    packs = [Setup(task=PeriodicOutput(length=20), engine=name).pack([0, 1]) for name in ("reference", "cpu")]
    losses = [[row["train/loss"] for row in train_rung(pack, 5, 9)] for pack in packs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


@pytest.mark.parametrize("init", [Glorot, He, Identity, Normal, Orthogonal, SmartTanh])
def test_initialisations_do_without_inputs(init):
    specs = Srn(hidden=8).parameters(0, 1)
    unit = init()
    hypers = {name: torch.full((2,), getattr(unit, name) or math.nan, dtype=torch.float64) for name in unit.rows}
    values = unit.draw(specs, torch.tensor([1, 2]), hypers, 1.0)
    assert {"w_rec", "w_out"} <= values.keys()
    assert all(torch.isfinite(value).all() for value in values.values())


def plain_interval(pulses, L):
    """Step of the response from the three pulses alone."""
    first, second, cue = pulses
    n = L // 10
    assert 0 <= first <= n - 1
    assert n <= second - first <= 3 * n
    assert n <= cue - second <= 2 * n
    return cue + (second - first)


@quick
@given(
    length=st.one_of(st.integers(10, 80), st.tuples(st.integers(10, 30), st.integers(31, 80))), seed=st.integers(0, 99)
)
def test_intervals_are_reproduced_after_the_cue(length, seed):
    task = IntervalMatching(length=length)
    batch = task.batch(draws(seed=seed, dtype=torch.float64))
    for p in range(2):
        L = int(batch.lengths[p])
        for b in range(3):
            sequence = batch.inputs[p, task.max_length - L :, b, 0]
            assert set(sequence.tolist()) == {0, 1}
            response = plain_interval(torch.nonzero(sequence).flatten().tolist(), L)
            width = max(1.0, L / 40)
            wanted = [math.exp(-0.5 * ((t - response) / width) ** 2) for t in range(L)]
            assert batch.targets[p, task.max_length - L :, b, 0].tolist() == pytest.approx(wanted, rel=1e-12)
            assert (batch.targets[p, : task.max_length - L] == 0).all()


def test_intervals_are_uniform():
    inputs = IntervalMatching(length=100).batch(draws(P=1, B=6000)).inputs[0, :, :, 0]
    places = inputs.T.nonzero()[:, 1].reshape(6000, 3)
    for values, low, high in (
        (places[:, 0], 0, 9),
        (places[:, 1] - places[:, 0], 10, 30),
        (places[:, 2] - places[:, 1], 10, 20),
    ):
        counts = np.bincount(values, minlength=high + 1)
        assert counts[:low].sum() == 0
        assert stats.chisquare(counts[low : high + 1]).pvalue > ALARM


def test_responses_must_be_strong_and_in_time():
    task = IntervalMatching(length=100)
    batch = task.batch(draws())
    for shift, factor, wrong in (
        (0, 1, False),
        (2, 1, False),
        (-2, 1, False),
        (3, 1, True),
        (0, 0.6, False),
        (0, 0.5, True),
    ):
        assert (task.errors(factor * batch.targets.roll(shift, 1), batch) == wrong).all(), (shift, factor)


@pytest.mark.parametrize("length", [20, 100, [20, 60]])
def test_chance_levels_of_interval_matching(length):
    """Against the best fixed output found on many sequences."""
    task, count = IntervalMatching(length=length), 40_000
    made = draws(P=1 if isinstance(length, int) else 200, B=count // (1 if isinstance(length, int) else 200))
    batch = task.batch(made)
    weight = (1 / batch.lengths)[:, None, None] * (
        batch.inputs.shape[1] - torch.arange(task.max_length) <= batch.lengths[:, None]
    )[..., None]
    y = batch.targets[..., 0].double()
    mean = (y * weight).sum((0, 2)) / (weight * torch.ones_like(y)).sum((0, 2)).clamp(min=1e-9)
    loss = ((y - mean[None, :, None]) ** 2 * weight).sum(1)
    # 200 random lengths, or 40 000 sequences: the standard error, five times (p < 1e-6), and the fit of the mean itself
    error = loss.mean(1).std() / math.sqrt(len(loss)) if len(loss) > 1 else loss.std() / math.sqrt(count)
    assert abs(float(loss.mean()) - task.chance_loss) < 5 * float(error) + task.max_length / count
    response, slack = batch.targets[..., 0].argmax(1), (batch.lengths // 40).clamp(min=1)[:, None]
    right = [float(((response - t).abs() <= slack).double().mean()) for t in range(task.max_length)]
    best = 1 - max(right)
    fixed = torch.zeros_like(batch.targets)
    fixed[:, int(np.argmax(right))] = 1
    assert float(task.errors(fixed, batch).double().mean()) == pytest.approx(best)
    slack = 0.02 if isinstance(length, int) else 0.1  # DKW over 40 000 sequences: .02 at p = 1e-6; lengths: 200 draws
    assert abs(best - task.chance_error) < slack


def test_chains_follow_their_pattern_units():
    task = SequenceChaining(length=20, segments=5, chain=4)
    batch = task.batch(draws(dtype=torch.float64))
    curves = {}
    for p in range(2):
        for b in range(3):
            for slot in range(4):
                cut = slice(slot * 20, slot * 20 + 20)
                units = batch.inputs[p, cut, b]
                assert (units == units[0]).all()
                assert sorted(units[0].tolist()) == [0, 0, 0, 0, 1]
                curve = batch.targets[p, cut, b, 0]
                assert torch.equal(curve, curves.setdefault(int(units[0].argmax()), curve))
    assert len(curves) == 5
    for k, curve in curves.items():
        assert abs(float(curve[-1])) < 1e-12, "curves end at 0, so that a chain has no jump"
        assert float(curve.square().mean()) == pytest.approx(0.5)
        for other in curves.keys() - {k}:
            assert float((curve - curves[other]).square().mean()) > 4 * 0.04, "no output is right for two"


def test_segments_are_drawn_evenly_and_chance_is_a_fixed_chain():
    task = SequenceChaining(length=12, segments=3, chain=2)
    batch = task.batch(draws(P=4, B=1000, dtype=torch.float64))
    order = batch.inputs[:, ::12].argmax(-1)
    chains = (order[:, 0] * 3 + order[:, 1]).flatten()
    assert stats.chisquare(np.bincount(chains, minlength=9)).pvalue > ALARM
    fixed = batch.targets[:1, :, :1].expand_as(batch.targets)
    right = 1 - task.errors(fixed, batch).double().mean()
    assert float(right) == pytest.approx(1 / 9, abs=5 * math.sqrt(1 / 9 * 8 / 9 / 4000))  # p < 1e-6
    assert task.chance_error == pytest.approx(8 / 9)
    across = batch.targets.transpose(1, 2).flatten(0, 1).var(0, correction=0).mean()
    assert float(across) == pytest.approx(task.chance_loss, rel=0.05)


def test_other_seeds_give_other_curves():
    one, two = (SequenceChaining(curve_seed=seed).batch(draws()) for seed in (0, 1))
    assert torch.equal(one.inputs, two.inputs)
    assert not torch.equal(one.targets, two.targets)


def test_wrong_fields_are_refused_by_name():
    for unit, field, value in [
        (PeriodicOutput, "length", 1),
        (PeriodicOutput, "period", 0),
        (IntervalMatching, "length", 9),
        (SequenceChaining, "length", 11),
        (SequenceChaining, "segments", 1),
        (SequenceChaining, "segments", 17),
        (SequenceChaining, "chain", 0),
        (SequenceChaining, "curve_seed", -1),
    ]:
        with pytest.raises(ConfigError) as caught:
            unit(**{field: value})
        assert caught.value.key == f"task.{field}"
