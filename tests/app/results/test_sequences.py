"""Sequences of one's own: three kinds of files, and what is said of bad ones."""

from __future__ import annotations

import numpy as np
import pytest

from rnnsweep.app.results.sequences import read_sequences
from rnnsweep.errors import ConfigError


def test_arrays_are_one_sequence_or_many(tmp_path):
    one, many = np.arange(6.0).reshape(3, 2), np.arange(12).reshape(2, 3, 2)
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "many.npy", many)
    np.savez(tmp_path / "both.npz", first=one, rest=many)
    assert [(s.name, s.values.tolist()) for s in read_sequences(tmp_path / "one.npy", 2)] == [("0", one.tolist())]
    assert [s.name for s in read_sequences(tmp_path / "many.npy", 2)] == ["0", "1"]
    found = read_sequences(tmp_path / "both.npz", 2)
    assert [s.name for s in found] == ["first", "rest[0]", "rest[1]"]
    assert np.array_equal(found[2].values, many[1])


@pytest.mark.parametrize("text", ["a,b\n1,2\n3,4\n", "1,2\n3,4\n", "\ufeffa,b\r\n1,2\r\n\r\n3,4\r\n"])
def test_a_table_without_names_of_sequences_is_one(tmp_path, text):
    (tmp_path / "x.csv").write_text(text, encoding="utf-8", newline="")
    (found,) = read_sequences(tmp_path / "x.csv", 2)
    assert found.values.tolist() == [[1, 2], [3, 4]]


def test_a_column_tells_sequences_apart_wherever_it_stands(tmp_path):
    (tmp_path / "x.csv").write_text("a,sequence,b\n1,u,2\n3,u,4\n5,v,6\n")
    found = {one.name: one.values.tolist() for one in read_sequences(tmp_path / "x.csv", 2)}
    assert found == {"u": [[1, 2], [3, 4]], "v": [[5, 6]]}


BAD = {
    "a,b\n1,2\n3,x\n": r"x\.csv: row 3, column b='x': is no number",
    "a,b\n1,2\n3,\n": r"row 3, column b='': is missing",
    "a,b\n1,nan\n": r"row 2, column b='nan': is not finite",
    "a,b\n1,2\n3\n": r"x\.csv: row 3: has 1 values; allowed: 2",
    "a,b,c\n1,2,3\n": "has 3 columns of inputs",
    "sequence,a,b\nu,1,2\nv,1,2\nu,1,2\n": r"row 4, column sequence='u': begins again",
    "": "holds no sequence",
    "a,b\n": "holds no sequence",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_table_is_refused_with_row_and_column(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ConfigError, match=BAD[text]) as error:
        read_sequences(tmp_path / "x.csv", 2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 4)), r"array is float64 \[3, 4\]; allowed: numbers \[steps, 2\]"),
        (np.zeros(2), r"\[2\]"),
        (np.zeros((0, 2)), r"\[0, 2\]"),
        (np.array([["a", "b"]]), r"<U1 \[1, 2\]"),
        (np.array([[0, 1], [np.inf, 0]]), r"x\.npy: array\[1, 0\]=inf: is not finite"),
        (np.array([[{}, 1]], dtype=object), "cannot be read"),
    ],
)
def test_a_bad_array_is_refused_with_its_place(tmp_path, array, said):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(ConfigError, match=said) as error:
        read_sequences(tmp_path / "x.npy", 2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"), [("x.npz", b"no"), ("x.npy", b""), ("x.csv", b"\xff\xfe\xfa"), ("x.txt", b"1")]
)
def test_what_is_no_such_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        read_sequences(tmp_path / name, 2)
    with pytest.raises(ConfigError, match=r"No such file|no file of sequences"):
        read_sequences(tmp_path / f"none-{name}", 2)


def test_an_archive_names_the_array_that_is_wrong(tmp_path):
    np.savez(tmp_path / "x.npz", good=np.zeros((3, 2)), wrong=np.zeros((3, 5)))
    with pytest.raises(ConfigError, match=r"array wrong is float64 \[3, 5\]"):
        read_sequences(tmp_path / "x.npz", 2)
