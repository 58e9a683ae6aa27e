"""Replies in JSON."""

from __future__ import annotations

import json
import math

import numpy as np

from rnnsweep.service.replies import dumped, journal_entry, plain_json
from rnnsweep.sweep.ports import Change
from rnnsweep.sweep.states import TrialState


def test_infinities_are_words_and_numbers_of_numpy_numbers():
    data = {"a": [math.inf, -math.inf, math.nan], "b": np.int64(3), "c": np.float64(0.5), "d": (1, None)}
    expected = {"a": ["Infinity", "-Infinity", None], "b": 3, "c": 0.5, "d": [1, None]}
    assert json.loads(bytes(plain_json(data).body)) == expected


def test_an_event_is_one_line():
    assert "\n" not in dumped({"a": "x\ny\r"})


def test_an_entry_of_the_sweep_repeats_no_config():
    change = Change(3, "sweep", None, 1.0, {"state": TrialState.COMPLETE, "config": {"a": 1}, "overrides": ("b",)})
    assert journal_entry(change) == {"seq": 3, "kind": "sweep", "trial": None, "at": 1.0, "data": {"state": "COMPLETE"}}
