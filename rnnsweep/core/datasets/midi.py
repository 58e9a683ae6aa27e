"""MIDI files as piano rolls."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnsweep.core.datasets.dataset_files import broken
from rnnsweep.core.datasets.file_sizes import size_of

LOWEST, NOTES = 21, 88
"""MIDI number of the lowest key of a piano, and how many keys it has."""
_EXPECTED = "a standard MIDI file"
_PERCUSSION = 9
_LONGEST = 1_000_000
"""Steps of a piece: a day and a half at 120 beats per minute and 4 steps per beat. A wrong time may stand for years."""


def read_midi(file: Path, steps_per_beat: int) -> np.ndarray:
    """Piano roll of all channels but percussion, uint8 [steps, 88], 1 where a key sounds.

    A note fills the steps from its start to its end, both rounded to the nearest step, and at least one step. Notes
    outside the piano's range are left out.

    Args:
        file: standard MIDI file, type 0 or 1.
        steps_per_beat: steps per quarter note; tempo does not matter.

    Raises:
        ConfigError: no MIDI file, times in frames instead of beats, or no note in it.
    """
    notes = [(start, end, key) for start, end, key in _notes(file) if 0 <= key < NOTES]
    if not notes:
        raise broken(file, "has no notes", _EXPECTED)
    spans = [(round(start * steps_per_beat), round(end * steps_per_beat), key) for start, end, key in notes]
    steps = max(max(end, start + 1) for start, end, _ in spans)
    # before the array is made
    if steps > _LONGEST:
        raise broken(file, f"lasts {steps:,} steps of 1/{steps_per_beat} beat, more than {_LONGEST:,}", _EXPECTED)
    roll = np.zeros((steps, NOTES), dtype=np.uint8)
    for start, end, key in spans:
        roll[start : max(end, start + 1), key] = 1
    return roll


def _notes(file: Path) -> list[tuple[float, float, int]]:
    """(start, end, key counted from the lowest) of every note, in beats."""
    import mido  # here: only users of MIDI files need it

    size_of(file, _EXPECTED)
    try:
        # clip: mido would refuse a whole file for one data byte above 127
        song = mido.MidiFile(str(file), clip=True)
    except Exception as error:  # noqa: BLE001 - what mido raises depends on where a file is broken
        raise broken(file, f"is no readable MIDI file ({str(error) or type(error).__name__})", _EXPECTED) from None
    if song.ticks_per_beat <= 0 or song.type == 2:
        raise broken(file, "counts time in frames, or holds independent songs", _EXPECTED)
    notes, sounding, ticks = [], {}, 0
    for message in mido.merge_tracks(song.tracks):
        ticks += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _PERCUSSION:
            continue
        channel_note, beat = (message.channel, message.note), ticks / song.ticks_per_beat
        if channel_note in sounding:  # an end, or the key struck again
            notes.append((sounding.pop(channel_note), beat, message.note - LOWEST))
        # velocity 0 is how many files write an end
        if message.type == "note_on" and message.velocity > 0:
            sounding[channel_note] = beat
    last = ticks / song.ticks_per_beat
    # notes whose end is missing last to the end of the piece
    return notes + [(start, last, note - LOWEST) for (_, note), start in sounding.items()]
