"""Makes the small samples that come with the package: ``python tests/core/datasets/make_samples.py FOLDER``."""

import gzip
import json
import sys
from pathlib import Path

import mido
import numpy as np

SEGMENTS = ("abcefg", "cf", "acdeg", "acdfg", "bcdf", "abdfg", "abdefg", "acf", "abcdefg", "abcdfg")
"""Lit segments of a seven-segment digit: a top, b and c upper sides, d middle, e and f lower sides, g bottom."""
SUBJECTS = ("the network", "a small unit", "the gradient", "one long sequence", "the hidden state", "a quiet signal")
VERBS = ("learns", "forgets", "repeats", "follows", "carries", "loses", "finds")
OBJECTS = ("the first symbol", "a distant sum", "its own past", "every second step", "the rhythm", "nothing at all")
WHEN = ("at the end", "after a pause", "in time", "again and again", "for many steps", "without error")
PROGRESSION = ((60, 64, 67), (57, 60, 64), (65, 69, 72), (67, 71, 74))
MIDI_SPLITS = {"train": 8, "valid": 2, "test": 2}


def text(random):
    """About 20 000 characters of plain sentences."""
    lines = []
    for _ in range(330):
        words = (SUBJECTS, VERBS, OBJECTS, WHEN)
        lines.append(" ".join(part[random.integers(len(part))] for part in words) + ".")
    return "\n".join(lines) + "\n"


def piece(random):
    """Steps of a piece: lists of note numbers, two steps per beat; four chords, transposed, with a melody."""
    shift, steps = int(random.integers(-5, 6)), []
    for bar in range(int(random.integers(8, 13))):
        chord = [note + shift for note in PROGRESSION[bar % 4]]
        for step in range(4):
            melody = chord[int(random.integers(3))] + 12
            steps.append(sorted({chord[0] - 12, *(chord if step % 2 == 0 else chord[1:]), melody}))
    return steps


def midi(steps):
    """The same steps as a MIDI file of two tracks; every step strikes its notes anew."""
    song, tempo, notes = mido.MidiFile(ticks_per_beat=96), mido.MidiTrack(), mido.MidiTrack()
    tempo.append(mido.MetaMessage("set_tempo", tempo=500_000, time=0))
    song.tracks.extend([tempo, notes])
    for chord in steps:
        notes.extend(mido.Message("note_on", note=note, velocity=64, time=0) for note in chord)
        for i, note in enumerate(chord):
            notes.append(mido.Message("note_off", note=note, velocity=0, time=0 if i else 48))
    return song


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.astype(np.uint8).tobytes()


def digits(random, count):
    """Seven-segment digits of 9 x 6 pixels in several shades, and their classes."""
    strokes = {"a": (0, slice(1, 5)), "b": (slice(1, 4), 0), "c": (slice(1, 4), 5), "d": (4, slice(1, 5))}
    strokes |= {"e": (slice(5, 8), 0), "f": (slice(5, 8), 5), "g": (8, slice(1, 5))}
    classes = np.arange(count) % 10
    pictures = np.zeros((count, 9, 6), dtype=np.uint8)
    for picture, digit in zip(pictures, classes, strict=True):
        for segment in SEGMENTS[digit]:
            picture[strokes[segment]] = 51 * random.integers(2, 6)
    order = random.permutation(count)
    return pictures[order], classes[order]


def frames(random):
    """One sequence of damped waves, float32 [steps, 6], multiples of 1/1024."""
    t = np.arange(int(random.integers(40, 61)))[:, None]
    speed, phase = random.integers(5, 30, 6) / 50, random.integers(0, 64, 6) / 10
    return (np.round(1024 * np.exp(-t / 40) * np.sin(speed * t + phase)) / 1024).astype(np.float32)


def make(folder):
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt").write_text(text(random))
    pieces = {split: [piece(random) for _ in range(count)] for split, count in MIDI_SPLITS.items()}
    (folder / "rolls.json").write_text(json.dumps(pieces, separators=(",", ":")))
    arrays = {}
    for split, songs in pieces.items():
        (folder / "midi" / split).mkdir(parents=True, exist_ok=True)
        for i, steps in enumerate(songs):
            midi(steps).save(folder / "midi" / split / f"{i}.mid")
            roll = arrays[f"{split}_{i}"] = np.zeros((len(steps), 88), dtype=np.uint8)
            for t, chord in enumerate(steps):
                roll[t, [note - 21 for note in chord]] = 1
    np.savez_compressed(folder / "rolls.npz", **arrays)
    (folder / "idx").mkdir(exist_ok=True)
    for name, count in (("train", 240), ("t10k", 60)):
        pictures, classes = digits(random, count)
        ending, pack = (".gz", lambda raw: gzip.compress(raw, mtime=0)) if name == "train" else ("", bytes)
        (folder / "idx" / f"{name}-images-idx3-ubyte{ending}").write_bytes(pack(idx(pictures)))
        (folder / "idx" / f"{name}-labels-idx1-ubyte{ending}").write_bytes(pack(idx(classes)))
    for split, count in MIDI_SPLITS.items():
        (folder / "frames" / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            np.save(folder / "frames" / split / f"{i}.npy", frames(random))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
