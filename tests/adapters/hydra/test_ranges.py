"""Ranges in every form that users may write."""

from __future__ import annotations

import dataclasses
import math

import pytest

from rnnsweep.adapters.hydra.ranges import dimension
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.space import Dimension

KEY = "optimizer.lr"


def number(low, high, **more) -> Dimension:
    return Dimension(KEY, "float", low, high, **more)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("interval(0, 1)", number(0.0, 1.0)),
        ("tag(log, interval(1e-6, 1e-2))", number(1e-6, 1e-2, log=True)),
        ("int(interval(1, 8))", Dimension(KEY, "int", 1, 8)),
        ("int(tag(log, interval(16, 256)))", Dimension(KEY, "int", 16, 256, log=True)),
        ("range(16, 129, 16)", Dimension(KEY, "int", 16, 128, step=16)),
        ("range(1, 4)", Dimension(KEY, "int", 1, 3)),
        ("range(0.1, 0.5, step=0.1)", number(0.1, 0.4, step=0.1)),
        ("choice(a, b)", Dimension(KEY, "categorical", choices=("a", "b"))),
        ("choice(-inf, 0.5, inf, true)", Dimension(KEY, "categorical", choices=(-math.inf, 0.5, math.inf, True))),
        ("choice(0, false)", Dimension(KEY, "categorical", choices=(0, False))),
        ([1, True, 1, 1.0], Dimension(KEY, "categorical", choices=(1, True, 1.0))),
        ("10,null", Dimension(KEY, "categorical", choices=(10, None))),
        ("1,2", Dimension(KEY, "categorical", choices=(1, 2))),
        ([1, "inf"], Dimension(KEY, "categorical", choices=(1, math.inf))),
        ({"low": 0.1, "high": 10, "log": True}, number(0.1, 10.0, log=True)),
        ({"low": 1, "high": 8, "int": True, "step": 1}, Dimension(KEY, "int", 1, 8)),
        ({"low": 0, "high": 1, "step": 0.25}, number(0.0, 1.0, step=0.25)),
        ({"choices": [1], "when": {"a": ["b"]}}, Dimension(KEY, "categorical", choices=(1,), when={"a": ("b",)})),
        ({"search": "interval(0, 1)", "when": {"family": "lstm"}}, number(0.0, 1.0, when={"family": ("lstm",)})),
    ],
)  # fmt: skip
def test_every_form_of_a_range(spec, expected):
    found = dimension(KEY, spec, "file")
    assert dataclasses.replace(found, high=expected.high) == expected
    assert found.high == (None if expected.high is None else pytest.approx(expected.high, rel=1e-12))


@pytest.mark.parametrize(
    "spec",
    [
        "wide",
        "intervall(0, 1)",
        "interval(1, 0)",
        "interval(0, inf)",
        "tag(log, interval(0, 1))",
        "tag(linear, interval(0, 1))",
        "choice()",
        "choice(nan, 1)",
        "choice([1, 2], 3)",
        "range(5, 1)",
        "shuffle(range(1, 5))",
        {"low": 0},
        {"low": 0, "hihg": 1},
        {"low": 0.5, "high": 8, "int": True},
        {"low": 1, "high": 8, "log": True, "step": 2},
        {"low": "a", "high": 1},
        {"low": 0, "high": 1, "step": 0},
        {"low": 1, "high": 2, "log": "false"},
        {"low": 1, "high": 2, "int": "no"},
        {"low": 1, "high": 2, "log": 1},
        ["a", "b\x1b[31m"],
        7,
    ],
)
def test_impossible_ranges_name_source_and_key(spec):
    with pytest.raises(ConfigError) as caught:
        dimension(KEY, spec, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml: space.optimizer.lr")
    assert caught.value.allowed


def test_stepped_values_are_as_one_would_write_them():
    dim = dimension(KEY, "range(0.1, 0.6, step=0.1)", "file")
    assert dim.cells() == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert dim.high == 0.5
    assert dimension(KEY, {"low": 0, "high": 1, "step": 0.1}, "file").cells()[3] == 0.3
