"""Shapes in annotations are checked while tests run."""

from __future__ import annotations

import importlib

import jaxtyping
import pytest
import torch

from rnnsweep.core.numerics import matmul
from rnnsweep.core.recurrence.base import Tangent
from rnnsweep.core.recurrence.reference import ReferenceEngine
from tests.kit.shapes import ALIKE, CALLS, annotated_modules, forget_calls


def test_the_core_has_shapes_and_they_are_checked() -> None:
    modules = annotated_modules()
    assert {f"rnnsweep.core.{name}" for name in ("types", "tile", "recurrence.reference")} <= set(modules)
    for name in modules:
        importlib.import_module(name)


def test_a_wrong_shape_or_type_is_an_error() -> None:
    engine, x = ReferenceEngine(), torch.zeros(2, 3, 4, dtype=torch.float64)
    assert engine.matmul(x, x.transpose(1, 2)).shape == (2, 3, 3)
    with pytest.raises(jaxtyping.TypeCheckError, match="right"):
        engine.matmul(x, x)
    with pytest.raises(jaxtyping.TypeCheckError, match="exponent"):
        Tangent(x, x, torch.zeros(2))
    with pytest.raises(jaxtyping.TypeCheckError, match="exponent"):
        Tangent(x, x, torch.zeros(3, dtype=torch.int64))


def test_after_a_while_only_calls_with_new_shapes_are_checked() -> None:
    right = torch.zeros(2, 3, 4, dtype=torch.float64)
    for _ in range(ALIKE):
        matmul(right.transpose(1, 2), right)
    with pytest.raises(jaxtyping.TypeCheckError):
        matmul(right, right)
    with pytest.raises(RuntimeError, match=r"bmm|expected|size"):  # torch's own
        matmul(right, right)
    for size in range(5, 5 + CALLS - ALIKE - 2):
        matmul(torch.zeros(2, size, size), torch.zeros(2, size, size))
    with pytest.raises(RuntimeError, match=r"bmm|expected|size"):
        matmul(torch.zeros(2, 3, 7), torch.zeros(2, 3, 7))
    forget_calls()
    with pytest.raises(jaxtyping.TypeCheckError):
        matmul(right, right)
