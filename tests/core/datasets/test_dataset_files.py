"""What is kept of files within one process: the same object while they are as they were, and never a stale one."""

from __future__ import annotations

import gzip
import json
import os

import numpy as np
import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.datasets.frame_files import read_frames
from rnnsweep.core.datasets.idx import read_mnist
from rnnsweep.core.datasets.rolls import read_rolls
from rnnsweep.core.datasets.text import read_text
from rnnsweep.core.tasks.char_lm import CharLm
from rnnsweep.core.tasks.frame_regression import FrameRegression
from rnnsweep.core.tasks.polyphonic_music import PolyphonicMusic
from rnnsweep.core.tasks.sequential_digits import SequentialDigits


def text(folder, seed):
    letters = np.random.default_rng(seed).choice(list("abcd"), size=400)
    (folder / "x.txt").write_text("".join(letters))
    return folder / "x.txt"


def rolls(folder, seed):
    generator = np.random.default_rng(seed)
    pieces = [[[int(note)] for note in generator.integers(40, 80, size=30)] for _ in range(3)]
    (folder / "x.json").write_text(
        json.dumps(dict(zip(("train", "valid", "test"), ([p] for p in pieces), strict=True)))
    )
    return folder / "x.json"


def frames(folder, seed):
    generator = np.random.default_rng(seed)
    for part in ("train", "valid", "test"):
        np.save(folder / f"{part}.npy", generator.normal(size=(2, 20, 3)))
    return folder


def pictures(folder, seed):
    generator = np.random.default_rng(seed)
    for name, count in (("train", 60), ("t10k", 12)):
        for kind, shape, top in (("images", (count, 2, 3), 256), ("labels", (count,), 10)):
            head = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
            array = generator.integers(0, top, shape, dtype=np.uint8)
            raw = gzip.compress(head + array.tobytes(), mtime=0, compresslevel=0)
            (folder / f"{name}-{kind}-idx{len(shape)}-ubyte.gz").write_bytes(raw)
    return folder


READERS = {
    "text": (text, read_text, (), lambda path: CharLm(path=path, length=5)),
    "rolls": (rolls, read_rolls, (2,), lambda path: PolyphonicMusic(path=path, length=5)),
    "frames": (frames, read_frames, (), lambda path: FrameRegression(path=path, length=5)),
    "pictures": (pictures, read_mnist, (), lambda path: SequentialDigits(source="idx", path=path)),
}


def arrays(content):
    """All numbers of what a reader returned."""
    if isinstance(content, np.ndarray):
        return [content]
    items = content.values() if isinstance(content, dict) else content
    return [] if isinstance(content, str) else [array for item in items for array in arrays(item)]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def written(write, folder, seed, time):
    """Files of the same sizes, at a time of its own: a file system's clock may stand still between two writes."""
    path = write(folder, seed)
    for file in [path] if path.is_file() else path.iterdir():
        os.utime(file, ns=(time, time))
    return str(path)


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_written_anew_is_read_anew_and_else_kept(tmp_path, name):
    write, read, options, _ = READERS[name]
    path = written(write, tmp_path, 1, 10**18)
    first = read(path, *options)
    assert read(path, *options) is first
    assert written(write, tmp_path, 2, 2 * 10**18) == path
    second = read(path, *options)
    assert not same(first, second)
    written(write, tmp_path, 1, 3 * 10**18)
    assert same(read(path, *options), first)


@pytest.mark.parametrize("name", READERS)
def test_a_task_of_the_new_file_has_its_numbers_and_one_that_began_goes_on(tmp_path, name):
    write, _, _, make = READERS[name]
    path = written(write, tmp_path, 1, 10**18)
    before = make(path)
    seen = facts(before)
    written(write, tmp_path, 2, 2 * 10**18)
    after = make(path)
    # equal tasks: fields are all that a config knows
    assert after == before
    assert facts(after)[0] != seen[0] or facts(after)[1] != seen[1]
    assert not torch.equal(facts(after)[2], seen[2])
    for old, new in zip(facts(before), seen, strict=True):
        assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new
    (tmp_path / "elsewhere").mkdir()
    for mine, plain in zip(facts(after), facts(make(str(write(tmp_path / "elsewhere", 2)))), strict=True):
        assert torch.equal(mine, plain) if isinstance(mine, torch.Tensor) else mine == plain


def facts(task):
    """Chance levels and a mini-batch."""
    zero, ids = torch.zeros(1, dtype=torch.int64), torch.arange(4)[None]
    return task.chance_loss, task.chance_error, task.batch(rng.Draws(zero, ids, zero, split="train")).inputs


def test_mini_batches_look_at_no_file(tmp_path, monkeypatch):
    tasks = []
    for name, (write, _, _, make) in READERS.items():
        (tmp_path / name).mkdir()
        tasks.append(make(str(write(tmp_path / name, 1))))
        facts(tasks[-1])
    monkeypatch.setattr(os, "stat", pytest.fail)
    for task in tasks:
        facts(task)
