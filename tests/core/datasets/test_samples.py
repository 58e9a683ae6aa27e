"""The packaged samples: small, made by `make_samples`, and each readable."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from rnnsweep.core.datasets.dataset_files import SAMPLES
from rnnsweep.core.datasets.frame_files import read_frames
from rnnsweep.core.datasets.idx import read_mnist

_spec = importlib.util.spec_from_file_location("make_samples", Path(__file__).with_name("make_samples.py"))
maker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(maker)


REAL = {Path("japanese_vowels.parquet")}
"""Samples that nobody can make up: `make_vowels` makes them of their source."""


def content(file):
    """What a file holds, without the way in which it is compressed."""
    if file.suffix == ".gz":
        return gzip.decompress(file.read_bytes())
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            return {name: arrays[name].tolist() for name in arrays.files}
    return file.read_bytes()


def test_samples_are_what_their_maker_makes(tmp_path):
    maker.make(tmp_path)
    files = {file.relative_to(SAMPLES): file for file in SAMPLES.rglob("*") if file.is_file()}
    made = {file.relative_to(tmp_path): file for file in tmp_path.rglob("*") if file.is_file()}
    assert files.keys() - REAL == made.keys()
    for name, file in ((name, file) for name, file in files.items() if name not in REAL):
        assert content(file) == content(made[name]), name


def test_samples_are_small():
    real = sum((SAMPLES / name).stat().st_size for name in REAL)
    assert sum(file.stat().st_size for file in SAMPLES.rglob("*")) - real < 200_000
    assert real < 210_000


def test_the_vowels_are_those_of_their_authors_and_say_so():
    """Utterances per speaker and the range of lengths as in the description of the data at UCI."""
    import pyarrow.parquet

    file = pyarrow.parquet.read_table(SAMPLES / "japanese_vowels.parquet")
    assert b"CC BY 4.0" in file.schema.metadata[b"notice"]
    table = file.to_pandas()
    first = table.groupby("utterance").first()
    for part, each in {"train": [30] * 9, "test": [31, 35, 88, 44, 29, 24, 40, 50, 29]}.items():
        assert first[first["part"] == part].groupby("speaker").size().tolist() == each
    lengths = table.groupby("utterance").size()
    assert (lengths.min(), lengths.max(), len(lengths)) == (7, 29, 640)
    assert table.loc[0, ["c1", "c2", "c3"]].tolist() == [1.861, -0.207, 0.262]


def test_sample_pictures_have_all_classes_in_all_parts():
    for pixels, classes in read_mnist(None).values():
        assert pixels.shape == (len(classes), 54)
        assert set(classes.tolist()) == set(range(10))


def test_sample_frames_have_six_values():
    assert {sequence.shape[1] for sequences in read_frames(None).values() for sequence in sequences} == {6}
