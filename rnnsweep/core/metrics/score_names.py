"""How scorers are called in configs, and as metrics. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnsweep.unit import Metric

GROUP = "scorer"
"""Folder of their yamls."""
RESPONSE, WORST, LABEL = "_response_", "_worst_", "_label_"
"""Keys that are no arguments: what the function is given, what a diverged replica scores, words for an axis."""
ARGUMENTS_BESIDE = ("_target_", RESPONSE, WORST, LABEL)
RESPONSES = ("predict", "predict_proba")


def key_of(name: str) -> str:
    """The metric of a scorer."""
    return f"valid/{name}"


def declared(blocks: Mapping[str, Mapping[str, Any]]) -> dict[str, Metric]:
    """Metrics of the scorers of a config."""
    return {
        key_of(name): Metric(f"{block.get('_target_')} on the evaluation set", block.get(LABEL, name), drawn=True)
        for name, block in blocks.items()
    }


def worst(blocks: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """What a diverged replica scores, by metric, where a yaml says so."""
    return {key_of(name): float(block[WORST]) for name, block in blocks.items() if block.get(WORST) is not None}
