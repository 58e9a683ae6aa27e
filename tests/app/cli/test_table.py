"""`rnnsweep table`: field names that scripts rely on."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

ROW = {
    "trial",
    "state",
    "step",
    "objective",
    "value",
    "params",
    "attempts",
    "solved_at",
    "diverged_at",
    "reason",
    "fingerprints",
    "mlflow_run_id",
}


def test_table_json_is_sorted_and_infinite_is_a_word(run):
    rows = json.loads(run("table", "quickstart", "--json").stdout)
    assert [row["trial"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert all(set(row) == ROW for row in rows)
    assert rows[1]["params"]["controllers.sampling.q_max"] == "Infinity"
    assert rows[0]["params"]["controllers.sampling.q_max"] == 2.0
    assert rows[2]["objective"] is None
    assert rows[2]["reason"] == "bug: ValueError: no"
    assert rows[4]["diverged_at"] == 320


def test_a_running_trial_stands_at_its_newest_rung(run, driven):
    running = json.loads(run("table", "quickstart", "--json").stdout)[5]
    assert (running["state"], running["step"], running["objective"], running["value"]) == ("RUNNING", 240, None, 0.625)
    text = run("table", "quickstart").stdout
    assert re.search(r"5 +RUNNING +240 +0\.625\*", text)
    assert "* so far" in text


def test_without_a_driver_no_trial_runs_and_what_it_has_reached_is_kept(run):
    waiting = json.loads(run("table", "quickstart", "--json").stdout)[5]
    assert (waiting["state"], waiting["step"], waiting["value"]) == ("WAITING", 240, 0.625)
    assert json.loads(run("show", "quickstart", "5", "--json").stdout)["state"] == "WAITING"
    assert "RUNNING" not in run("table", "quickstart").stdout


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_what_does_not_fit_is_left_out_and_named_and_no_number_loses_digits(run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", "400")
    whole = run("table", "quickstart").stdout.splitlines()
    monkeypatch.setenv("COLUMNS", str(width))
    lines = run("table", "quickstart").stdout.splitlines()
    rows = lines[1:7]
    assert max(map(len, lines[:7])) <= width
    numbers = {word for line in whole for word in line.split() if re.fullmatch(r"-?[\d.e+-]+|-?inf", word)}
    shown = [word for row in rows for word in row.split() if re.fullmatch(r"-?[\d.]*…?", word)]
    assert set(shown) <= numbers
    assert not any("…" in word for word in shown)
    if width < 100:
        left_out = next(line for line in lines if line.startswith("not shown: "))
        assert "--wide" in left_out
        assert run("table", "quickstart", "--wide").stdout.splitlines()[0].split() == whole[0].split()


def test_a_diverged_or_failed_trial_says_so(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = run("table", "quickstart").stdout.splitlines()
    assert "diverged at 320" in lines[5]
    assert "bug: ValueError" in lines[3]


def test_infinite_is_printed_as_it_would_be_typed(run):
    lines = run("table", "quickstart", "--columns", "q_min,q_max").stdout.splitlines()
    assert lines[1].split() == ["-inf", "2"]
    assert lines[2].split() == ["-inf", "inf"]


def test_sort_where_and_columns(run):
    found = run(
        "table",
        "quickstart",
        "--where",
        "state=complete",
        "--where",
        "objective<0.9",
        "--sort",
        "-objective",
        "--columns",
        "trial,sigma",
    ).stdout.splitlines()
    assert [line.split() for line in found] == [["trial", "init.sigma"], ["0", "0.05"], ["1", "0.06"]]
    assert [row["trial"] for row in json.loads(run("table", "quickstart", "--json", "--sort", "objective").stdout)] == [
        1, 0, 3, 4, 2, 5,
    ]  # fmt: skip


def test_csv_has_all_columns_and_digits(run):
    rows = list(csv.DictReader(io.StringIO(run("table", "quickstart", "--csv").stdout)))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert rows[1]["controllers.sampling.q_max"] == "inf"
    assert float(rows[3]["init.sigma"]) == 0.05 + 0.01 * 3
    assert rows[2]["objective"] == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sort", "objectiv"), ["--sort", "objectiv", "objective"]),
        (("--columns", "trial,sigm"), ["--columns", "sigm"]),
        (("--where", "weight"), ["--where", "COLUMN=VALUE"]),
        (("--where", "omega.wait<1"), ["--where", "omega.wait"]),
        (("--where", "objective<abc"), ["--where", "abc", "a number"]),
        (("--columns", ""), ["--columns", "no such column"]),
        (("--sort", ""), ["--sort", "no such column"]),
        (("--csv", "--json"), ["--csv"]),
    ],
)
def test_mistyped_options_name_what_is_allowed(run, options, words):
    result = run("table", "quickstart", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert all(word in result.stderr for word in words)


def test_every_head_is_a_name_that_sorts_filters_and_selects(run, monkeypatch):
    for width in ("400", "80"):
        monkeypatch.setenv("COLUMNS", width)
        heads = re.split(r"  +", run("table", "quickstart").stdout.splitlines()[0].strip())
        assert len(heads) > 4
        for head in heads:
            assert run("table", "quickstart", "--sort", head).exit_code == 0
            assert run("table", "quickstart", "--where", f"{head}=none").exit_code == 0
            assert run("table", "quickstart", "--columns", head).exit_code == 0


def test_options_without_effect_are_said(run):
    assert "--columns has no effect" in run("table", "quickstart", "--json", "--columns", "trial").stderr
    assert "--wide has no effect beside --csv" in run("table", "quickstart", "--csv", "--wide").stderr
