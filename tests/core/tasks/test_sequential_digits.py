"""Sequential digits against scikit-learn's own arrays."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from rnnsweep.core import rng
from rnnsweep.core.evaluation import evaluate
from rnnsweep.core.tasks.sequential_digits import SequentialDigits
from rnnsweep.core.training import tiles
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup

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


def test_idx_files_are_read_pixel_by_pixel(tmp_path):
    """Pictures of 28 x 28, written here byte by byte."""
    random = np.random.default_rng(0)
    pictures = {"train": random.integers(0, 256, (12, 28, 28)), "t10k": random.integers(0, 256, (4, 28, 28))}
    labels = {name: np.arange(len(images)) % 10 for name, images in pictures.items()}
    for name, images in pictures.items():
        for kind, array in (("images", images), ("labels", labels[name])):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
            (tmp_path / f"{name}-{kind}-idx{array.ndim}-ubyte").write_bytes(head + array.astype(np.uint8).tobytes())
    task = SequentialDigits(source="idx", path=str(tmp_path))
    assert (task.max_length, task.samples, task.samples_of("valid"), task.samples_of("test")) == (784, 10, 2, 4)
    for split, source, cut in (
        ("train", "train", slice(0, 10)),
        ("valid", "train", slice(10, 12)),
        ("test", "t10k", slice(4)),
    ):
        ids = torch.arange(cut.stop - (cut.start or 0))[None]
        batch = task.batch(rng.Draws(torch.tensor([0]), ids, torch.tensor([0]), torch.float64, split=split))
        wanted = pictures[source][cut].reshape(-1, 784).T / 255
        assert np.allclose(batch.inputs[0, :, :, 0].numpy(), wanted, rtol=2.0**-24, atol=0)
        assert np.array_equal(batch.targets[0].numpy(), labels[source][cut])
    mixed = SequentialDigits(source="idx", path=str(tmp_path), permute=True)
    order = rng.permutations(torch.tensor([rng.key(0, 0, "sequential digits, pixels")]), 784, 0)[0]
    made = rng.Draws(torch.tensor([0]), torch.arange(4)[None], torch.tensor([0]), split="test")
    assert torch.equal(mixed.batch(made).inputs, task.batch(made).inputs[:, order])
    assert task.chance_loss == pytest.approx(math.log(10))
    assert task.chance_error == pytest.approx(0.9)


def test_a_path_needs_its_source(tmp_path):
    with pytest.raises(ConfigError, match=r"task\.source=idx") as caught:
        SequentialDigits(path=str(tmp_path))
    assert caught.value.key == "task.path"
    with pytest.raises(ConfigError, match="has no train-images"):
        SequentialDigits(source="idx", path=str(tmp_path))


def test_no_validation_picture_counts_twice():
    """Error against a plain count over the 250 pictures; 500 were asked for, in batches that do not divide 250."""
    pack = Setup(task=SequentialDigits(), batch=8, eval_size=500).pack([0])
    (_, tile), *_ = tiles(pack)
    scores = evaluate(tile, tile.keys["eval"])
    loss, error = scores.loss, scores.error
    program = pack.program
    values = program.layout.view(pack.params)
    pixels, classes = part(SequentialDigits(), "valid")
    h = torch.zeros(250, 12, dtype=torch.float64)
    for u in torch.from_numpy(pixels).double().T:
        h = torch.tanh(h @ values["w_rec"][0] + u[:, None] * values["w_in"][0] + values["b"][0])
    logits = h @ values["w_out"][0] + values["b_out"][0]
    classes = torch.from_numpy(classes)
    assert float(error) == float((logits.argmax(1) != classes).double().mean())
    assert float(loss) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, classes)), rel=1e-12)
