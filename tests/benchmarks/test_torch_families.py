"""The torch programs that families are timed against compute what the families do."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from rnnsweep.core import families as package
from rnnsweep.core.families.base import Family
from rnnsweep.core.loops import loops_of, run
from rnnsweep.core.training import train_batch
from tests.kit.networks import Setup, context_of
from tests.kit.units import concrete

FAMILIES = {unit.__module__.rpartition(".")[2]: unit for unit in concrete(package, Family)}


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("torch_families")


def test_every_state_is_the_familys(programs) -> None:
    """In one test: the programs' own list says which there are."""
    assert len(programs.PROGRAMS) >= 30
    for name, program in programs.PROGRAMS.items():
        setup = Setup(family=FAMILIES[name](hidden=8), sigma=0.4)
        pack = setup.pack([0, 3])
        tile, context = context_of(pack)
        hypers, batch = tile.unit_hypers("family"), train_batch(tile)
        found = run(loops_of(pack.program.wires, context.values, hypers), batch)
        ours = found.see(setup.readout, context.values, per_step=False).states
        for row in range(2):
            values = {key: value[row] for key, value in context.values.items()}
            own = {key: float(value[row]) for key, value in hypers.items()}
            theirs = program(values, own, batch.inputs[row])
            torch.testing.assert_close(theirs, ours[row, 1:], rtol=1e-10, atol=1e-12, msg=name)


def test_an_update_learns(programs) -> None:
    for name in programs.PROGRAMS:
        setup = Setup(family=FAMILIES[name](hidden=8), sigma=0.2)
        tile, context = context_of(setup.pack([0]))
        values = {key: value[0] for key, value in context.values.items()}
        hypers = {key: float(value[0]) for key, value in tile.unit_hypers("family").items()}
        inputs, classes = train_batch(tile).inputs[0], torch.arange(5) % 4
        update = programs.torch_update(name, values, hypers, lambda given=(inputs, classes): given)
        losses = [float(update()) for _ in range(8)]
        assert losses[-1] < losses[0], name
