"""Clipping: strict threshold, joint norm, non-finite policies, huge norms."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core import numerics
from rnnsweep.core.controllers.base import Tally
from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.families.lipschitz import Lipschitz
from rnnsweep.core.training import tiles, update
from rnnsweep.core.types import RowStatus
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, context_of


def clipped(gradients: torch.Tensor, threshold: float, policy: str = "skip"):
    clip = GlobalNormClip(threshold, policy)
    pack = Setup(controllers={"clip": clip}, dtype=gradients.dtype).pack([0], controllers__clip__threshold=threshold)
    _, context = context_of(pack, "controllers.clip")
    full = torch.zeros_like(context.gradients)
    full[0, : gradients.shape[0]] = gradients
    context.gradients = full
    return clip.transform(context, numerics.row_norm(full)), context


def test_threshold_is_strict_and_a_gradient_at_it_is_untouched():
    gradient = torch.tensor([3.0, 4.0], dtype=torch.float64)  # norm 5
    result, context = clipped(gradient, 5.0)
    assert torch.equal(result.gradients, context.gradients)
    result, _ = clipped(gradient, math.nextafter(5.0, 0.0))
    assert float(numerics.row_norm(result.gradients)) == pytest.approx(5.0, rel=1e-15)
    result, _ = clipped(gradient, 2.5)
    assert result.gradients[0, :2].tolist() == [1.5, 2.0]


def test_infinite_threshold_is_off_bit_for_bit():
    gradient = torch.tensor([1e300, -2.0], dtype=torch.float64)
    result, context = clipped(gradient, math.inf)
    assert torch.equal(result.gradients, context.gradients)


def test_norms_of_1e30_in_float32():
    gradient = torch.tensor([3e30, 4e30], dtype=torch.float32)
    result, _ = clipped(gradient, 1.0)
    assert result.gradients[0, :2].tolist() == pytest.approx([0.6, 0.8], rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_skip_drops_the_update(bad):
    result, _ = clipped(torch.tensor([bad, 1.0], dtype=torch.float64), 1.0)
    assert result.drop.tolist() == [True]
    assert result.diverged is None


def test_diverge_freezes_the_row():
    result, _ = clipped(torch.tensor([math.nan, 1.0], dtype=torch.float64), 1.0, "diverge")
    assert result.diverged.tolist() == [True]


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e11])
def test_shrink_pulls_the_recurrent_matrix_to_zero(bad):
    result, context = clipped(torch.tensor([bad, 1.0], dtype=torch.float64), 1.0, "shrink")
    parts = context.layout.view(result.gradients)
    assert torch.equal(parts["w_rec"], 0.02 * context.values["w_rec"])
    assert all(float(part.abs().sum()) == 0 for name, part in parts.items() if name != "w_rec")
    assert result.drop is None


def test_the_joint_norm_includes_the_regulariser():
    """With Omega on, the clipped gradient has the threshold's norm over all parameters together."""
    omega, clip = Omega(50.0), GlobalNormClip(0.01)
    pack = Setup(controllers={"omega": omega, "clip": clip}).pack([0])
    _, context = context_of(pack, "controllers.omega")
    plain = context.gradients.clone()
    context.gradients = omega.add(context)
    assert not torch.equal(plain, context.gradients)
    context.hypers = {"threshold": torch.tensor([0.01], dtype=torch.float64)}
    result = clip.transform(context, numerics.row_norm(context.gradients))
    assert float(result.gradients.norm()) == pytest.approx(0.01, rel=1e-12)
    assert torch.allclose(result.gradients / 0.01, context.gradients / context.gradients.norm(), atol=1e-12)


def test_a_row_with_non_finite_loss_is_frozen_and_its_neighbour_is_not():
    setup = Setup()
    pack, alone = setup.pack([0, 1]), setup.pack([1])
    pack.params[0, 0] = math.inf
    (_, tile), *_ = tiles(pack)
    (_, lone), *_ = tiles(alone)
    before = pack.params[0].clone()
    for _ in range(3):
        update(tile, Tally())
        update(lone, Tally())
    assert pack.status.tolist() == [RowStatus.DIVERGED, RowStatus.ACTIVE]
    assert pack.diverged_at.tolist()[0] == 1
    assert torch.equal(pack.params[0], before)
    assert torch.equal(pack.params[1], alone.params[0])


def test_shrink_pulls_every_recurrent_weight_and_nothing_else():
    clip = GlobalNormClip(1.0, "shrink")
    pack = Setup(family=Lipschitz(hidden=6), controllers={"clip": clip}).pack([0, 1])
    _, context = context_of(pack, "controllers.clip")
    given = context.gradients.clone()
    context.gradients[0, 3] = math.nan
    result = clip.transform(context, numerics.row_norm(context.gradients))
    found = context.layout.view(result.gradients)
    for name, part in found.items():
        pulled = 0.02 * context.values[name][0] if name in ("m_a", "m_w") else torch.zeros_like(part[0])
        assert torch.equal(part[0], pulled), name
    norm = float(given[1].norm())
    torch.testing.assert_close(result.gradients[1], given[1] * min(1.0, 1.0 / norm), rtol=1e-12, atol=0)


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan])
def test_wrong_thresholds_are_refused(threshold):
    with pytest.raises(ConfigError, match=r"controllers\.clip\.threshold"):
        GlobalNormClip(threshold, unit_name="clip")
