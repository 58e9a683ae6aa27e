"""`rnnsweep predict`: predictions as a table on the screen or in a file; bad files in one line."""

from __future__ import annotations

import csv
import io

import numpy as np
from typer.testing import CliRunner

from rnnsweep.app.cli.main import app


def predict(tiny, *arguments: object):
    return CliRunner().invoke(app, ["predict", "tiny", "--store", str(tiny[0]), *map(str, arguments)])


def test_the_best_trial_or_another(tiny, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(6)[None])
    best = tiny[1].best.number
    printed = {number: predict(tiny, "--data", tmp_path / "x.npy", "--trial", number).stdout for number in range(3)}
    assert predict(tiny, "--data", tmp_path / "x.npy").stdout == printed[best]
    assert len(set(printed.values())) == 3
    (row,) = csv.DictReader(io.StringIO(printed[best]))
    assert list(row) == ["sequence", "class", "p0", "p1", "p2", "p3"]


def test_a_file_gets_what_would_be_printed(tiny, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(6)[None])
    done = predict(tiny, "--data", tmp_path / "x.npy", "--out", tmp_path / "y.csv")
    assert done.exit_code == 0 and "1 sequence" in done.stdout
    assert (tmp_path / "y.csv").read_text() == predict(tiny, "--data", tmp_path / "x.npy").stdout


def test_errors_are_one_line_and_nothing_is_written(tiny, tmp_path):
    (tmp_path / "x.csv").write_text("a,b,c,d,e,f\n1,2,3,4,5,six\n")
    done = predict(tiny, "--data", tmp_path / "x.csv", "--out", tmp_path / "y.csv")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1 and "x.csv: row 2, column f='six': is no number" in done.stderr
    assert not (tmp_path / "y.csv").exists()
    for wrong in (["--trial", 9], ["--trial", -1], ["--out", tmp_path / "y.txt"]):
        done = predict(tiny, "--data", tmp_path / "x.csv", *wrong)
        assert done.exit_code == 2 and done.stderr.count("\n") == 1 and wrong[0].strip("-") in done.stderr
