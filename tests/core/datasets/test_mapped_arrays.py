"""Arrays that are mapped: the same numbers as from memory, to the bit, whatever a block or a batch holds of them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.datasets import mapped_arrays, table_inputs
from rnnsweep.core.datasets.dataset_files import SPLITS
from rnnsweep.core.datasets.mapped_arrays import MappedRows, open_mapped
from rnnsweep.core.datasets.table_inputs import Moments
from rnnsweep.core.tasks import table_levels
from rnnsweep.core.tasks.table_task import TableTask
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError
from tests.core.tasks.test_table_task import whole
from tests.kit.networks import Setup, assert_same_row

COUNT, STEPS, WIDTH = 30, 7, 3


def arrays(ragged=False, kind=np.float32):
    """Sequences with a class, two numbers, a weight and a part each."""
    generator = np.random.default_rng(3)
    x = (generator.normal(size=(COUNT, STEPS, WIDTH)) * [1, 50, 1e-3] + [0, 300, 5] * np.ones(3)).astype(kind)
    found = {
        "y": np.array(["up", "down"])[np.arange(COUNT) % 2],
        "z": generator.normal(size=(COUNT, 2)),
        "w": generator.uniform(1, 2, COUNT),
        "part": np.array(["train", "train", "valid", "test", "train"])[np.arange(COUNT) % 5],
    }
    if not ragged:
        return {"x": x, **found}
    lengths = generator.integers(2, STEPS, COUNT)
    return {"values": x.reshape(-1, WIDTH)[: lengths.sum()], "lengths": lengths, **found}


def unpacked(folder, content):
    folder.mkdir()
    for name, array in content.items():
        np.save(folder / f"{name}.npy", array)
    return str(folder)


@pytest.fixture
def mapped(monkeypatch):
    """Everything is mapped from here on, in blocks that are smaller than the data."""

    def begin(block=64, most=1):
        for module in (mapped_arrays, table_inputs, table_levels):
            monkeypatch.setattr(module, "BLOCK", block)
        monkeypatch.setattr(mapped_arrays, "MOST_READ", most)

    return begin


OPTIONS = {
    "classify": {"target": ["y"]},
    "classify, given": {"target": ["y"], "split": "given", "split_by": "part"},
    "classify, group": {"target": ["y"], "split": "group", "split_by": "part", "shares": [0.4, 0.3, 0.3]},
    "classify, time": {"target": ["y"], "split": "time", "inputs": ["w", "z1"]},
    "regress": {"target": ["z"], "goal": "regress", "weights": "w", "missing": "mean"},
    "regress, raw": {"target": ["z0"], "goal": "regress", "standardise": False},
    "forecast": {"goal": "forecast", "inputs": ["w"], "target": ["z1"]},
    "forecast, pieces": {"goal": "forecast", "length": 2, "horizon": 1, "weights": "w"},
    "forecast, cut": {"goal": "forecast", "split": "time", "shares": [0.4, 0.3, 0.3]},
}
ALL_STEPS = ("forecast, pieces", "forecast, cut")


def same_batches(one, other):
    for split in SPLITS:
        left, right = whole(one, split), whole(other, split)
        for name in ("inputs", "targets", "lengths", "mask", "weights"):
            mine, plain = getattr(left, name), getattr(right, name)
            assert (mine is None) == (plain is None), name
            assert mine is None or (mine.dtype == plain.dtype and mine.shape == plain.shape), name
            assert mine is None or torch.equal(mine, plain), (split, name)


# of sequences cut in time, those of two steps would leave no part a step with a next one
EVERY = [(name, ragged) for name in OPTIONS for ragged in (False, True) if (name, ragged) != ("forecast, cut", True)]


@pytest.mark.parametrize(("name", "ragged"), EVERY)
def test_mapped_arrays_are_to_the_bit_those_of_an_npz_file_in_memory(tmp_path, mapped, name, ragged):
    options, content = OPTIONS[name], arrays(ragged)
    if name in ALL_STEPS:
        content = {key: array for key, array in content.items() if key not in ("y", "part")}
    np.savez(tmp_path / "x.npz", **dict(sorted(content.items())))
    mapped(most=1 << 25)
    plain = TableTask(str(tmp_path / "x.npz"), **options)
    assert isinstance(plain.prepared().inputs, np.ndarray)
    read = TableTask(unpacked(tmp_path / "read", content), **options)
    assert isinstance(read.prepared().inputs, np.ndarray)
    same_batches(read, plain)
    levels = plain.chance_loss, plain.chance_error, plain.worst
    mapped()
    found = TableTask(unpacked(tmp_path / "mapped", content), **options)
    assert isinstance(found.prepared().inputs, MappedRows)
    same_batches(found, plain)
    # a replayed update would go on with the first mini-batch
    assert found.asks_host
    assert not plain.asks_host
    assert (found.chance_loss, found.chance_error, found.worst) == levels
    assert found.preparation() == plain.preparation()
    assert found.output_names == plain.output_names
    assert found.samples == plain.samples


@pytest.mark.parametrize("kind", [np.uint8, np.float16, np.float64, np.int64, ">f4"])
def test_a_lone_array_of_any_numbers(tmp_path, mapped, kind):
    array = np.random.default_rng(0).integers(0, 200, (25, 6, 4)).astype(kind)
    array[:, :, 3] = (np.arange(25) % 3)[:, None]
    np.save(tmp_path / "a.npy", array)
    os.link(tmp_path / "a.npy", tmp_path / "b.npy")
    for options in ({"target": ["x3"]}, {"goal": "forecast", "length": 4}, {"goal": "forecast", "target": ["x2"]}):
        mapped(most=1 << 25)
        plain = TableTask(str(tmp_path / "a.npy"), **options)
        assert isinstance(plain.prepared().inputs, np.ndarray)
        mapped()
        found = TableTask(str(tmp_path / "b.npy"), **options)
        assert isinstance(found.prepared().inputs, MappedRows)
        same_batches(found, plain)
        assert (found.chance_loss, found.chance_error) == (plain.chance_loss, plain.chance_error)


@pytest.mark.parametrize("missing", ["zero", "mean"])
def test_gaps_are_filled_and_flagged_as_in_memory(tmp_path, mapped, missing):
    content = arrays()
    content["x"][::3, 2:4, 1] = np.nan
    options = {"target": "y", "missing": missing, "missing_flags": True, "inputs": ["x"]}
    mapped(most=1 << 25)
    plain = TableTask(unpacked(tmp_path / "read", content), **options)
    assert plain.n_inputs == WIDTH + 1
    mapped()
    same_batches(TableTask(unpacked(tmp_path / "mapped", content), **options), plain)


def test_moments_are_numpys_and_do_not_depend_on_how_rows_come(monkeypatch):
    values = np.random.default_rng(1).normal(size=(500, 3)) * [1, 1e-3, 1e4] + [0, 7, -1e4]
    values[::7, 1] = np.nan
    moments = Moments.of(values)
    # one block: numpy's own numbers, to the bit
    assert (moments.mean == np.nanmean(values, 0)).all()
    assert (moments.scale().deviation == np.nanstd(values, 0)).all()
    monkeypatch.setattr(table_inputs, "BLOCK", 99)
    blocks, pieces = Moments.of(values), Moments(3)
    for part in np.array_split(values, [1, 5, 40, 41, 300]):
        pieces.add(part)
    pieces.finish()
    assert (blocks.mean == pieces.mean).all()
    assert (blocks.scale().deviation == pieces.scale().deviation).all()
    # 500 sums of float64 in another order
    np.testing.assert_allclose(blocks.mean, np.nanmean(values, 0), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(blocks.scale().deviation, np.nanstd(values, 0), rtol=1e-13)


def test_rows_of_a_pack_are_those_alone(tmp_path, mapped):
    mapped()
    task = TableTask(unpacked(tmp_path / "x", arrays(ragged=True)), target="y", inputs=["values"])
    pack, alone = Setup(task=task).pack([3, 4]), Setup(task=task).pack([4])
    for each in (pack, alone):
        train_rung(each, 12, 1)
    assert_same_row(pack.row(1), alone.row(0))
    ids = torch.tensor([[0, 5, 5], [7, 0, 3]])
    zero = torch.zeros(2, dtype=torch.int64)
    packed = task.batch(rng.Draws(zero, ids, zero, split="train", dtype=torch.float64))
    for row in range(2):
        one = torch.zeros(1, dtype=torch.int64)
        alone = task.batch(rng.Draws(one, ids[row : row + 1], one, split="train", dtype=torch.float64))
        assert torch.equal(packed.inputs[row], alone.inputs[0])
        assert torch.equal(packed.targets[row], alone.targets[0])
        assert torch.equal(packed.lengths[row], alone.lengths[0])


def test_one_mapping_serves_a_process_until_the_file_is_written_anew(tmp_path, mapped):
    mapped()
    path = unpacked(tmp_path / "x", arrays())
    first = TableTask(path, target="y", inputs=["x"])
    second = TableTask(path, target="z", inputs=["x"], goal="regress")
    one, other = first.prepared().inputs, second.prepared().inputs
    assert one.mapped is other.mapped is open_mapped(path)
    memory = one.mapped.steps["x"]
    while memory.base is not None and not isinstance(memory, np.memmap):
        memory = memory.base
    assert isinstance(memory, np.memmap)
    plain = TableTask(path, target="y", inputs=["x"], standardise=False, split="time")
    before = whole(plain, "train").inputs
    np.save(tmp_path / "x" / "new.npy", 2 * arrays()["x"])
    # as tools write: a new file takes the place of the old one, which stays mapped where it is read
    os.replace(tmp_path / "x" / "new.npy", tmp_path / "x" / "x.npy")
    os.utime(tmp_path / "x" / "x.npy", ns=(10**18, 10**18))
    after = TableTask(path, target="y", inputs=["x"], standardise=False, split="time")
    assert torch.equal(whole(after, "train").inputs, 2 * before)
    assert torch.equal(whole(plain, "train").inputs, before)


WRONG = {
    "gap": ({}, {"x": (4, 2, 1, np.nan)}, "sequence 4, step 3, column x1", "is empty"),
    "infinite": ({}, {"x": (29, 0, 2, np.inf)}, "sequence 29, step 1, column x2", "is not finite"),
    "group": ({"group": "y"}, {}, "task.group", "is not for arrays with more than"),
    "previous": ({"missing": "previous"}, {}, "task.missing", "allowed: error, zero, mean"),
    "label": ({"goal": "label", "target": "x1"}, {}, "task.goal", "classify, regress, forecast"),
    "two classes": ({"target": "x1"}, {}, "sequence 0, step 2, column x1", "at another step of its sequence"),
    "no column": ({"target": "q"}, {}, "task.target", "has no such column"),
    "texts": ({"inputs": ["part"]}, {}, "column part", "is no number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_sequence_step_and_column(tmp_path, mapped, name):
    options, changes, *words = WRONG[name]
    content = arrays()
    for key, (i, t, d, value) in changes.items():
        content[key][i, t, d] = value
    mapped()
    with pytest.raises(ConfigError) as caught:
        TableTask(unpacked(tmp_path / "x", content), **{"target": "y", **options}).check()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_fortran_order_and_texts_per_step_are_refused(tmp_path, mapped):
    mapped()
    for name, array, words in (
        ("f", np.asfortranarray(arrays()["x"]), "Fortran"),
        ("t", np.full((COUNT, STEPS), "a"), "texts"),
    ):
        content = arrays() | ({"x": array} if name == "f" else {"t": array})
        with pytest.raises(ConfigError, match=words):
            TableTask(unpacked(tmp_path / name, content), target="y").check()


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("missing", ["error", "mean"])
def test_new_sequences_are_taken_from_the_disk(tmp_path, mapped, missing, ragged):
    content = arrays(ragged)
    trained = TableTask(unpacked(tmp_path / "trained", content), target="y", inputs=["w", "z1"], missing=missing)
    if missing == "mean":
        content["z"][3, 1] = np.nan
    plain = trained.read_new(unpacked(tmp_path / "new", content))
    mapped()
    found = trained.read_new(unpacked(tmp_path / "mapped", content))
    assert found.names == plain.names and len(found) == COUNT
    for (name, ours), (same, theirs) in zip(found, plain, strict=True):
        assert name == same and ours.tobytes() == theirs.tobytes()
    content["z"][5, 1] = np.nan if missing == "error" else np.inf
    with pytest.raises(ConfigError, match=r"column z1.*is (empty|not finite)"):
        list(trained.read_new(unpacked(tmp_path / "bad", content)))


SCRIPT = """
import resource, sys
import numpy as np, torch
from rnnsweep.core import rng
from rnnsweep.core.tasks.table_task import TableTask
from rnnsweep.core.training import train_rung

def status(key):
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(key))

limit = status("VmData") + (160 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
task = TableTask(sys.argv[1], goal="forecast", length=100, split="time")
task.check()
zero = torch.zeros(2, dtype=torch.int64)
ids = torch.tensor([[0, 9], [task.samples - 1, 3]])
batch = task.batch(rng.Draws(zero, ids, zero, split="train"))
assert torch.isfinite(batch.inputs).all()
try:
    np.load(sys.argv[1])
except MemoryError:
    print("held", task.samples)
"""


def test_a_file_that_is_larger_than_the_memory_a_process_may_have(tmp_path):
    steps, width = 1 << 17, 4
    path = tmp_path / "large.npy"
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(72, steps, width))
    generator = np.random.default_rng(0)
    for sequence in range(len(array)):
        array[sequence] = generator.integers(0, 9, (steps, width))
    array.flush()
    assert path.stat().st_size > 160 << 20
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    # 70 % of each sequence's steps, of which the last has no next one, in pieces of 100
    pieces = -(-(round(steps * 0.7) - 1) // 100)
    assert done.stdout.split() == ["held", str(72 * pieces)]
