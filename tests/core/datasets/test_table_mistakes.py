"""Bad files of the user's own: one line with file, row, column and value, and what would be right."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest

from rnnsweep.core.tasks.table_task import TableTask
from rnnsweep.errors import ConfigError

HEAD = "id,t,a,b,kind\n"
ROWS = [f"{i},{t},{i + t}.5,{i * t},{'xy'[i % 2]}\n" for i in range(8) for t in range(3)]
GOOD = HEAD + "".join(ROWS)
ROLES = {"group": "id", "time": "t", "target": "kind"}


def changed(row: int, text: str) -> str:
    """The good file with another row, counted from 1 as an editor does."""
    lines = GOOD.splitlines(keepends=True)
    lines[row - 1] = text
    return "".join(lines)


def npz(**arrays):
    def write(file):
        np.savez(file, **arrays)

    return write


def parquet(table):
    return lambda file: pd.DataFrame(table).to_parquet(file, index=False)


def broken_text(file):
    """A column of texts with a byte that no text has."""
    import pyarrow
    import pyarrow.parquet

    texts = pyarrow.Array.from_buffers(pyarrow.string(), 1, [None, *pyarrow.array([b"\xff"]).buffers()[1:]])
    pyarrow.parquet.write_table(pyarrow.table({"kind": texts}), file)


def lines(*items):
    return "".join(json.dumps(item) + "\n" for item in items)


GARBAGE = bytes(range(256)) * 20
SEQUENCES = [{"a": [1, 2], "kind": "xy"[i % 2]} for i in range(8)]
FILES = {
    # name, content, options, what the line says in this order
    "empty": ("x.csv", "", {}, ["task.path='", "x.csv': is empty"]),
    "header only": ("x.csv", HEAD, {}, ["x.csv': has a first row of names and no other"]),
    "other delimiter": ("x.csv", GOOD.replace(",", ";"), {}, ["are separated by ';', not by ','", "commas in a .csv"]),
    "no names": ("x.csv", "1,2\n3,4\n", {}, ["row 1 has numbers where the names of the columns are expected"]),
    "a name twice": ("x.csv", "a,a\n1,2\n", {}, ["x.csv: row 1, column 2='a'", "name of another column"]),
    "index of pandas": ("x.csv", ",a\n0,1\n", {}, ["row 1, column 1: has no name", "index=False"]),
    "too few cells": ("x.csv", changed(7, "1,2,3\n"), {}, ["x.csv: row 7, column a: has 3 cells, the first row has 5"]),
    "no number": ("x.csv", changed(9, "2,1,oops,2,x\n"), {}, ["row 9, column a='oops': is no number", "numbers"]),
    "decimal comma": ("x.csv", changed(9, '2,1,"3,5",2,x\n'), {}, ["row 9, column a='3,5': is no number"]),
    "decimal commas": (
        *("x.csv", "id,a,b,kind\n" + "".join(f'{i},"{i},5",1.5,{"xy"[i % 2]}\n' for i in range(9))),
        {"time": None},
        ["row 2, column a='0,5': is no number", "Numbers have a decimal point, no comma."],
    ),
    "no target in a part": (
        *("x.csv", "t,a,kind\n" + "".join(f"{t},{t % 7},{'xy'[t % 2] if t < 70 else ''}\n" for t in range(100))),
        {"group": None, "goal": "label", "split": "time", "missing": "zero"},
        ["task.target=['kind']: is empty in all of the valid part of"],
    ),
    "infinite": ("x.csv", changed(9, "2,1,inf,2,x\n"), {}, ["row 9, column a=inf: is not finite"]),
    "too large": ("x.csv", changed(9, "2,1,1e39,2,x\n"), {}, ["row 9, column a=1e+39: is too large for float32"]),
    "too far from training": (
        *("x.csv", "a,b\n" + "1e-7,1\n2e-7,2\n" * 40 + "1,1\n" * 9 + "1e38,2\n"),
        {"group": None, "time": None, "target": "b", "goal": "label", "split": "time"},
        ["x.csv: row 91, column a=1e+38: is too large for float32 once it is standardised"],
    ),
    "missing": ("x.csv", changed(9, "2,1,NaN,2,x\n"), {}, ["row 9, column a: is empty", "task.missing=zero"]),
    "missing class": ("x.csv", GOOD.replace(",x\n", ",\n"), {}, ["row 2, column kind: is empty"]),
    "two classes": ("x.csv", changed(9, "2,1,3,2,y\n"), {}, ["row 9, column kind='y': differs from x"]),
    "same time": ("x.csv", changed(9, "2,0,3,2,x\n"), {}, ["row 9, column t='0': is the time of row 8 too"]),
    "no time": ("x.csv", changed(9, "2,noon,3,2,x\n"), {}, ["row 9, column t='noon': is no time", "2024-05-31"]),
    "no group": ("x.csv", changed(9, ",1,3,2,x\n"), {}, ["row 9, column id: is empty"]),
    "unknown column": ("x.csv", GOOD, {"target": "kin"}, ["task.target='kin'", "no such column", "mean 'kind'"]),
    "unknown input": ("x.csv", GOOD, {"inputs": ["a", "c"]}, ["task.inputs='c'", "x.csv has no such column"]),
    "target as input": ("x.csv", GOOD, {"inputs": ["kind"]}, ["task.inputs='kind': is the target"]),
    "no target": ("x.csv", GOOD, {"target": None}, ["task.target='null': is needed by task.goal=classify"]),
    "one sequence": (
        "x.csv",
        GOOD,
        {"group": None, "time": None, "target": "id"},
        ["task.split: ", "holds 1 sequence, too few", "task.group says which"],
    ),
    "one series": (
        *("x.csv", GOOD, {"group": None, "time": None, "goal": "forecast", "target": "a"}),
        ["task.split", "holds 1 sequence, too few", "task.split=time"],
    ),
    "one class": ("x.csv", GOOD.replace(",y\n", ",x\n"), {}, ["task.target='kind': is constant", "two classes"]),
    "class of validation only": (
        *("x.csv", GOOD.replace("kind", "kind,part").replace(",x\n", ",x,train\n").replace(",y\n", ",y,valid\n")),
        {"split": "given", "split_by": "part", "target": "id", "time": None, "inputs": ["a"]},
        ["column id='3': is a class of the valid part that the training part does not have"],
    ),
    "no such part": (
        *("x.csv", GOOD, {"split": "given", "split_by": "a"}),
        ["column a='1.5': differs"],
    ),
    "no part": ("x.csv", GOOD, {"split": "given", "split_by": "kind"}, ["row 2, column kind='x': is no part", "valid"]),
    "no column of parts": ("x.csv", GOOD, {"split": "given"}, ["task.split_by='split'", "no such column"]),
    "too few groups": ("x.csv", GOOD, {"split": "group", "split_by": "kind"}, ["holds 2 groups of kind, too few"]),
    "numbers as classes": (
        "x.csv",
        "id,a,y\n" + "".join(f"{i},{i % 3},{i / 7}\n" for i in range(40)),
        {"time": None, "target": "y"},
        ["task.target='y': has", "different values", "task.goal=regress"],
    ),
    "constant number": (
        *("x.csv", GOOD.replace(",x\n", ",3\n").replace(",y\n", ",3\n")),
        {"goal": "regress"},
        ["task.target='kind': is constant"],
    ),
    "no labels": ("x.csv", GOOD, {"target": ["kind", "b"]}, ["row 2, column kind='x': is neither 0 nor 1"]),
    "too short to look ahead": (
        *("x.csv", GOOD, {"goal": "forecast", "target": "a", "horizon": 3}),
        ["task.split='random': leaves no sample for the train part", "more than 3 steps"],
    ),
    "binary": ("x.csv", GARBAGE, {}, ["x.csv': is no"]),
    "utf-16": ("x.csv", GOOD.encode("utf-16"), {}, ["x.csv': is no UTF-8 text after row 0", "Save it as UTF-8"]),
    "latin": ("x.csv", changed(9, "2,1,3,2,\xe4\n").encode("latin-1"), {}, ["is no UTF-8 text after row"]),
    "a quote that never ends": ("x.csv", changed(9, '2,1,"3,2,x\n'), {}, ["x.csv': row 25 cannot be read"]),
    "binary parquet": ("x.parquet", GARBAGE, {}, ["x.parquet': is no readable Parquet file"]),
    "nested parquet": ("x.parquet", parquet({"a": [{"b": 1}] * 8}), {}, ["x.parquet: column a: is struct", "lists"]),
    "text that is none": (
        *("x.parquet", broken_text, {}),
        ["x.parquet: column kind: cannot be read ("],
    ),
    "twice nested parquet": ("x.parquet", parquet({"a": [[[1.0]]] * 8}), {}, ["x.parquet: column a: is list<"]),
    "binary npz": ("x.npz", GARBAGE, {}, ["x.npz': is no readable .npz file"]),
    "pickled npz": ("x.npz", npz(x=np.array([{}], dtype=object)), {}, ["x.npz': is no readable", "pickled"]),
    "ragged npz": (
        *("x.npz", npz(values=np.zeros((9, 2)), lengths=np.array([3, 4]))),
        *({}, ["x.npz': lengths add up to 7 steps, values has 9"]),
    ),
    "empty sequence": (
        *("x.npz", npz(values=np.zeros((3, 2)), lengths=np.array([3, 0]))),
        *({}, ["x.npz': sequence 1 has 0 steps"]),
    ),
    "sizes that do not fit": ("x.npz", npz(x=np.zeros((4, 3, 2)), y=np.zeros(5)), {}, ["array y is [5]", "4 rows"]),
    "no array": ("x.npy", b"", {}, ["x.npy': is no readable .npy"]),
    "no json": ("x.jsonl", lines(*SEQUENCES) + "{\n", {}, ["x.jsonl': row 9 is no JSON"]),
    "no object": ("x.jsonl", "[1, 2]\n", {}, ["row 1 is no JSON object"]),
    "lists of two lengths": (
        *("x.jsonl", lines({"a": [1, 2], "b": [1]}), {}),
        ["x.jsonl: row 1, column b: has 1 steps, a has 2"],
    ),
    "a key that is missing": (
        *("x.jsonl", lines(*SEQUENCES, {"a": [1]}), {}),
        ["row 9, column kind: is in this line or in the first one only"],
    ),
    "nested json": ("x.jsonl", lines({"a": [{"b": 1}]}), {}, ["row 1, column a: is nested (dict at a step)"]),
    "missing in an array": (
        *("x.npz", npz(x=np.where(np.arange(48).reshape(6, 4, 2) == 21, np.nan, 1.0), y=np.arange(6) % 2)),
        *({"group": None, "time": None, "target": "y"}, ["x.npz: sequence 2, step 3, column x1: is empty"]),
    ),
    "missing in a sequence": (
        *("x.jsonl", lines(*SEQUENCES, {"a": [1, None], "kind": "x"})),
        *({"group": None, "time": None}, ["x.jsonl: row 9, step 2, column a: is empty"]),
    ),
    "text for a number": (
        *("x.jsonl", lines(*SEQUENCES, {"a": [1, "two"], "kind": "x"})),
        *({"group": None, "time": None}, ["row 9, step 2, column a='two': is no number"]),
    ),
    "another kind": ("x.xlsx", GARBAGE, {}, ["x.xlsx': is of an unknown kind (.xlsx)", ".csv"]),
}


@pytest.mark.parametrize("name", FILES)
def test_one_line_says_what_is_wrong(name, tmp_path):
    file, content, options, wanted = FILES[name]
    path = tmp_path / file
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        TableTask(str(path), **{**ROLES, **options})
    message = str(caught.value)
    assert "\n" not in message
    at = 0
    for words in wanted:
        assert words in message[at:], message
        at = message.index(words, at) + len(words)


def test_the_good_file_is_good(tmp_path):
    (tmp_path / "x.csv").write_text(GOOD)
    assert TableTask(str(tmp_path / "x.csv"), **ROLES).samples == 6
    # a mark at the start, other ends of lines and empty lines are none of anybody's business
    (tmp_path / "y.csv").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n\r\n").encode())
    assert TableTask(str(tmp_path / "y.csv"), **ROLES).samples == 6


def test_a_folder_of_several_kinds_and_an_empty_one(tmp_path):
    with pytest.raises(ConfigError, match="holds no file of a known kind"):
        TableTask(str(tmp_path), **ROLES)
    for name in ("x.csv", "y.tsv"):
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(ConfigError, match=r"holds files of several kinds: \.csv, \.tsv"):
        TableTask(str(tmp_path), **ROLES)
    (tmp_path / "y.tsv").unlink()
    (tmp_path / "z.csv").write_text("a\n1\n")
    with pytest.raises(ConfigError, match=r"z\.csv': has other columns than x\.csv: b is in one of them only"):
        TableTask(str(tmp_path), **ROLES)


def test_a_file_that_is_not_there():
    with pytest.raises(ConfigError, match="no such file or folder") as caught:
        TableTask("/nowhere/x.csv", **ROLES)
    assert caught.value.key == "task.path"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inputs", []),
        ("inputs", "a"),
        ("inputs", ["a", "a"]),
        ("inputs", [1]),
        ("target", []),
        ("target", 3),
        ("group", 5),
        ("time", ""),
        ("split_by", ["a"]),
        ("shares", [1, 1]),
        ("shares", [1, 0, 1]),
        ("shares", 0.7),
        ("horizon", 0),
        ("length", 0),
        ("tolerance", 0),
    ],
)
def test_fields_that_make_no_sense(key, value):
    with pytest.raises(ConfigError) as caught:
        TableTask(**{key: value})
    assert caught.value.key == f"task.{key}"


def test_weights_are_for_one_target(tmp_path):
    (tmp_path / "x.csv").write_text(GOOD.replace(",x\n", ",0\n").replace(",y\n", ",1\n"))
    with pytest.raises(ConfigError, match=r"task\.weights"):
        TableTask(str(tmp_path / "x.csv"), group="id", target=["kind", "b"], weights="balanced")


def originals(folder):
    """The bytes of a good file of each kind."""
    table = pd.read_csv(io.StringIO(GOOD))
    table.to_parquet(folder / "x.parquet", index=False)
    table.to_json(folder / "x.jsonl", orient="records", lines=True)
    np.savez(folder / "x.npz", values=table[["a", "b"]].to_numpy(), lengths=np.full(8, 3), kind=["x", "y"] * 4)
    (folder / "x.csv").write_text(GOOD)
    return {file.suffix: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet", ".npz"])
def test_whatever_bytes_are_changed_the_answer_is_one_line_or_numbers(kind, tmp_path):
    good, random = originals(tmp_path)[kind], np.random.default_rng(11)
    roles = {"target": "kind"} if kind == ".npz" else ROLES
    lines = []
    for number in range(150):
        content = bytearray(good)
        for place in random.integers(0, len(good), size=random.choice([1, 2, 9])):
            content[place : place + random.integers(0, 3)] = random.bytes(random.integers(0, 3))
        (tmp_path / f"{number}{kind}").write_bytes(content)
        try:
            prepared = TableTask(str(tmp_path / f"{number}{kind}"), **roles).prepared()
        except ConfigError as error:
            lines.append(str(error))
        else:
            assert np.isfinite(prepared.inputs).all()
    assert 30 < len(lines) < 150
    assert "\n" not in "".join(lines)
