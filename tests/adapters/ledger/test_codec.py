from __future__ import annotations

import datetime
import json
import math
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.adapters.ledger.codec import decode, decode_report, encode, encode_report, encode_trial, trial_fields
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState, TrialState
from rnnsweep.sweep.views import TrialView

text = st.text(max_size=10) | st.sampled_from(["$float", "$dict", "$", "\x00", "\ud800"])
scalar = st.floats() | st.integers() | text | st.booleans() | st.none()
nested = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text | st.integers(), inner, max_size=4)
)


@given(nested)
def test_round_trip(value: object) -> None:
    assert repr(decode(encode(value))) == repr(value)  # repr tells -0.0, nan, 1 and True apart


@given(
    st.dictionaries(text, st.floats(), max_size=20),
    text,
    st.floats(),
    st.none() | st.integers(0, 2**63 - 1),
    st.sampled_from(RowState),
)
def test_reports_come_back_to_the_bit(metrics, engine, device_s, solved_at, state) -> None:
    report = RowReport(1, 2, "0001-ab", 3, 4, metrics, state, solved_at, device_s=device_s, engine=engine)
    assert repr(decode_report(1, 2, 3, 4, encode_report(report))) == repr(report)


@given(st.dictionaries(text, scalar, max_size=6), st.lists(st.floats(), max_size=2), st.none() | st.integers(), text)
def test_trials_come_back_to_the_bit(params, values, solved_at, reason) -> None:
    view = TrialView(1, TrialState.RUNNING, params, tuple(values), reason, solved_at=solved_at, history=(reason,))
    assert repr(TrialView(**trial_fields(encode_trial(view)))) == repr(view)


def test_fingerprints_come_back_and_take_no_room_where_there_is_one() -> None:
    view = TrialView(1, TrialState.COMPLETE, {}, (0.5,), fingerprints=(0, 2))
    assert TrialView(**trial_fields(encode_trial(view))) == view
    assert "fingerprint" not in encode_trial(TrialView(1, TrialState.COMPLETE, {}, (0.5,)))
    report = RowReport(1, 2, "0001-ab", 3, 4, {}, fingerprint=2)
    assert decode_report(1, 2, 3, 4, encode_report(report)) == report
    assert "fingerprint" not in encode_report(RowReport(1, 2, "0001-ab", 3, 4, {}))


@given(nested)
def test_text_is_what_the_standard_library_reads_the_same(value: object) -> None:
    """No other encoder's habits: the tags are all that is ours."""
    shown = encode(value)
    assert shown.isascii()
    json.loads(shown, parse_constant=pytest.fail)


def test_text_is_plain_json_in_ascii() -> None:
    value = {"a": math.inf, "b": "Ω\x00", "c": 0.1}
    shown = encode(value)
    assert shown.isascii()
    assert json.loads(shown, parse_constant=pytest.fail) == {"a": {"$float": "inf"}, "b": "Ω\x00", "c": 0.1}


def test_read_only_mappings_and_tuples() -> None:
    assert decode(encode(MappingProxyType({"a": MappingProxyType({"b": (1, 2)})}))) == {"a": {"b": [1, 2]}}


@pytest.mark.parametrize(
    "value", [object(), {"a": b"bytes"}, {1, 2}, RowReport(1, 0, "", 1, 1, {}), datetime.date(2026, 1, 1)]
)
def test_what_is_no_plain_data_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="not JSON-able"):
        encode(value)
