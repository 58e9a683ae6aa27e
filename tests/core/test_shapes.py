"""Shapes in annotations are checked while tests run."""

from __future__ import annotations

import importlib

import jaxtyping
import pytest
import torch

from rnnsweep.core.recurrence.base import Tangent
from rnnsweep.core.recurrence.reference import ReferenceEngine
from tests.kit.shapes import annotated_modules


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
