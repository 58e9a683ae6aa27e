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
    assert files.keys() == made.keys()
    for name, file in files.items():
        assert content(file) == content(made[name]), name


def test_samples_are_small():
    assert sum(file.stat().st_size for file in SAMPLES.rglob("*")) < 200_000


def test_sample_pictures_have_all_classes_in_all_parts():
    for pixels, classes in read_mnist(None).values():
        assert pixels.shape == (len(classes), 54)
        assert set(classes.tolist()) == set(range(10))


def test_sample_frames_have_six_values():
    assert {sequence.shape[1] for sequences in read_frames(None).values() for sequence in sequences} == {6}
