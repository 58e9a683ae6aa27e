from __future__ import annotations

import json
import math
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnsweep.adapters.ledger.codec import decode, encode, encode_flat

text = st.text(max_size=10) | st.sampled_from(["$float", "$dict", "$", "\x00", "\ud800"])
scalar = st.floats() | st.integers() | text | st.booleans() | st.none()
nested = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text | st.integers(), inner, max_size=4)
)


@given(nested)
def test_round_trip(value: object) -> None:
    assert repr(decode(encode(value))) == repr(value)  # repr tells -0.0, nan, 1 and True apart


@given(st.dictionaries(text, st.floats() | text, max_size=5))
def test_flat_mappings_give_the_same_text(value: dict[str, float]) -> None:
    assert encode_flat(value) == encode(value)


def test_text_is_plain_json_in_ascii() -> None:
    value = {"a": math.inf, "b": "Ω\x00", "c": 0.1}
    shown = encode(value)
    assert shown.isascii()
    assert json.loads(shown, parse_constant=pytest.fail) == {"a": {"$float": "inf"}, "b": "Ω\x00", "c": 0.1}


def test_read_only_mappings_and_tuples() -> None:
    assert decode(encode_flat(MappingProxyType({"a": MappingProxyType({"b": (1, 2)})}))) == {"a": {"b": [1, 2]}}


@pytest.mark.parametrize("value", [object(), {"a": b"bytes"}, {1, 2}])
def test_what_is_no_plain_data_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="not JSON-able"):
        encode(value)
