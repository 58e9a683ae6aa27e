"""Effective memory against leaky integrators, whose half-life is ln 2 / -ln a."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rnnsweep.core.analyses.effective_memory import EffectiveMemory, half_life, response, swapped
from rnnsweep.core.families.srn import Srn
from tests.kit.networks import Setup
from tests.kit.trained import linear, rows_of

FACTORS = torch.tensor([0.9, 0.5, 1.0, 1.1], dtype=torch.float64)


def test_leaky_integrators():
    step = linear(FACTORS[:, None, None] * torch.eye(2))
    drives = torch.randn(4, 12, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    states = [torch.zeros(4, 3, 2, dtype=torch.float64)]
    for t in range(12):
        states.append(step(states[-1], drives[:, t]))
    states, lags = torch.stack(states, 1), [0, 1, 3, 8, 11]
    kicked = states[:, [12 - lag for lag in lags]] + 0.3
    expected = FACTORS[:, None] ** torch.tensor(lags)
    torch.testing.assert_close(response(step, states, drives, lags, kicked), expected, rtol=1e-10, atol=0)
    left = response(step, states, drives, lags, swapped(step, states, drives, lags))
    torch.testing.assert_close(left, expected, rtol=1e-9, atol=0)
    half = half_life(left, lags).tolist()
    assert half == pytest.approx([math.log(2) / -math.log(0.9), 1.0, math.inf, math.inf], rel=1e-6)


def test_equal_inputs_say_nothing():
    step = linear(0.5 * torch.eye(2)[None].double())
    drives, states = torch.ones(1, 4, 3, 2), torch.zeros(1, 5, 3, 2)
    left = response(step, states, drives, [0, 2], states[:, [4, 2]])
    assert left.isnan().all()
    assert half_life(left, [0, 2]).isnan().all()


def test_tables_of_a_network():
    H = 4
    rows = rows_of(Setup(family=Srn(hidden=H, activation="identity")), (0, 1), w_rec=0.8 * torch.eye(H))
    tables = EffectiveMemory(sequences=6, lags=30).measure(rows)
    found = tables["responses"]
    known = ~np.isnan(found["response"])
    assert found["response"][known] == pytest.approx(0.8 ** found["lag"][known], rel=1e-9)
    assert set(found["what"]) == {"state", "input"}
    assert tables["summary"]["half_life"] == pytest.approx(math.log(0.5) / math.log(0.8), rel=1e-6)
