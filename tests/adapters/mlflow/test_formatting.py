"""Texts of the tracker: whatever a user or an exception says becomes what MLflow and its databases take."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.adapters.mlflow.formatting import (
    column_names,
    config_yaml,
    note,
    order_text,
    range_text,
    rank_of,
    rounded,
    trial_tags,
)
from rnnsweep.adapters.trial_texts import LONGEST_PARAM, TAGS, param_text
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.summary import Best, rank
from tests.kit.demo_sweep import PARAMS, make_plan


def test_params_and_columns():
    assert param_text(math.inf) == "inf"
    assert param_text([1, None]) == "[1, null]"
    assert param_text(0.1 + 0.2) == "0.30000000000000004"  # a param is what was trained
    assert rounded(0.1 + 0.2) == "0.3"  # a column is for people
    assert rounded(math.inf) == "inf"
    assert len(param_text("x" * 10_000)) == LONGEST_PARAM


def test_columns_are_short_and_distinct():
    keys = ["a.clip.threshold", "b.clip.threshold", "init.sigma", "family", "seed", "controllers.omega.weight"]
    names = column_names(keys, TAGS)
    assert names == {
        "a.clip.threshold": "a.clip.threshold",
        "b.clip.threshold": "b.clip.threshold",
        "init.sigma": "init.sigma",
        "family": "family",
        "seed": "searched.seed",
        "controllers.omega.weight": "omega.weight",
    }


def test_tags_of_a_trial():
    data = {"state": "FAILED", "params": {**PARAMS, "controllers.clip.threshold": 1 / 3}, "reason": "bad \udc80 text"}
    tags = trial_tags({**data, "extra": {"objective@200": 0.5}}, make_plan(), "srn", None)
    assert tags["clip.threshold"] == "0.3333"
    assert tags["reason"] == "bad \\udc80 text"
    assert tags["objective_at_200"] == "0.5"
    assert tags["seed"] == "7"
    assert "rnnsweep.order" not in tags
    assert "fingerprints" not in tags
    assert trial_tags({**data, "fingerprints": (0, 2)}, make_plan(), "srn", None)["fingerprints"] == "0+2"


finite = st.floats(allow_nan=False)


@given(st.lists(st.tuples(finite, st.none() | st.integers(0, 10**6), st.integers(0, 10**6)), min_size=2, max_size=6))
def test_order_sorts_as_the_rule_does_and_can_be_read_back(results):
    for goal in (Objective("e"), Objective("e", goal="maximize")):
        ranks = [rank(goal, value, solved, number) for value, solved, number in results]
        assert sorted(ranks) == sorted(ranks, key=order_text)
        assert [rank_of(order_text(one)) for one in ranks] == ranks


def test_config_of_a_trial_keeps_its_exact_params():
    text = config_yaml({"a": {"b": 1}, "name": "é"}, {"a.b": 0.1 + 0.2, "new.key": "x"}).decode()
    assert "b: 0.30000000000000004" in text
    assert "key: x" in text


def test_the_note_says_the_best_its_ties_and_the_commands_and_shows_choices_as_they_are():
    evil = "![x](http://tracker/x.png) <b>|"
    space = Space((Dimension("family.activation", "categorical", choices=(evil, "tanh")),))
    best = Best(rank(Objective("e"), 0.0, 90, 3), 0.0, 2)
    params = {"family.activation": evil, "init.sigma": "0.30000000000000004"}
    text = note(
        make_plan(space=space),
        "COMPLETE",
        (best, params),
        ("rnnsweep resume demo",),
        ["version 1 from trial 3 on: `x`=![x](http://tracker/x.png)"],
    )
    assert "Edited:" in text
    assert "Best: trial 3, objective 0 (2 others tie; it solved first)" in text
    assert "rnnsweep resume demo" in text
    for line in text.splitlines():
        if "tracker" in line:
            code = line.split("`")
            assert all("tracker" not in part for part in code[::2]), line  # only inside of code spans
    assert "\\|" in text
    assert "`init.sigma=0.3`" in text


@pytest.mark.parametrize(
    ("dimension", "text"),
    [
        (Dimension("n", "int", 1, 9, step=2), "1 … 9, step 2"),
        (Dimension("c", "categorical", choices=(math.inf, None, "a")), "inf, null, a"),
        (Dimension("x", "float", 0.0, 1.0, when={"family": ("lstm", "gru")}), "0 … 1 where family = lstm or gru"),
    ],
)
def test_ranges_in_words(dimension, text):
    assert range_text(dimension) == text
