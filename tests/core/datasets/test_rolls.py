"""Piano rolls from MIDI, JSON and .npz files."""

import json
import pickle

import mido
import numpy as np
import pytest

from rnnsweep.core.datasets.midi import read_midi
from rnnsweep.core.datasets.rolls import read_rolls
from rnnsweep.errors import ConfigError

PIECE = [[60], [60, 64], [], [108, 21]]


def keys(roll):
    """MIDI numbers that sound at each step."""
    return [(np.flatnonzero(step) + 21).tolist() for step in roll]


def write_midi(file, events, beats=480, kind=1):
    """One track of (ticks since the last event, type, channel, note, velocity)."""
    song, track = mido.MidiFile(ticks_per_beat=beats, type=kind), mido.MidiTrack()
    for time, name, channel, note, velocity in events:
        track.append(mido.Message(name, channel=channel, note=note, velocity=velocity, time=time))
    song.tracks.append(track)
    file.parent.mkdir(parents=True, exist_ok=True)
    song.save(file)


def refused(path, *words, steps_per_beat=2):
    with pytest.raises(ConfigError) as caught:
        read_rolls(str(path), steps_per_beat)
    message = str(caught.value)
    assert caught.value.key == "task.path"
    assert all(word in message for word in words), message


def test_midi_notes_fill_their_steps(tmp_path):
    """By hand, 480 ticks per beat, 2 steps per beat: a step has 240 ticks."""
    write_midi(
        tmp_path / "a.mid",
        [
            (0, "note_on", 0, 60, 64),
            (0, "note_on", 1, 64, 64),
            (480, "note_off", 0, 60, 0),  # 60: steps 0, 1
            (10, "note_on", 1, 64, 0),  # velocity 0 ends 64 at 490, nearest step 2: steps 0, 1
            (230, "note_on", 0, 67, 64),  # 720
            (5, "note_off", 0, 67, 0),  # short: one step, 3
            (235, "note_on", 0, 72, 64),  # 960, step 4
            (240, "note_on", 0, 72, 64),  # struck again at 1200
            (0, "note_on", 9, 36, 64),  # percussion
            (0, "note_on", 2, 10, 64),  # below the piano
            (240, "note_off", 9, 36, 0),  # 1440: the last event ends what still sounds
        ],
    )
    assert keys(read_midi(tmp_path / "a.mid", 2)) == [[60, 64], [60, 64], [], [67], [72], [72]]
    assert len(read_midi(tmp_path / "a.mid", 4)) == 12


def test_both_channels_may_hold_the_same_note(tmp_path):
    events = [
        (0, "note_on", 0, 60, 9),
        (0, "note_on", 1, 60, 9),
        (480, "note_off", 0, 60, 0),
        (480, "note_off", 1, 60, 0),
    ]
    write_midi(tmp_path / "a.mid", events)
    assert keys(read_midi(tmp_path / "a.mid", 1)) == [[60], [60]]


def test_a_folder_of_midi_files(tmp_path):
    for split, note in (("train", 60), ("valid", 61), ("test", 62)):
        write_midi(tmp_path / split / "x.mid", [(0, "note_on", 0, note, 9), (960, "note_off", 0, note, 0)])
    parts = read_rolls(str(tmp_path), 1)
    assert {split: keys(pieces[0])[0] for split, pieces in parts.items()} == {
        "train": [60],
        "valid": [61],
        "test": [62],
    }
    flat = tmp_path / "flat"
    for i in range(10):
        write_midi(flat / f"{i}.MID", [(0, "note_on", 0, 50 + i, 9), (960, "note_off", 0, 50 + i, 0)])
    parts = read_rolls(str(flat), 1)
    assert [keys(piece)[0] for split in ("train", "valid", "test") for piece in parts[split]] == [
        [50 + i] for i in range(10)
    ]
    assert len(parts["valid"]) == len(parts["test"]) == 1


def test_broken_midi_files_are_refused(tmp_path):
    for name, raw in (("text", b"not midi at all"), ("empty", b""), ("cut", None)):
        folder = tmp_path / name
        write_midi(folder / "a.mid", [(0, "note_on", 0, 60, 9), (960, "note_off", 0, 60, 0)])
        raw = (folder / "a.mid").read_bytes()[:30] if raw is None else raw
        (folder / "a.mid").write_bytes(raw)
        refused(folder, "is no readable MIDI file", "a.mid")
    write_midi(tmp_path / "silent" / "a.mid", [(0, "note_on", 9, 60, 9)])
    refused(tmp_path / "silent", "has no notes")
    write_midi(tmp_path / "songs" / "a.mid", [(0, "note_on", 0, 60, 9)], kind=2)
    refused(tmp_path / "songs", "independent songs")
    (tmp_path / "none").mkdir()
    refused(tmp_path / "none", "holds 0 sequences")
    write_midi(tmp_path / "part" / "train" / "a.mid", [(0, "note_on", 0, 60, 9), (960, "note_off", 0, 60, 0)])
    refused(tmp_path / "part", "no valid part")


def test_json_pieces(tmp_path):
    content = {split: [PIECE, [[60, -1, 60.0, None], []]] for split in ("train", "valid", "test")}
    (tmp_path / "a.json").write_text(json.dumps(content))
    parts = read_rolls(str(tmp_path / "a.json"), 1)
    for split in content:
        assert [keys(piece) for piece in parts[split]] == [[[60], [60, 64], [], [21, 108]], [[60], []]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no readable JSON"),
        ("[]", "is no object with lists"),
        ('{"train": [], "valid": []}', "is no object with lists"),
        ('{"train": [[[60],[60]]], "valid": [[[60],[60]]], "test": []}', "no test part"),
        ('{"train": [[[60],[60]]], "valid": [[[60]]], "test": [[[60],[60]]]}', "no valid part"),
        ('{"train": [7], "valid": [], "test": []}', "train[0] is no list of steps"),
        ('{"train": [[60]], "valid": [], "test": []}', "train[0], step 0, is no list of notes"),
        ('{"train": [[[60],[109]]], "valid": [], "test": []}', "train[0], step 1: 109 is no note number 21..108"),
        ('{"train": [[["C4"]]], "valid": [], "test": []}', "'C4' is no note number"),
        ('{"train": [[[60.5]]], "valid": [], "test": []}', "60.5 is no note number"),
        ('{"train": [[[NaN]]], "valid": [], "test": []}', "nan is no note number"),
        ('{"train": [[[[60]]]], "valid": [], "test": []}', "[60] is no note number"),
    ],
)
def test_broken_json_is_refused(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    refused(tmp_path / "a.json", words)


def test_npz_arrays(tmp_path):
    random = np.random.default_rng(0)
    arrays = {
        f"{split}_{i}": random.integers(0, 2, (5 + i, 88)) for split in ("train", "valid", "test") for i in (0, 1)
    }
    np.savez(tmp_path / "a.npz", **arrays)
    parts = read_rolls(str(tmp_path / "a.npz"), 1)
    for name, array in arrays.items():
        split, i = name.split("_")
        assert np.array_equal(parts[split][int(i)], array)


def test_broken_npz_is_refused(tmp_path):
    good = np.zeros((3, 88))
    for name, array, words in (
        ("width", np.zeros((3, 87)), "array valid_0 is not [steps, 88]"),
        ("values", np.full((3, 88), 0.5), "of 0 and 1"),
        ("objects", np.array([{"a": 1}], dtype=object), "without pickled objects"),
    ):
        np.savez(tmp_path / f"{name}.npz", train_0=good, valid_0=array, test_0=good)
        refused(tmp_path / f"{name}.npz", words)
    np.savez(tmp_path / "part.npz", train_0=good, valid_0=good)
    refused(tmp_path / "part.npz", "no test part")
    (tmp_path / "text.npz").write_text("no zip")
    refused(tmp_path / "text.npz", "is no readable .npz file")
    refused(tmp_path / "none.npz", "no such file or folder")


def test_pickles_are_never_read(tmp_path):
    (tmp_path / "a.pickle").write_bytes(pickle.dumps({"train": []}))
    refused(tmp_path / "a.pickle", "is neither .json, .npz nor a folder")


def test_all_three_samples_are_the_same_music():
    json_rolls, npz, midi = (read_rolls(path, 2) for path in (None, "samples:rolls.npz", "samples:midi"))
    for split in ("train", "valid", "test"):
        assert len(json_rolls[split]) == len(npz[split]) == len(midi[split]) >= 2
        for a, b, c in zip(json_rolls[split], npz[split], midi[split], strict=True):
            assert np.array_equal(a, b)
            assert np.array_equal(a, c)
