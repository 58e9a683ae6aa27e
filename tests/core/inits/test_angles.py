"""Cayley, Henaff and chrono against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from rnnsweep.core import rng
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.orthogonal_maps import cayley, cayley_blocks
from rnnsweep.core.families.scornn import Scornn
from rnnsweep.core.inits.cayley import Cayley
from rnnsweep.core.inits.chrono import Chrono
from rnnsweep.core.inits.henaff import Henaff
from rnnsweep.core.types import ParameterSpec

ALARM = 1e-6
"""Probability of a false alarm of one statistical check over the choice of keys."""
P = 4
KEYS = torch.tensor([rng.key(7, p, "init") for p in range(P)])
CASES = [(Cayley(), 0.0, math.pi / 2), (Henaff(), -math.pi, math.pi)]


def drawn(init, specs):
    rows = {name: torch.full((P,), float(getattr(init, name)), dtype=torch.float64) for name in init.rows}
    return init.draw(specs, KEYS, rows, 1.5)


@pytest.mark.parametrize(("init", "low", "high"), CASES)
@pytest.mark.parametrize("hidden", [60, 61])
def test_recurrent_matrices_are_rotations_by_uniform_angles(init, low, high, hidden):
    w = drawn(init, [ParameterSpec("w_rec", (hidden, hidden), "recurrent")])["w_rec"]
    eye = torch.eye(hidden, dtype=torch.float64)
    torch.testing.assert_close(w.transpose(1, 2) @ w, eye.expand(P, -1, -1), rtol=0, atol=1e-15)
    even = torch.arange(0, hidden - 1, 2)
    angles = torch.atan2(w[:, even + 1, even], w[:, even, even]).flatten()
    assert stats.kstest(angles.numpy(), stats.uniform(low, high - low).cdf).pvalue > ALARM
    modulus = torch.linalg.eigvals(w).abs()
    torch.testing.assert_close(modulus, torch.ones_like(modulus), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("init", "low", "high"), CASES)
@pytest.mark.parametrize("hidden", [16, 17])
def test_the_cayley_map_of_a_skew_parameter_is_the_rotation_of_a_plain_one(init, low, high, hidden):
    del low, high
    specs = [ParameterSpec("w", (hidden, hidden), role) for role in ("skew", "recurrent")]
    stored, turned = (drawn(init, [spec])["w"] for spec in specs)
    ones = torch.ones(P, hidden, dtype=torch.float64)
    # tan near pi/2 makes entries of size 1 / eps': the map's error grows with them
    torch.testing.assert_close(cayley(stored, ones), turned, rtol=0, atol=1e-11)


def test_gates_are_rotations_block_by_block():
    w = drawn(Cayley(), [ParameterSpec("w_rec", (8, 32), "recurrent")])["w_rec"]
    blocks = w.unflatten(2, (4, 8)).movedim(2, 1)
    eye = torch.eye(8, dtype=torch.float64).expand(P, 4, -1, -1)
    torch.testing.assert_close(blocks.transpose(-1, -2) @ blocks, eye, rtol=0, atol=1e-15)
    assert not torch.equal(blocks[:, 0], blocks[:, 1])


def test_cayley_is_the_orthogonal_families_own_default():
    family = Scornn(hidden=10)
    values = drawn(Cayley(), family.parameters(2, 1))
    assert torch.equal(values["a_skew"], cayley_blocks(KEYS, "a_skew", 10))
    assert family.initial(values, family.parameters(2, 1), KEYS) == {}


def test_input_weights_lie_within_their_bound():
    values = drawn(Henaff(bound=0.3), [ParameterSpec("w_in", (50, 40), "input")])["w_in"]
    assert stats.kstest(values.flatten().numpy(), stats.uniform(-0.3, 0.6).cdf).pvalue > ALARM


def test_chrono_biases_of_an_lstm():
    family, H = Lstm(hidden=500), 500
    values = drawn(Chrono(longest=50.0), family.parameters(2, 1))
    write, keep, new, out = values["b"].split(H, 1)
    assert stats.kstest(keep.exp().flatten().numpy(), stats.uniform(1, 48).cdf).pvalue > ALARM
    assert torch.equal(write, -keep)
    assert float(new.abs().max() + out.abs().max()) == 0
    assert family.initial(values, family.parameters(2, 1), KEYS) == {}, "the forget bias does not overwrite it"


def test_chrono_biases_of_a_gru():
    values = drawn(Chrono(), Gru(hidden=5).parameters(2, 1))
    reset, keep, new = values["b"].split(5, 1)
    assert float(keep.min()) >= 0 < float(keep.max()) <= math.log(99)
    assert float(reset.abs().max() + new.abs().max()) == 0


def test_chrono_follows_each_rows_own_time():
    specs = Lstm(hidden=4).parameters(2, 1)
    rows = {"longest": torch.tensor([3.0, 10.0, 100.0, 1000.0], dtype=torch.float64)}
    keep = Chrono().draw(specs, KEYS, rows, 1.0)["b"][:, 4:8]
    assert bool((keep.exp().amax(1) <= rows["longest"] - 1).all())
    assert bool((keep.exp().amin(1) >= 1).all())
