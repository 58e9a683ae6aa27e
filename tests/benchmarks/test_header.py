"""What benchmarks write above their tables."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


def test_the_header_names_the_machine_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    text = importlib.import_module("speed").header(2)
    assert "2 cores" in text
    assert "torch " in text
    assert "(" in text.partition("Machine: ")[2].partition(",")[0], "the vector extension beside the name"
