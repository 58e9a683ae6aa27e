"""A trained network for inference: what it takes, and what it refuses."""

from __future__ import annotations

import pytest
import torch

import rnnsweep
from rnnsweep.errors import CheckpointError, ConfigError, RnnsweepError
from tests.kit.tiny import TRAINING


@pytest.fixture(scope="module")
def network():
    return rnnsweep.train(TRAINING).load()


def inputs(steps: int, width: int = 6) -> torch.Tensor:
    return torch.rand(steps, 3, width, generator=torch.Generator().manual_seed(0))


def test_sequences_of_any_length_alone_or_together(network):
    for steps in (1, 10, 23):
        together = network(inputs(steps))
        alone = torch.cat([network(inputs(steps)[:, index : index + 1]) for index in range(3)])
        assert together.shape == (3, 4)
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(10, 3, 5), (10, 3, 7), (10, 6), (0, 3, 6)])
def test_a_wrong_shape_names_the_right_one(network, shape):
    with pytest.raises(ConfigError, match=r"\[T, B, 6\]") as error:
        network(torch.zeros(shape))
    assert str(list(shape)) in str(error.value)


def test_a_trace_is_refused_for_it_would_be_wrong_at_another_length(network):
    with pytest.raises(RnnsweepError, match="any other length"):
        torch.jit.trace(network, inputs(10), check_trace=False)


def test_a_trial_without_checkpoints_says_so(tiny, tmp_path):
    import dataclasses
    import shutil

    root, sweep = tiny
    shutil.copytree(root, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "checkpoints")
    place = dataclasses.replace(sweep.place, root=tmp_path / "copy", ledger=f"sqlite:///{tmp_path / 'copy/ledger.db'}")
    with pytest.raises(CheckpointError, match="no readable checkpoint"):
        dataclasses.replace(sweep, place=place).trial(0).load()


def test_a_checkpoint_of_another_version_of_the_family_says_so():
    from rnnsweep.core.checkpoint import CheckpointStore

    trained = rnnsweep.train(TRAINING)
    store = CheckpointStore(str(trained.folder / "checkpoints"))
    (path,) = {manifest.parent for manifest in trained.folder.rglob("*.json") if "checkpoints" in manifest.parts}
    saved = store.newest([str(path)])
    del saved.state.params["b"]
    for rung in store.rungs(str(path)):
        saved.state.rung = rung
        store.save(str(path), saved.state, saved.extra)
    with pytest.raises(CheckpointError, match="lacks b; another version"):
        trained.load()
