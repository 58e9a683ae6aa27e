"""Principal components against numpy's singular values, and where fixed points lie among them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnnsweep.core.analyses.portrait import Portrait, principal_axes
from rnnsweep.core.families.srn import Srn
from tests.kit.networks import Setup
from tests.kit.trained import rows_of


def test_axes_and_shares_are_those_of_the_centred_states():
    states = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    states = states * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.1]) + 7
    centre, axes, shares = principal_axes(states, 3)
    for row in range(2):
        x = states[row].numpy()
        _, sizes, lines = np.linalg.svd(x - x.mean(0), full_matrices=False)
        assert centre[row].numpy() == pytest.approx(x.mean(0), rel=1e-12)
        assert shares[row].numpy() == pytest.approx(sizes**2 / (sizes**2).sum(), abs=1e-12)
        assert np.abs((axes[row].numpy() * lines[:3]).sum(1)) == pytest.approx(np.ones(3), abs=1e-10)
        largest = np.abs(axes[row].numpy()).argmax(1)
        assert (axes[row].numpy()[np.arange(3), largest] > 0).all()


def test_a_row_that_is_not_finite_gives_nan():
    states = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    states[1, 2, 0] = torch.nan
    centre, _, shares = principal_axes(states, 2)
    assert centre[0].isfinite().all() and centre[1].isnan().all() and shares[1].isnan().all()


def test_trajectories_and_the_fixed_point_lie_in_one_picture():
    """Without recurrence the fixed point is tanh(b), where a step without input leads."""
    rows = rows_of(Setup(family=Srn(hidden=4)), w_rec=torch.zeros(4, 4))
    tables = Portrait(sequences=5, starts=3).measure(rows)
    points, lines = tables["fixed_points"], tables["trajectories"]
    assert points["row"].tolist() == [0, 1, 2]
    states = rows.loop.states(rows.loop.drives(rows.batch(5).inputs)).flatten(1, 2)
    centre, axes, _ = principal_axes(states, 3)
    expected = ((torch.tanh(rows.values["b"]) - centre)[:, None] @ axes.mT)[:, 0]
    for k in range(3):
        assert points[f"pc{k + 1}"] == pytest.approx(expected[:, k].numpy(), abs=1e-10)
    assert set(lines["target"]) <= {0, 1, 2, 3}
    assert len(lines["row"]) == states.shape[0] * states.shape[1]
    assert not len(Portrait(sequences=5, starts=0).measure(rows)["fixed_points"]["row"])
