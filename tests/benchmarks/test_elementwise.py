"""Instructions of a step, counted by running its formulas: against counts by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import elementwise

from rnnsweep.core.recurrence.gated_formulas import LstmStep
from rnnsweep.core.recurrence.known_formulas import FORMULAS
from rnnsweep.core.recurrence.step_formulas import Increment, OwnUnitsRelu


def test_a_step_counts_as_by_hand() -> None:
    # step: step * tanh(x), added to h; back: step * g (1 - f f); the error of the state
    assert elementwise.of_formulas(Increment()) == elementwise.TANH + 2 + 4 + 1


def test_relu_is_a_comparison_and_a_selection() -> None:
    found = elementwise.of_formulas(OwnUnitsRelu())
    assert 2 + 2 <= found < elementwise.TANH


def test_an_lstm_has_five_bends() -> None:
    assert 5 * elementwise.TANH < elementwise.of_formulas(LstmStep()) < 7 * elementwise.TANH


@pytest.mark.parametrize("formulas", FORMULAS, ids=lambda kind: kind.__name__)
def test_every_cell_can_be_counted(formulas) -> None:
    assert elementwise.of_formulas(formulas()) > 0


def test_a_matrix_memory_counts_as_by_hand() -> None:
    # a pair: two sums of logarithms, e to them, times a product; a unit: a quotient, times 1 / (1 + e^-o)
    assert elementwise.of_memory(1, 0) == elementwise.EXP + 3
    assert elementwise.of_memory(0, 1) == elementwise.EXP + 5
