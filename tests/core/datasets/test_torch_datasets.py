"""A user's own `torch.utils.data.Dataset` as sequences: what it holds arrives, what is wrong is said with the item."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from rnnsweep.core import rng
from rnnsweep.core.datasets.dataset_files import SPLITS
from rnnsweep.core.datasets.torch_datasets import DatasetSource, digest, read_dataset
from rnnsweep.core.tasks.table_task import TableTask
from rnnsweep.errors import ConfigError

HERE = __name__


class Made(Dataset):
    """(x, y) of different lengths; `kind` says what y is."""

    def __init__(self, kind: str = "class", count: int = 30, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.items = []
        for index in range(count):
            steps = 3 + index % 4
            x = torch.randn(steps, 2, generator=generator, dtype=torch.float32)
            y = {
                "class": index % 3,
                "number": 10.0 * x.sum(),
                "numbers": torch.stack([x.sum(), x[:, 0].sum(), x[-1, 1]]),
                "labels": torch.tensor([index % 2, index % 3 == 0], dtype=torch.bool),
                "steps": (x[:, 0] > 0).long(),
                "none": None,
            }[kind]
            self.items.append((x, y) if kind != "none" else x)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int):
        return self.items[index]


class Named(Made):
    """The same as dicts, in brain floats, with a name for each item's part."""

    def __getitem__(self, index: int):
        x, y = self.items[index]
        part = ("train", "train", "train", "valid", "test")[index % 5]
        return {"signal": x.to(torch.bfloat16), "speaker": f"s{y}", "part": part, "age": np.int64(y)}


class Odd:
    """One item of a map-style data set is not like the others."""

    def __init__(self, how: str) -> None:
        self.how, self.reads = how, 0

    def __len__(self) -> int:
        return 0 if self.how == "empty" else 12

    def __getitem__(self, index: int):
        self.reads += 1
        x = np.arange(8.0).reshape(4, 2) + index
        good = (x, index % 2)
        if self.how == "random":
            return x + self.reads, index % 2
        if index != 7:
            return good
        return {
            "raises": lambda: 1 / 0,
            "text": lambda: "oops",
            "triple": lambda: (x, 1, 2),
            "axes": lambda: (x[None], 1),
            "width": lambda: (x[:, :1], 1),
            "nan": lambda: (np.where(x == 10, np.nan, x), 1),
            "vector": lambda: (x, np.zeros(3)),
            "ragged": lambda: ([[1.0], [1.0, 2.0]], 1),
            "dict": lambda: {"x": x},
            "no steps": lambda: (3.0, 1),
            "pickles": lambda: (x, object()),
        }.get(self.how, lambda: good)()


class Endless(IterableDataset):
    def __iter__(self):
        yield 1


def broken():
    raise RuntimeError("no disk")


def source(name: str, **arguments: object) -> dict[str, object]:
    return {"_target_": f"{HERE}.{name}", **arguments}


def every(task: TableTask, split: rng.Split):
    ids, zero = torch.arange(task.samples_of(split))[None], torch.zeros(1, dtype=torch.int64)
    return task.batch(rng.Draws(zero, ids, zero, split=split, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["class", "number", "numbers", "labels", "steps"])
def test_every_item_arrives_once_with_its_own_length_and_target(kind):
    goal = {"number": "regress", "numbers": "regress", "steps": "label"}.get(kind, "classify")
    options = {"target": "y"} if kind == "steps" else {}
    task = TableTask(path=source("Made", kind=kind), goal=goal, standardise=False, **options)
    made, seen = Made(kind), []
    for split in SPLITS:
        batch = every(task, split)
        for b, (_, _, number) in enumerate(task.prepared().samples[split]):
            x, y = made[int(number)]
            own = batch.inputs[0, task.max_length - int(batch.lengths[0, b]) :, b]
            torch.testing.assert_close(own, x.double(), rtol=0, atol=0)
            if kind == "steps":
                wanted = batch.targets[0, task.max_length - len(x) :, b]
                assert torch.equal(wanted, y)
            elif kind == "class":
                assert task.output_names[int(batch.targets[0, b])] == str(y)
            else:
                wanted = torch.as_tensor(y, dtype=torch.float32).double().reshape(-1)
                torch.testing.assert_close(batch.targets[0, b], wanted, rtol=0, atol=0)
            seen.append(int(number))
    assert sorted(seen) == list(range(len(made)))
    assert task.several == (kind == "labels")
    declared = TableTask.declares({"path": source("Made", kind=kind), "goal": goal})
    assert ("valid/balanced_accuracy" in declared) == (kind in ("class", "steps"))
    assert set(declared) <= set(task.worst)


def test_a_dict_has_columns_by_name_and_may_say_its_part():
    task = TableTask(path=source("Named"), target="speaker", inputs=["signal"], split="given", split_by="part")
    assert task.output_names == ("s0", "s1", "s2")
    assert {split: task.samples_of(split) for split in SPLITS} == {"train": 18, "valid": 6, "test": 6}
    training = [Named()[i]["signal"].double() for i in range(30) if i % 5 < 3]
    mean, deviation = torch.cat(training).mean(0), torch.cat(training).std(0, correction=0)
    batch = every(task, "valid")
    for b, (_, _, number) in enumerate(task.prepared().samples["valid"]):
        wanted = (Named()[int(number)]["signal"].double() - mean) / deviation
        own = batch.inputs[0, task.max_length - len(wanted) :, b]
        torch.testing.assert_close(own, wanted, rtol=1e-6, atol=1e-6)


def test_one_without_targets_is_forecast():
    task = TableTask(path=source("Made", kind="none"), goal="forecast")
    assert (task.n_inputs, task.output_names) == (2, ("x0", "x1"))


def test_new_sequences_come_from_a_file_with_the_same_columns(tmp_path):
    task = TableTask(path=source("Made"), standardise=False)
    values = np.arange(24.0).reshape(3, 4, 2)
    np.save(tmp_path / "new.npy", values)
    found = task.read_new(str(tmp_path / "new.npy"))
    np.testing.assert_array_equal(np.stack([inputs for _, inputs in found]), values)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raises", "item 7 cannot be read (ZeroDivisionError: division by zero)"),
        ("text", "item 7 is a str"),
        ("triple", "item 7 is a tuple of 3"),
        ("axes", "item 7 has x of float64 [1, 4, 2]"),
        ("width", "item 7 has x with 1 values, item 0 has 2"),
        ("vector", "item 7 has y with an axis, unlike item 0"),
        ("ragged", "item 7 has a ragged x"),
        ("dict", "item 7 has other parts than item 0: y is in one of them only"),
        ("no steps", "item 7 has no array with a row per step"),
        ("pickles", "item 7 has y of object []"),
        ("random", "item 0 differs when it is read again"),
        ("empty", "is empty"),
        ("nan", "item 7, step 2, column x1: is empty"),
    ],
)
def test_one_line_names_the_item(how, words):
    with pytest.raises(ConfigError) as caught:
        TableTask(path=source("Odd", how=how))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert f"{HERE}.Odd" in str(caught.value)
    if how == "raises":
        assert f"{__file__}:" in str(caught.value)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"_target_": "nowhere.Data"}, "task.path._target_='nowhere.Data': cannot be imported"),
        ({"_target_": f"{HERE}.Endless"}, "is no such data set; allowed: a map-style"),
        (
            {"_target_": f"{HERE}.Made", "size": 3},
            "cannot be made (Made.__init__() got an unexpected keyword argument 'size')",
        ),
        ({"_target_": f"{HERE}.broken"}, "cannot be made (RuntimeError: no disk)"),
        ({"root": "x"}, "names no data set"),
        ({}, "names no data set"),
    ],
)
def test_what_is_no_data_set_is_one_line(block, words):
    with pytest.raises(ConfigError) as caught:
        TableTask(path=block)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_texts_are_read_from_files():
    with pytest.raises(ConfigError, match=r"task\.goal='next_word': reads texts"):
        TableTask(path=source("Made"), goal="next_word")


def test_the_digest_is_of_the_content_alone():
    one = DatasetSource.of(source("Made", seed=1))
    assert digest(one) == digest(DatasetSource.of(source("Made", seed=1, count=30)))
    assert digest(one) != digest(DatasetSource.of(source("Made", seed=2)))


def test_files_that_its_arguments_name_are_read_anew(tmp_path, monkeypatch):
    (tmp_path / "file_data.py").write_text(
        "import numpy as np\n"
        "class Data:\n"
        "    def __init__(self, path): self.values = np.load(path)\n"
        "    def __len__(self): return len(self.values)\n"
        "    def __getitem__(self, i): return self.values[i], i % 2\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    np.save(tmp_path / "x.npy", np.zeros((12, 3, 1)))
    block = DatasetSource.of({"_target_": "file_data.Data", "path": str(tmp_path / "x.npy")})
    before = read_dataset(block)
    assert read_dataset(block) is before
    np.save(tmp_path / "x.npy", np.ones((14, 3, 1)))
    assert len(read_dataset(block)) == 42
