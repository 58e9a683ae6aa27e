"""One event file that only grows: what it holds after a kill, and how it goes on.

    file = record, record, ...          record = length (8 bytes), its checksum (4), event (length), its checksum (4)

Reading it needs no library; `encode` takes TensorBoard's own writer for the checksums.
"""

# pyright: reportAttributeAccessIssue=false
# the modules that protobuf makes have no types

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

_FRAME = 12
"""Bytes before an event: length and its checksum."""
_TAIL = 4
"""Bytes after an event: its checksum."""


class EventFile:
    """An event file by its path; nothing is kept open between calls."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self) -> Iterator[tuple[int, bytes]]:
        """(offset of the record, event) of every whole record; a torn end is passed over."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as stream:
            offset = 0
            while len(frame := stream.read(_FRAME)) == _FRAME:
                (length,) = struct.unpack("<Q", frame[:8])
                event = stream.read(length)
                if len(event) < length or len(stream.read(_TAIL)) < _TAIL:
                    return
                yield offset, event
                offset += _FRAME + length + _TAIL

    def count(self) -> int:
        """Number of whole records."""
        if not self.path.is_file():
            return 0
        size, offset, count = self.path.stat().st_size, 0, 0
        with self.path.open("rb") as stream:
            while len(frame := stream.read(_FRAME)) == _FRAME:
                (length,) = struct.unpack("<Q", frame[:8])
                offset += _FRAME + length + _TAIL
                if offset > size:
                    break
                stream.seek(offset)
                count += 1
        return count

    def cut(self, size: int) -> None:
        """Drop what is behind `size` bytes."""
        if self.path.is_file() and self.path.stat().st_size > size:
            os.truncate(self.path, size)

    def append(self, events: Iterable[Event]) -> None:
        """Add events, in one write."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as stream:
            stream.write(encode(events))


def encode(events: Iterable[Event]) -> bytes:
    """Events as records."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()
