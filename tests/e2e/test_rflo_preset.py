"""The preset of RFLO is the published rule: its first updates against NumPy, and it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnnsweep.app.config.load import load
from rnnsweep.app.config.point import resolve_point
from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
from rnnsweep.core.learners.rflo import Rflo
from rnnsweep.core.pack import Member, Pack, Streams
from rnnsweep.core.training import tiles, train_rung
from rnnsweep.core.types import Capability

T, N, TAU, RATE = 100, 50, 10, 0.03
REPLICAS = (0, 1)


@pytest.fixture
def pack() -> Pack:
    """The preset at the notebook's rate, in float64."""
    config = load("rflo_periodic", ["dtype=float64", "engine=reference"])
    resolved = resolve_point(config.variants, {"optimizer.lr": RATE})
    units = build_units(resolved)
    pack = Pack(build_program(resolved, units, torch.device("cpu")))
    members = [Member(row, 10_000, row_hypers(units), Streams(0, row)) for row in REPLICAS]
    pack.join([(member, initial_state(pack.program, units, member.streams)) for member in members])
    return pack


def trial(w_rec: np.ndarray, w_out: np.ndarray, back: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """One trial of the notebook, weights as W[to, from]: the new weights and the loss, half the mean squared error.

    The notebook's last step of the period, which its sums leave out, counts here; f' is exact, where it has a guard
    against overflow.
    """
    t = np.arange(1, T + 1)
    wave = sum(a * np.sin(2 * np.pi * k * t / T) for k, a in ((1, 1.0), (2, 0.5), (4, 0.25)))
    h, p = np.full(N, 0.1), np.zeros((N, N))
    dw_rec, dw_out, loss = np.zeros_like(w_rec), np.zeros_like(w_out), 0.0
    for want in wave:
        u = w_rec @ h
        p = (1 - 1 / TAU) * p + np.outer(1 - np.tanh(u) ** 2, h) / TAU
        h = h + (np.tanh(u) - h) / TAU
        error = want - w_out @ h
        dw_out += RATE / T * np.outer(error, h)
        dw_rec += RATE / T * (back @ error)[:, None] * p
        loss += float(error[0] ** 2) / (2 * T)
    return w_rec + dw_rec, w_out + dw_out, loss


def test_the_first_updates_are_those_of_the_notebook(pack):
    program = pack.program
    assert {spec.name for spec in program.layout.specs if spec.size} == {"w_rec", "w_out"}, "no biases, no inputs"
    assert Capability.SIMPLE in program.family.capabilities
    (_, tile), *_ = tiles(pack)
    assert isinstance(program.learner, Rflo)
    start = {name: value.clone() for name, value in program.layout.view(pack.params).items()}
    feedback = program.learner.matrix(start["w_out"], tile.learner_own())  # P O H
    losses = np.zeros((4, len(REPLICAS)))
    wanted = []
    for row in REPLICAS:
        w_rec, w_out = start["w_rec"][row].T.numpy(), start["w_out"][row].T.numpy()
        for update in range(4):
            w_rec, w_out, losses[update, row] = trial(w_rec, w_out, feedback[row].T.numpy())
        wanted.append((w_rec.T, w_out.T))
    for update in range(4):
        found = [row["train/loss"] for row in train_rung(pack, 1, 1)]
        np.testing.assert_allclose(found, losses[update], rtol=1e-12)
    ours = program.layout.view(pack.params)
    for row, (w_rec, w_out) in enumerate(wanted):
        np.testing.assert_allclose(ours["w_rec"][row].numpy(), w_rec, rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(ours["w_out"][row].numpy(), w_out, rtol=1e-11, atol=1e-15)
        assert not np.allclose(w_rec, start["w_rec"][row].numpy(), atol=1e-6), "the loop moves"


def test_the_first_weights_are_those_of_the_notebook(pack):
    values = pack.program.layout.view(pack.params)
    bound = 0.1 / np.sqrt(N)
    assert float(values["w_out"].abs().max()) <= bound * 1.001
    # 100 uniform draws: the largest is below .8 of the bound with probability .8^100 = 2e-10
    assert float(values["w_out"].abs().max()) > 0.8 * bound
    # 5 000 Gaussian draws: the deviation's own is 1 % of it; 5 sigma, false alarm 6e-7
    assert float(values["w_rec"].std()) == pytest.approx(1.5 / np.sqrt(N), rel=0.05)


def test_it_learns(pack):
    """From the wave's own variance, which the best constant scores, to less than half of it."""
    assert pack.program.task.chance_loss == pytest.approx(21 / 64)
    losses = [row["valid/loss"] for row in train_rung(pack, 45, 1)]
    assert max(losses) < 21 / 64 / 2
