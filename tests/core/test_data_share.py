"""A share of the training set: which samples are drawn from it, and which config may ask for one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.build import data_share
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.pack import Pack
from rnnsweep.core.program import Program
from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.tile import tiles, train_batch
from rnnsweep.core.types import Batch
from tests.kit.networks import Setup

SAMPLES = 40


@dataclass(frozen=True)
class Noted(TemporalOrder):
    """A task that notes which ids it was asked for."""

    seen: list[torch.Tensor] = field(default_factory=list, compare=False)

    def batch(self, draws: Draws) -> Batch:
        self.seen.append(draws.ids)
        return super().batch(draws)


def ids_of(share: float, replicas: int = 2, updates: int = 200) -> torch.Tensor:
    """Ids of so many mini-batches, [updates, P, B]."""
    task = Noted(length=12, train_size=SAMPLES)
    setup = Setup(family=Srn(hidden=3), task=task)
    program = replace(setup.program(), data_share=share)
    pack = Pack(program)
    pack.join([(setup.member(r), setup.state(program, r)) for r in range(replicas)])
    ((_, tile),) = tiles(pack)
    for _ in range(updates):
        train_batch(tile)
        tile.step += 1
    return torch.stack(task.seen)


def test_all_rows_draw_from_the_same_samples_and_a_smaller_share_lies_within_a_larger() -> None:
    some, more, whole = (ids_of(share) for share in (0.1, 0.5, 1.0))
    # 2 rows x 200 x 5 draws: a sample of 20 is missed with probability 20 (19 / 20)^2000 < 1e-43
    sets = [set(ids.flatten().tolist()) for ids in (some, more, whole)]
    assert [len(each) for each in sets] == [4, 20, SAMPLES]
    assert sets[0] < sets[1] < sets[2] == set(range(SAMPLES))
    assert set(some[:, 0].flatten().tolist()) == set(some[:, 1].flatten().tolist())
    assert sets[1] != set(range(20)), "in the order of a file, which may be sorted by class"


def test_the_whole_set_is_drawn_from_as_it_always_was() -> None:
    keys = torch.tensor([rng.key(7, replica, "order") for replica in range(2)])
    expected = torch.stack([rng.sample_ids(keys, torch.full((2,), step), 5, SAMPLES) for step in range(3)])
    assert torch.equal(ids_of(1.0, updates=3), expected)


def test_at_least_one_sample_is_left_and_endless_sequences_have_no_share() -> None:
    assert len(set(ids_of(1e-9, updates=3).flatten().tolist())) == 1
    endless: Program = replace(Setup().program(), data_share=0.5)
    assert endless.chosen is None


@pytest.mark.parametrize(("training", "share"), [({}, 1.0), ({"data_share": 0.3}, 0.3)])
def test_configs_of_before_take_all(training: dict[str, Any], share: float) -> None:
    assert data_share({"training": training}) == share
