"""Sequential digits against scikit-learn's own arrays."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from rnnsweep.core import rng
from rnnsweep.core.tasks.sequential_digits import SequentialDigits
from rnnsweep.errors import ConfigError

SIZES = {"train": 1297, "valid": 250, "test": 250}


def part(task, split):
    """Every picture of a part, [n, 64], and its class."""
    keys = torch.tensor([rng.key(0, 0, split)])
    batch = task.batch(rng.Draws(keys, torch.arange(SIZES[split])[None], torch.tensor([0]), split=split))
    return batch.inputs[0, :, :, 0].T.numpy(), batch.targets[0].numpy()


def as_set(pixels, classes):
    return sorted(map(tuple, np.column_stack((pixels, classes)).tolist()))


def test_the_parts_are_all_the_pictures_each_once():
    parts = [part(SequentialDigits(), split) for split in SIZES]
    pixels, classes = load_digits(return_X_y=True)
    together = as_set(np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]))
    assert together == as_set(pixels / 16, classes)


def test_all_classes_are_in_every_part_and_rows_share_the_pictures():
    for split in SIZES:
        assert len(np.unique(part(SequentialDigits(), split)[1])) == 10
    ids = torch.arange(5)[None].repeat(3, 1)
    batch = SequentialDigits().batch(rng.Draws(torch.arange(3), ids, torch.arange(3)))
    assert torch.equal(batch.inputs[0], batch.inputs[2])


def test_permutation_is_fixed_and_the_same_for_all_pictures():
    plain, classes = part(SequentialDigits(), "test")
    mixed, same_classes = part(SequentialDigits(permute=True), "test")
    assert np.array_equal(classes, same_classes)
    order = rng.permutations(torch.tensor([rng.key(0, 0, "sequential digits, pixels")]), 64, 0)[0].numpy()
    assert np.array_equal(mixed, plain[:, order])
    assert sorted(order) == list(range(64))
    assert not np.array_equal(mixed, part(SequentialDigits(permute=True, permutation_seed=1), "test")[0])


def test_chance_levels_are_those_of_the_training_classes():
    _, classes = part(SequentialDigits(), "train")
    shares = np.bincount(classes) / len(classes)
    assert SequentialDigits().chance_error == pytest.approx(1 - shares.max())
    assert SequentialDigits().chance_loss == pytest.approx(-(shares * np.log(shares)).sum())
    assert SequentialDigits().chance_loss <= math.log(10)


def test_wrong_fields_are_refused_by_name():
    for field, value in [("source", "mnist"), ("permute", "maybe"), ("permutation_seed", -1)]:
        with pytest.raises(ConfigError) as caught:
            SequentialDigits(**{field: value})
        assert caught.value.key == f"task.{field}"
