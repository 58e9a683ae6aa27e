"""Data files that are broken, or made to break things: one line that names the file, before memory is taken."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rnnsweep.core.datasets import file_sizes
from rnnsweep.core.datasets.frame_files import read_frames
from rnnsweep.core.datasets.idx import read_idx
from rnnsweep.core.datasets.midi import read_midi
from rnnsweep.core.datasets.rolls import read_rolls
from rnnsweep.core.datasets.text import read_text
from rnnsweep.errors import ConfigError

MIB = 1 << 20


def npy(shape: tuple[int, ...], kind: str = "<f8", data: bytes = b"") -> bytes:
    """An array file whose header may promise anything."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue() + data


def npz(members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


def midi(delta: int) -> bytes:
    """One note that lasts `delta` ticks of one per beat."""
    quantity = bytes([0x80 | delta >> 21 & 0x7F, 0x80 | delta >> 14 & 0x7F, 0x80 | delta >> 7 & 0x7F, delta & 0x7F])
    track = b"\x00\x90\x3c\x40" + quantity + b"\x80\x3c\x40" + b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1) + b"MTrk" + struct.pack(">I", len(track)) + track


def idx(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)


def rolls(file: Path) -> object:
    return read_rolls(str(file), 4)


def frames(file: Path) -> object:
    return read_frames(str(file.parent))


def pictures(file: Path) -> object:
    return read_idx(file, 3)


BROKEN: dict[str, tuple[str, bytes, Callable[[Path], object], str]] = {
    "json nested deep": ("a.json", b"[" * 100_000, rolls, "nested too deep"),
    "json nested deep inside": ("a.json", b'{"train": ' + b"[" * 100_000, rolls, "nested too deep"),
    "empty json": ("a.json", b"", rolls, "no readable JSON"),
    "npz of no bytes": ("a.npz", b"", rolls, "no readable .npz"),
    "npz of no arrays": ("a.npz", npz({}), rolls, "has no train part"),
    "npz that lies": ("a.npz", npz({"train_0": npy((10**12, 88), "|u1")}), rolls, "promises"),
    "npz of bytes": ("a.npz", npz({"train_0": npy((2, 88), "|S1", b"\0" * 176)}), rolls, "is not [steps, 88]"),
    "npz of records": (
        "a.npz",
        npz({"train_0": b"\x93NUMPY\x03\x00\x10\x00\x00\x00 garbage........"}),
        rolls,
        "is no readable .npz",
    ),
    "npz of objects": ("a.npz", npz({"train_0": npy((2, 88), "|O", b"\0" * 1408)}), rolls, "pickled"),
    "npz that unpacks to gigabytes": (
        "a.npz",
        npz({"train_0": npy((300 * MIB // 88, 88), "|u1", bytes(300 * MIB // 88 * 88))}),
        rolls,
        "unpacks from",
    ),
    "npz that is no archive": ("a.npz", b"PK\x03\x04" + b"\0" * 100, rolls, "no readable .npz"),
    "npz with a text": ("a.npz", npz({"train_0": b"hello"}), rolls, "is no readable .npz"),
    "npy that lies": ("train.npy", npy((10**13, 1)), frames, "promises"),
    "npy that lies a little": ("train.npy", npy((3, 2), "<f8", b"\0" * 40), frames, "holds 40 bytes of data"),
    "npy of bytes": ("train.npy", npy((3, 2), "|S8", b"\0" * 48), frames, "not numbers"),
    "npy of no bytes": ("train.npy", b"", frames, "is no readable .npy"),
    "npy of nonsense": ("train.npy", b"\x93NUMPY\x01\x00\x10\x00" + b"{'descr': __imp}", frames, "is no readable .npy"),
    "npy too large for float32": ("train.npy", npy((2, 1), "<f8", struct.pack("<2d", 1e300, 0.0)), frames, "infinite"),
    "idx that lies": ("a-ubyte", idx(60000, 28, 28) + b"\0" * 100, pictures, "holds 100 bytes"),
    "gz that lies": ("a-ubyte.gz", gzip.compress(idx(2**31, 2**31, 2**10)), pictures, "cannot hold"),
    "gz bomb": ("a-ubyte.gz", gzip.compress(idx(2, 2, 2) + bytes(200 * MIB)), pictures, "holds more bytes"),
    "midi of years": ("a.mid", midi(0xFFFFFFF), lambda file: read_midi(file, 4), "lasts"),
    "midi cut off": ("a.mid", midi(100)[:20], lambda file: read_midi(file, 4), "no readable MIDI"),
    "midi of no bytes": ("a.mid", b"", lambda file: read_midi(file, 4), "no readable MIDI"),
}


@pytest.mark.parametrize(("name", "data", "read", "words"), BROKEN.values(), ids=BROKEN)
def test_it_is_refused_by_name_before_memory_is_taken(tmp_path, name, data, read, words):
    file = tmp_path / name
    file.write_bytes(data)
    del data
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError) as caught:
            read(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert str(file) in message
    assert words in message
    assert "\n" not in message
    assert peak < 24 * MIB


@pytest.mark.parametrize("read", [rolls, lambda file: read_text(str(file)), lambda file: read_midi(file, 4)])
def test_a_pipe_is_not_waited_for(tmp_path, read):
    file = tmp_path / "a.json"
    os.mkfifo(file)
    with pytest.raises(ConfigError, match="is no regular file"):
        read(file)


@pytest.mark.parametrize(
    ("name", "data", "read"),
    [
        ("a.json", json.dumps({"train": [[[60]] * 400]}).encode(), rolls),
        ("a.txt", b"to be " * 1000, lambda file: read_text(str(file))),
        ("train.npy", npy((200, 2), "<f8", b"\0" * 3200), frames),
        ("a-ubyte", idx(10, 20, 20) + b"\0" * 4000, pictures),
    ],
)
def test_what_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch, name, data, read):
    file = tmp_path / name
    file.write_bytes(data)
    monkeypatch.setattr(file_sizes.psutil, "virtual_memory", lambda: type("Free", (), {"available": 1000})())
    with pytest.raises(ConfigError, match="GiB of memory") as caught:
        read(file)
    assert str(file) in str(caught.value)


def test_a_plain_roll_is_still_read(tmp_path):
    file = tmp_path / "a.npz"
    pieces = {f"{split}_0": np.eye(4, 88, dtype=np.float32) for split in ("train", "valid", "test")}
    np.savez_compressed(file, **pieces)
    assert np.array_equal(read_rolls(str(file), 4)["train"][0], np.eye(4, 88, dtype=np.uint8))
    assert len(read_midi(_write(tmp_path / "b.mid", midi(8)), 4)) == 32


def _write(file: Path, data: bytes) -> Path:
    file.write_bytes(data)
    return file
