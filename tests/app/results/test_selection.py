"""Conditions, orders and names of columns on entries of the table."""

from __future__ import annotations

import pytest

from rnnsweep.app.results.selection import as_csv, column_of, short_names, sort, where
from rnnsweep.errors import ConfigError


def entry(trial: int, objective: float | None, solved_at: int | None = None, **params) -> dict:
    return {
        "trial": trial,
        "state": "COMPLETE" if objective is not None else "RUNNING",
        "step": 100 * trial,
        "objective": objective,
        "value": objective,
        "solved_at": solved_at,
        "diverged_at": None,
        "attempts": 1,
        "reason": "",
        "fingerprints": None,
        "mlflow_run_id": None,
        "params": {key.replace("__", "."): value for key, value in params.items()},
    }


ENTRIES = [
    entry(0, 0.5, init__sigma=0.1, family="lstm", mixed="a"),
    entry(1, 0.0, 800, init__sigma=float("inf"), family="srn", mixed=20),
    entry(2, None, init__sigma=0.3, family="gru", bias=True),
    entry(3, 0.25, 400, family="srn"),
]


def numbers(entries) -> list[int]:
    return [entry["trial"] for entry in entries]


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("objective<0.5", [1, 3]),
        ("objective<=0.5", [0, 1, 3]),
        ("objective=0", [1]),
        ("state=running", [2]),
        ("family!=srn", [0, 2]),
        ("sigma>0.2", [1, 2]),
        ("sigma=inf", [1]),
        ("solved_at=none", [0, 2]),
        ("solved_at!=none", [1, 3]),
        ("sigma!=0.1", [1, 2, 3]),
        ("SIGMA>0.2", [1, 2]),
        ("solved at<500", [3]),
        ("note=none", [0, 1, 2, 3]),
        ("mixed=a", [0]),
        ("mixed>1", [1]),
        ("mixed!=a", [1, 2, 3]),
    ],
)
def test_conditions(condition, kept):
    assert numbers(where(ENTRIES, [condition])) == kept


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("objective<abc", ["'abc' is no number"]),
        ("objective<none", ["'none' is no number"]),
        ("objective>=nan", ["'nan' is no number"]),
        ("objective=<0.5", ["'<0.5'", "a number, none"]),
        ("objective=good", ["'good'", "a number, none"]),
        ("sigma>big", ["'big' is no number"]),
        ("mixed<a", ["'a' is no number"]),
        ("state=COMPLET", ["'COMPLET'", "WAITING, RUNNING, PAUSED, COMPLETE", "Did you mean 'COMPLETE'"]),
        ("state<5", ["no order", "=, !="]),
        ("family>lstm", ["no order"]),
        ("bias=1", ["'1'", "true, false, none"]),
        ("nope=3", ["no such column", "init.sigma"]),
        ("=3", ["no such column"]),
    ],
)
def test_what_a_column_cannot_be_compared_with_is_refused(condition, words):
    with pytest.raises(ConfigError) as caught:
        where(ENTRIES, [condition])
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_conditions_add_up():
    assert numbers(where(ENTRIES, ["family=srn", "solved_at<500"])) == [3]


@pytest.mark.parametrize(
    ("name", "order"),
    [(None, [0, 1, 2, 3]), ("objective", [1, 3, 0, 2]), ("-objective", [0, 3, 1, 2]), ("family", [2, 0, 1, 3])],
)
def test_missing_values_come_last_in_both_directions(name, order):
    assert numbers(sort(ENTRIES, name)) == order


def test_a_column_that_no_entry_left_has_still_sorts():
    assert sort([], "sigma", among=ENTRIES) == []
    assert numbers(sort(ENTRIES[3:], "-sigma", among=ENTRIES)) == [3]


def test_a_name_that_means_two_columns_is_refused():
    both = [entry(0, 1.0, controllers__l1__weight=1.0, controllers__l2__weight=2.0)]
    with pytest.raises(ConfigError, match=r"more than one .*allowed: controllers.l1.weight, controllers.l2.weight$"):
        column_of("weight", both, "--sort")
    assert column_of("l2.weight", both, "--sort") == "controllers.l2.weight"


def test_a_short_name_is_never_a_fields():
    assert short_names(["task.step", "init.sigma"]) == {"task.step": "task.step", "init.sigma": "sigma"}


def test_csv_keeps_every_digit_and_quotes_commas():
    text = as_csv([entry(0, 0.1 + 0.2, readout="a,b")], ["objective", "readout"])
    assert text == 'objective,readout\n0.30000000000000004,"a,b"\n'
