"""Lorenz's system against scipy's integrator, measures of reconstruction against closed forms, networks that run on."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from rnnsweep.app.config.load import load
from rnnsweep.app.config.unit_checks import metrics_of
from rnnsweep.app.results.inference import TrainedNetwork
from rnnsweep.core import rng
from rnnsweep.core.evaluation import evaluate
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.families.srn_feedback import SrnFeedback
from rnnsweep.core.free_run import free_run
from rnnsweep.core.tasks.lorenz63 import DIVERGENCE, SPECTRUM, Lorenz63, trajectory
from rnnsweep.core.tasks.reconstruction import (
    bin_counts,
    hellinger,
    largest_divergence,
    power_spectrum,
    spectrum_errors,
    state_space_divergence,
)
from rnnsweep.core.training import tiles
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup

SHORT = {"steps": 1000, "length": 12, "generate": 40}


def lorenz(_, state):
    x, y, z = state
    return [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]


def test_the_trajectory_is_scipys_while_errors_are_small():
    """The local error of order 5 of a step of .01 grows by the exponent .9 per unit of time: below 1e-4 after two."""
    start = (1.0, 1.0, 1.0)
    found = trajectory(0.01, 201, start)
    want = solve_ivp(lorenz, (0, 2), start, t_eval=np.linspace(0, 2, 201), rtol=1e-12, atol=1e-12, method="DOP853").y.T
    assert np.abs(found - want).max() < 1e-3
    # of order 4: half the step, a 16th of the error
    finer = trajectory(0.005, 401, start)[::2]
    errors = np.abs(found - want)[:100].max(), np.abs(finer - want)[:100].max()
    assert 10 < errors[0] / errors[1] < 24


def test_parts_are_standardised_and_follow_on_each_other():
    task = Lorenz63(**SHORT)
    keys = torch.tensor([rng.key(0, p, "test") for p in range(3)])
    draws = rng.Draws(keys, torch.arange(60).reshape(3, 20), torch.zeros(3, dtype=torch.int64), dtype=torch.float64)
    batch = task.batch(draws)
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    whole = trajectory(0.01, 5000, (1.0, 1.0, 1.0))[2000:]
    first = whole[:1000]
    standard = (whole - first.mean(0)) / first.std(0)
    for split, offset in (("train", 0), ("valid", 1000), ("test", 2000)):
        pieces = task.batch(rng.Draws(keys, draws.ids, draws.batch_ids, torch.float64, split))
        part = torch.from_numpy(standard[offset : offset + 1000])
        for piece in pieces.inputs.permute(0, 2, 1, 3).flatten(0, 1)[::7]:
            begin = int((part - piece[0]).abs().sum(1).argmin())
            # float32 rounding of values below 4
            torch.testing.assert_close(piece, part[begin : begin + 12], rtol=0, atol=2.5e-7)
    blind = Lorenz63(**SHORT, observed=False).batch(draws)
    assert blind.inputs.shape == (3, 12, 20, 0)
    assert torch.equal(blind.targets, batch.targets)


def test_the_attractor_is_lorenz():
    """Its box, and that z is mirror-symmetric in x and y (Sparrow 1982): both wings are visited about as often."""
    data = trajectory(0.01, 12_000, (1.0, 1.0, 1.0))[2000:]
    assert (np.abs(data) < [21, 28, 49]).all()
    assert data[:, 2].min() > 0
    assert 0.35 < (data[:, 0] > 0).mean() < 0.65
    assert data.std(0) == pytest.approx([7.9, 9.0, 8.6], abs=0.4)


# ---------------------------------------------------------------- measures


def test_divergence_of_known_histograms():
    true = torch.tensor([6, 3, 1, 0])
    rows = torch.tensor([[6, 3, 1, 0], [12, 6, 2, 0], [1, 1, 2, 0], [0, 0, 0, 4]])
    found = state_space_divergence(true, rows, 1e-12)
    assert found[:2].abs().max() < 1e-12
    assert float(found[2]) == pytest.approx(0.6 * math.log(2.4) + 0.3 * math.log(1.2) + 0.1 * math.log(0.2))
    # disjoint: the smoothing alone stands below the true share
    eps, entropy = 1e-3, 0.6 * math.log(0.6) + 0.3 * math.log(0.3) + 0.1 * math.log(0.1)
    p = (np.array([0.6, 0.3, 0.1, 0]) + eps) / (1 + 4 * eps)
    q = (np.array([0, 0, 0, 1.0]) + eps) / (1 + 4 * eps)
    disjoint = float(state_space_divergence(true, rows, eps)[3])
    assert disjoint == pytest.approx(float((p * np.log(p / q)).sum()))
    assert entropy + math.log(1 / eps) * 0.9 < disjoint <= largest_divergence(true, eps)
    # nothing in any cell: the uniform distribution
    nothing = state_space_divergence(true, torch.zeros(1, 4, dtype=torch.int64), 1e-12)
    assert float(nothing) == pytest.approx(math.log(4) + entropy)


def test_counts_are_numpys_histogram_and_leave_out_what_lies_outside():
    points = torch.randn(2, 500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    edges = torch.tensor([[-1.0, 2.0], [-0.5, 0.5], [-3.0, 3.0]], dtype=torch.float64)
    found = bin_counts(points, edges, 4)
    for row in range(2):
        want = np.histogramdd(points[row].numpy(), bins=4, range=edges.tolist())[0]
        assert np.array_equal(found[row].reshape(4, 4, 4).permute(2, 1, 0).numpy(), want)
    points[0, :, 1] = math.nan
    points[1, :, 0] = math.inf
    assert bin_counts(points, edges, 4).sum() == 0


def test_spectra_of_sines_and_their_distance():
    t = np.arange(256)
    waves = np.stack([np.sin(2 * np.pi * 8 * t / 256), np.cos(2 * np.pi * 30 * t / 256 + 1)], 1)[None]
    spectrum = power_spectrum(waves, 0.0)
    assert spectrum.argmax(0).tolist() == [8, 30]
    assert spectrum.max(0) == pytest.approx([1, 1])
    assert hellinger(spectrum, spectrum) == pytest.approx(0, abs=1e-7)
    assert hellinger(spectrum, spectrum[:, ::-1]) == pytest.approx(1)
    # shares (1/2, 1/2) and (1, 0): 1 - sqrt(1/2)
    assert hellinger(np.array([[0.5], [0.5]]), np.array([[1.0], [0.0]])) == pytest.approx(math.sqrt(1 - math.sqrt(0.5)))
    smooth = power_spectrum(waves, 2.0)
    assert smooth.sum(0) == pytest.approx([1, 1])
    assert smooth[10, 0] / smooth[8, 0] == pytest.approx(math.exp(-0.5))
    generated = torch.from_numpy(np.stack([waves[0], waves[0][:, ::-1] * 5, waves[0] * 0, waves[0]]))[
        :, :, None
    ].clone()
    generated[3, 7, 0, 1] = math.nan
    assert spectrum_errors(spectrum, generated, 0.0).tolist() == pytest.approx([0, 1, 1, 1], abs=1e-7)


def test_the_true_system_scores_near_zero_and_a_still_one_badly():
    task = Lorenz63(steps=4000, generate=400)
    part = task._part("test", torch.device("cpu"), torch.float64)
    again = task._part("valid", torch.device("cpu"), torch.float64)
    runs = [data.reshape(10, 400, 3).transpose(0, 1) for data in (again, part, part * 0 + 0.3)]
    found = task.measure_generated(torch.stack(runs))
    same, other, still = found[DIVERGENCE].tolist()
    assert abs(same) < 1e-12
    assert 0 < other < 0.25 * still
    assert still <= task.worst[DIVERGENCE] * (1 + 1e-12)
    same, other, still = found[SPECTRUM].tolist()
    assert same == pytest.approx(0, abs=1e-7)
    assert other < 0.1
    assert still == 1


# ---------------------------------------------------------------- networks that run on


@pytest.mark.parametrize("family", [Srn(6), Srn(6, leak=0.5), Gru(hidden=5), Lstm(hidden=5), SrnFeedback(6)], ids=str)
def test_a_network_that_runs_on_is_one_that_reads_its_own_outputs(family):
    """Feeding what it made as the inputs of one long sequence gives the same outputs."""
    setup = Setup(family=family, task=Lorenz63(**SHORT), batch=3)
    ((_, tile),) = tiles(setup.pack([0, 1]))
    program, hypers = tile.program, tile.unit_hypers("family")
    values = program.layout.view(tile.params)
    ids = torch.arange(3).expand(2, 3)
    batch = program.task.batch(rng.Draws(tile.keys["eval"], ids, tile.step, program.dtype, "valid"))
    made = free_run(program, values, hypers, batch)
    assert made.shape == (2, 40, 3, 3)
    weights = family.weights(values, hypers)
    first = program.engine.forward(batch.inputs, weights, program.activation, batch.lengths)
    seen = family.visible(first.h[:, -1:])[:, 0] @ values["w_out"] + values["b_out"][:, None]
    inputs = torch.cat([batch.inputs, seen[:, None], made[:, :-1]], 1)
    record = program.engine.forward(inputs, weights, program.activation, torch.full_like(batch.lengths, 52))
    want = family.visible(record.h[:, 13:]) @ values["w_out"][:, None] + values["b_out"][:, None, None]
    torch.testing.assert_close(made, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("observed", [True, False])
def test_a_loaded_network_runs_on_as_in_training(observed):
    family = Gru(hidden=5) if observed else SrnFeedback(5)
    setup = Setup(family=family, task=Lorenz63(**SHORT, observed=observed), batch=3)
    pack = setup.pack([0])
    ((_, tile),) = tiles(pack)
    network = TrainedNetwork(tile.program, pack.row(0), setup.hypers())
    keys = torch.tensor([rng.key(0, 0, "test")])
    draws = rng.Draws(keys, torch.arange(3)[None], tile.step, tile.program.dtype, "valid")
    batch = tile.program.task.batch(draws)
    made = free_run(tile.program, tile.program.layout.view(tile.params), tile.unit_hypers("family"), batch)
    torch.testing.assert_close(network._generated(batch), made, rtol=1e-9, atol=1e-12)
    assert {"d_stsp", "spectrum_error"} < network.evaluate(6).keys()


def test_evaluations_report_it_whatever_their_size():
    task = Lorenz63(**SHORT)
    ((_, tile),) = tiles(Setup(task=task, family=Gru(hidden=5), batch=3).pack([0, 1]))
    few, many = evaluate(tile, tile.keys["eval"], 3), evaluate(tile, tile.keys["eval"], 12)
    for key in (DIVERGENCE, SPECTRUM):
        assert torch.equal(few.measured[key], many.measured[key])
        assert (few.measured[key] > 0).all()
    silent = Setup(task=Lorenz63(**{**SHORT, "generate": 0}), family=Gru(hidden=5), batch=3)
    ((_, tile),) = tiles(silent.pack([0, 1]))
    assert evaluate(tile, tile.keys["eval"], 3).measured == {}


def test_metrics_are_declared_where_something_is_generated():
    assert DIVERGENCE in metrics_of(load(None, ["name=t", "task=lorenz63"], check_units=False).variants)
    assert DIVERGENCE not in metrics_of(load(None, ["name=t", "task=lorenz63", "task.generate=0"]).variants)
    with pytest.raises(ConfigError, match="not all trials"):
        load(None, ["name=t", "task=lorenz63", "task.generate=0", f"objective.metric={DIVERGENCE}"])


@pytest.mark.parametrize("choice", ["family=momentum_lstm", "readout=attention"])
def test_what_takes_whole_sequences_cannot_run_on(choice):
    with pytest.raises(ConfigError) as caught:
        load(None, ["name=t", "task=lorenz63", choice])
    assert caught.value.key == "task.generate"
    load(None, ["name=t", "task=lorenz63", choice, "task.generate=0"])


@pytest.mark.parametrize("wrong", [{"length": 1000}, {"generate": 1}, {"generate": 2000}, {"dt": 0.1}])
def test_wrong_sizes_are_one_line(wrong):
    with pytest.raises(ConfigError) as caught:
        Lorenz63(**{"steps": 1000, "generate": 40, **wrong})
    assert caught.value.key == f"task.{next(iter(wrong))}"
