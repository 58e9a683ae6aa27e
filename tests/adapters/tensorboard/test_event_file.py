"""Event files after a kill: whole records are counted, a torn one is not, whatever is left of it."""

from __future__ import annotations

from rnnsweep.adapters.tensorboard.event_file import EventFile, encode


def test_every_torn_end_leaves_the_records_before_it(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event

    events = [Event(wall_time=1.0, step=step) for step in range(4)]
    file = EventFile(tmp_path / "trial" / "events.out.tfevents.1.x")
    assert file.count() == 0 and list(file.records()) == []
    file.append(events[:2])
    file.append(events[2:])
    content = file.path.read_bytes()
    assert content == encode(events)
    ends = [*(offset for offset, _ in file.records() if offset), len(content)]
    for size in range(len(content) + 1):
        file.path.write_bytes(content[:size])
        whole = sum(end <= size for end in ends)
        assert file.count() == len(list(file.records())) == whole
    assert [Event.FromString(record).step for _, record in file.records()] == [0, 1, 2, 3]
    file.cut(ends[1])
    assert file.count() == 2
