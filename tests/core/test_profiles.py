"""Which error profiles a row keeps: whenever it ends, one lies near the middle of what it trained."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rnnsweep.core.checkpoint import CheckpointStore
from rnnsweep.core.training import _keep_profiles
from tests.kit.networks import Setup


def train(rungs: int, pack=None):
    """A row that has done so many rungs of 10 updates; the profile of each rung is its number."""
    pack = pack or Setup(controllers={}).pack([0])
    for rung in range(1, rungs + 1):
        pack.step[0] = 10 * rung
        _keep_profiles(pack, slice(0, 1), torch.full((1, 1, 4), float(rung)))
    return pack


@pytest.mark.parametrize("rungs", [*range(1, 40), 100, 255, 256, 257])
def test_start_middle_and_end_of_any_training(rungs):
    steps, kept = train(rungs).profiles[0]
    assert kept[:, 0].mul(10).tolist() == list(steps)  # each profile beside its own update
    assert (steps[0], steps[-1]) == (10, 10 * rungs)
    assert len(steps) <= 4
    assert list(steps) == sorted(steps)
    if rungs >= 3:
        near = min(steps[1:-1], key=lambda step: abs(step / (10 * rungs) - 0.5))
        assert 0.33 <= near / (10 * rungs) <= 0.67


def test_kept_through_a_checkpoint(tmp_path):
    pack = train(9)
    state = dataclasses.replace(pack.row(0), rung=9)
    store = CheckpointStore(str(tmp_path))
    store.save(store.folder(0, 0, "token"), state, {})
    again = store.load(store.folder(0, 0, "token"), 9).state
    assert again.profile_steps == state.profile_steps == (10, 40, 80, 90)
    assert torch.equal(again.profile, state.profile)
