"""Where the loss is the last step's, an engine may show that step alone: the numbers are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.recurrence.base import LastStepEngine
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.training import tiles, train_batch
from rnnsweep.core.types import Wanted
from tests.contract.test_rows import found
from tests.contract.test_sequence_lengths_of_networks import of_batch
from tests.core.test_stack import stack
from tests.kit.networks import Setup
from tests.kit.ragged import Ragged

FAMILIES = [(name, cls) for name, cls, _ in found("family") if name != "srn_feedback"]
FEWER = {"mlstm", "lru_block", "s5"}
"""Families whose engines show the last step alone."""


def setups(name: str) -> list[Setup]:
    family = dict(FAMILIES)[name](hidden=6)
    setup = Setup(family=family, task=Ragged(every=False))
    fused, _ = engine_for(family.cell, "cpu", family.cell_activation, setup.dtype, setup.device)
    return [setup, replace(setup, engine="cpu")] if fused.name == "cpu" else [setup]


@pytest.mark.parametrize("name", [name for name, _ in FAMILIES])
def test_a_gradient_is_the_same_to_the_bit_whether_a_trace_is_wanted_or_not(name: str) -> None:
    for setup in setups(name):
        pack = setup.pack([0, 1])
        (_, tile), *_ = tiles(pack)
        batch = train_batch(tile)
        seen, alone = (of_batch(pack, batch, Wanted(trace=trace)) for trace in (True, False))
        assert seen.passes[-1].trace is not None
        assert torch.equal(alone.loss, seen.loss)
        assert torch.equal(alone.gradients, seen.gradients)


@pytest.mark.parametrize("name", sorted(FEWER))
def test_who_shows_the_last_step_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noted(method: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: (asked.append(method), plain(*given))[1]

    for setup in setups(name):
        engine = type(setup.program().engine)
        for method in ("forward", "forward_last"):
            monkeypatch.setattr(engine, method, noted(method, getattr(engine, method)))
        ways = {
            "alone": (setup, Wanted()),
            "traced": (setup, Wanted(trace=True)),
            "cut": (replace(setup, learner=Bptt(horizon=3)), Wanted()),
            "every step": (replace(setup, task=Ragged(every=True)), Wanted()),
        }
        first: dict[str, str] = {}
        for way, (changed, want) in ways.items():
            asked.clear()
            pack = changed.pack([0])
            (_, tile), *_ = tiles(pack)
            of_batch(pack, train_batch(tile), want)
            first[way] = asked[0]
        assert first == {"alone": "forward_last", "traced": "forward", "cut": "forward", "every step": "forward"}
        monkeypatch.undo()


@pytest.mark.parametrize("name", sorted(FEWER))
def test_layers_below_the_last_one_show_all_steps(name: str) -> None:
    layer = dict(FAMILIES)[name](hidden=6)
    pack = Setup(family=stack(layer, layer), task=Ragged(every=False)).pack([0, 1])
    (_, tile), *_ = tiles(pack)
    batch = train_batch(tile)
    seen, alone = (of_batch(pack, batch, Wanted(trace=trace)) for trace in (True, False))
    assert torch.equal(alone.gradients, seen.gradients)


def test_other_engines_show_all() -> None:
    for name, cls in FAMILIES:
        family = cls(hidden=6)
        setup = Setup(family=family, task=Adding(length=12))
        fused, _ = engine_for(family.cell, "cpu", family.cell_activation, setup.dtype, setup.device)
        shows = {isinstance(engine, LastStepEngine) for engine in (setup.program().engine, fused)}
        assert shows == {name in FEWER}, name
