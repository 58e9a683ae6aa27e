"""W&B's log format: records over several blocks, and torn ends."""

from __future__ import annotations

import struct

from rnnsweep.adapters.wandb.transaction_log import pieces, wait_until_whole

HEAD = b":W&B\xe1\xbe\x00"


def written(records: list[bytes]) -> bytes:
    """As LevelDB writes them: blocks of 32 KiB, records cut where a block ends."""
    content = bytearray(HEAD)
    for record in records:
        rest, first = record, True
        while True:
            room = 32768 - len(content) % 32768
            if room < 7:
                content += b"\0" * room
                room = 32768
            piece, rest = rest[: room - 7], rest[room - 7 :]
            kind = (1 if not rest else 2) if first else (4 if not rest else 3)
            content += struct.pack("<IHB", 0, len(piece), kind) + piece
            first = False
            if not rest:
                break
    return bytes(content)


def test_records_of_any_length_are_put_together():
    # the third one leaves less than a frame's room in its block
    records = [b"a", b"b" * 40_000, b"c" * (2 * 32768 - 7 - 8 - 40_000 - 14 - 7 - 3), b"d" * 100_000, b"e"]
    content = written(records)
    assert list(pieces(content)) == records
    assert list(pieces(content[:-1])) == records[:-1]
    assert list(pieces(content[:50_000])) == records[:2]
    assert list(pieces(HEAD)) == [] and list(pieces(b"something else")) == []


def test_a_run_without_its_end_is_not_whole(tmp_path):
    from wandb.proto import wandb_internal_pb2

    file = tmp_path / "run-x.wandb"
    exits = wandb_internal_pb2.Record(exit=wandb_internal_pb2.RunExitRecord(exit_code=0)).SerializeToString()
    file.write_bytes(written([exits])[:-1] if exits else HEAD)
    assert not wait_until_whole(file, 0.05)
    file.write_bytes(written([exits]))
    assert wait_until_whole(file, 0.05)
