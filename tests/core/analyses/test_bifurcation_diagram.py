"""Attractors against the logistic map's windows, and a network that is at its fixed point at once."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core.analyses.bifurcation_diagram import BifurcationDiagram, after, kept_states, periods
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.readouts.attention import Attention
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup
from tests.kit.trained import logistic, rows_of

WINDOWS = {2.8: 1, 3.2: 2, 3.5: 4, 3.83: 3, 4.0: 0}
"""Rate -> period of the logistic map: period doubling, the window of period 3, chaos."""


def test_periods_of_the_logistic_map():
    step = logistic(list(WINDOWS))
    start, drive = torch.full((5, 2, 1), 0.3), torch.zeros(5, 2, 1)
    start[:, 1] = 0.71
    states = kept_states(step, after(step, start, drive, 1000), drive, 64)
    assert periods(states, 16, 1e-6).tolist() == [[period] * 2 for period in WINDOWS.values()]
    assert states[0].flatten().tolist() == pytest.approx([1 - 1 / 2.8] * 128, abs=1e-12)
    r = 3.2  # the cycle: (r + 1 +- sqrt((r - 3)(r + 1))) / 2r
    root = math.sqrt((r - 3) * (r + 1))
    assert sorted(states[1, :2, 0, 0].tolist()) == pytest.approx([(r + 1 - root) / (2 * r), (r + 1 + root) / (2 * r)])


def test_states_that_are_not_finite_have_no_period():
    assert periods(torch.full((1, 8, 1, 2), math.nan), 3, 1e-6).tolist() == [[0]]


def test_a_network_without_recurrence_is_at_its_fixed_point():
    rows = rows_of(Setup(family=Srn(hidden=4)), w_rec=torch.zeros(4, 4))
    tables = BifurcationDiagram(sequences=2, transient=3, samples=4, steps=4).measure(rows)
    assert set(tables["summary"]["period"]) == {1}
    assert set(tables["summary"]["exponent"]) == {-math.inf}
    expected = torch.tanh(rows.values["b"])[:, None] @ rows.values["w_out"] + rows.values["b_out"][:, None]
    assert tables["samples"]["value"].reshape(3, 8) == pytest.approx(expected[:, :, 0].expand(-1, 8).numpy(), rel=1e-12)


def test_an_output_must_be_one_of_a_state():
    rows = rows_of(Setup(readout=Attention(heads=2)))
    with pytest.raises(ConfigError, match="looks back over all steps"):
        BifurcationDiagram().check_rows(rows)
    small = BifurcationDiagram(observe="rms", sequences=2, transient=1, samples=2, steps=1)
    small.check_rows(rows)
    assert (small.measure(rows)["samples"]["value"] >= 0).all()
