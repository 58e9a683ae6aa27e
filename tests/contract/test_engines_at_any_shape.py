"""Engines equal their one-row references at any shape.

A file of its own: tests of the GPU take the cases of the others, and run where hypothesis is not installed.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnsweep.core.activations import ACTIVATIONS
from tests.contract import test_described_engines as described
from tests.contract import test_engines as simple
from tests.contract import test_gated_engines as gated


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("engine", list(simple.KNOWN))
def test_simple_loops(engine: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(ACTIVATIONS)))
    T, B, I = (data.draw(st.integers(1, high)) for high in (9, 23, 5))  # noqa: E741
    H = data.draw(st.integers(1, 40)) * (2 if name == "oplu" else 1)
    flags: dict[str, Any] = {k: data.draw(st.booleans()) for k in ("leak", "steps", "driven")}
    case = simple.Case(name, (2, T, B, H, I), seed=data.draw(st.integers(0, 99)), **flags)
    simple.check_against_one_row(simple.usable(engine), case)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("engine", list(gated.ENGINES))
@pytest.mark.parametrize("cell", list(gated.CELLS))
def test_gated_loops(engine: str, cell: str, data: st.DataObject) -> None:
    T, B, H, I = (data.draw(st.integers(1, high)) for high in (9, 23, 40, 5))  # noqa: E741
    flags: dict[str, Any] = {key: data.draw(st.booleans()) for key in ("steps", "driven", "wide")}
    case = gated.Case(cell, (2, T, B, H, I), seed=data.draw(st.integers(0, 99)), **flags)
    gated.check_against_one_row(engine, case)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("engine", list(described.ENGINES))
@pytest.mark.parametrize("kind", list(described.KINDS))
def test_described_loops(engine: str, kind: str, data: st.DataObject) -> None:
    T, B, H, I = (data.draw(st.integers(1, high)) for high in (9, 23, 40, 5))  # noqa: E741
    flags: dict[str, Any] = {key: data.draw(st.booleans()) for key in ("steps", "driven", "wide")}
    case = described.Case(kind, (2, T, B, H, I), seed=data.draw(st.integers(0, 99)), **flags)
    described.check_against_one_row(engine, case)
