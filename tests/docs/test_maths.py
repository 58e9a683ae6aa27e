"""Numbers of the page of formulas against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.tasks import (
    adding,
    bracket_language,
    context_integration,
    delayed_match,
    flip_flop,
    group_words,
    lorenz63,
    multiplication,
    parity,
    perceptual_decision,
    permutation,
    sequential_digits,
    temporal_order,
    temporal_order_3bit,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/maths.md").read_text(encoding="utf-8")
TASKS = {
    "adding": adding.Adding,
    "bracket_language": bracket_language.BracketLanguage,
    "context_integration": context_integration.ContextIntegration,
    "delayed_match": delayed_match.DelayedMatch,
    "flip_flop": flip_flop.FlipFlop,
    "group_words": group_words.GroupWords,
    "lorenz63": lorenz63.Lorenz63,
    "parity": parity.Parity,
    "perceptual_decision": perceptual_decision.PerceptualDecision,
    "multiplication": multiplication.Multiplication,
    "permutation": permutation.Permutation,
    "sequential_digits": sequential_digits.SequentialDigits,
    "temporal_order": temporal_order.TemporalOrder,
    "temporal_order_3bit": temporal_order_3bit.TemporalOrder3bit,
}


def section(title: str) -> str:
    return re.split(r"^## ", PAGE, flags=re.MULTILINE)[
        [*re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)].index(title) + 1
    ]


def rows(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[1:]]


@pytest.mark.parametrize("row", rows("Chance levels"), ids=lambda row: f"{row[0]}-{row[1]}")
def test_chance_levels(row):
    name, variant, loss, error = row
    key, _, value = variant.rpartition("=")
    task = TASKS[name](**({key or "variant": value} if variant else {}))
    assert task.chance_loss == pytest.approx(float(loss.split()[0]), rel=1e-2)
    assert task.chance_error == pytest.approx(float(error), rel=1e-2)


def test_all_activations_and_all_made_tasks_are_on_the_page():
    listed = {name for row in rows("Activations") for name in re.findall(r"`(\w+)`", row[0])}
    assert listed == set(ACTIVATIONS)
    tasks = {name for row in rows("Tasks") for name in re.findall(r"^`(\w+)`$", row[0])}
    assert tasks == {file.stem for file in (ROOT / "conf/task").glob("*.yaml")}


def test_defaults_that_the_page_names():
    omega = yaml.safe_load((ROOT / "conf/controllers/omega.yaml").read_text())
    named = re.search(r"\(\*\*default\*\*: (`.+?`)\)", section("Omega"))
    assert named is not None
    for key, value in re.findall(r"`(\w+)=(\w+)`", named[1]):
        assert omega[key] == value
    sampling = yaml.safe_load((ROOT / "conf/controllers/sampling.yaml").read_text())
    assert (sampling["direction"], sampling["q_reduce"]) == ("corrected", "ratio_of_means")
    for name in ("direction=corrected", "q_reduce=ratio_of_means"):
        assert name in section("Sampling")
