"""W&B's files: what is in them, and whether they are whole. The library writes them and has no reader of its own.

file = ":W&B", 3 bytes, then blocks of 32 KiB of frames         frame = checksum (4), length (2), kind (1), piece
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MAGIC, _HEAD, _BLOCK, _FRAME = b":W&B", 7, 32768, 7
_FULL, _FIRST, _LAST = 1, 2, 4


def pieces(content: bytes) -> Iterator[bytes]:
    """Whole records of a log, as bytes; a torn end is passed over."""
    at, parts = _HEAD, b""
    if content[:4] != _MAGIC:
        return
    while at + _FRAME <= len(content):
        if _BLOCK - at % _BLOCK < _FRAME:  # too little room in a block is left empty
            at += _BLOCK - at % _BLOCK
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + _FRAME])
        piece = content[at + _FRAME : at + _FRAME + length]
        if len(piece) < length:
            return
        parts = piece if kind in (_FULL, _FIRST) else parts + piece
        at += _FRAME + length
        if kind in (_FULL, _LAST):
            yield parts


def records(file: Path) -> Iterator[Any]:
    """Whole records of a log, as W&B's protobuf messages."""
    from wandb.proto import wandb_internal_pb2

    for piece in pieces(file.read_bytes()):
        record = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
        record.ParseFromString(piece)
        yield record


def wait_until_whole(file: Path, seconds: float) -> bool:
    """Wait for the record that ends a run: W&B's own process writes on after the library says that it has finished."""
    deadline, size = time.monotonic() + seconds, -1
    while True:
        if file.stat().st_size != size:
            size = file.stat().st_size
            if any(record.WhichOneof("record_type") == "exit" for record in records(file)):
                return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
