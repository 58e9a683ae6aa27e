"""A cell says itself which fused loops it has: a cell and an engine of one's own need no list elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnnsweep.core.activations import ACTIVATIONS, Activation
from rnnsweep.core.families.base import CellFamily, readout_parameters
from rnnsweep.core.recurrence.cells import CellEngine, Own, ProductCell
from rnnsweep.core.recurrence.choose import choose_engine, engine_for
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.gated_cells import LstmCell
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.types import ParameterSpec
from tests.kit.networks import Setup

CPU, NONE = torch.device("cpu"), ACTIVATIONS["identity"]


class AveragingEngine(CellEngine):
    """Fused loops of a user, here made of the step-by-step ones."""

    name = "cpu"

    def refuses(self, activation: Activation, dtype: torch.dtype) -> str | None:
        del activation
        return None if dtype == torch.float64 else f"{dtype} has no fused loop"


@dataclass(frozen=True)
class AveragingCell(ProductCell):
    """h <- (h + a + d) / 2."""

    additive: ClassVar[bool] = True
    fused: ClassVar[Mapping[str, str]] = {"cpu": f"{__name__}:AveragingEngine"}

    def step(self, a: Tensor, d: Tensor, s: Tensor, own: Own) -> Tensor:
        del own
        return 0.5 * (s + a + d)


@dataclass(frozen=True)
class OtherCell(AveragingCell):
    """Computes something else, so that the loops of its base are not its own."""


@dataclass(frozen=True)
class LostCell(AveragingCell):
    """Its loops need a library that is missing."""

    fused: ClassVar[Mapping[str, str]] = {"cpu": "a_library_that_is_missing.loops:Engine"}


@dataclass(frozen=True)
class Averaging(CellFamily):
    """A family with a cell of its own, all in one file."""

    @property
    def cell(self) -> AveragingCell:
        return AveragingCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        H = self.hidden
        own = (ParameterSpec("w_rec", (H, H), "recurrent"), ParameterSpec("w_in", (n_inputs, H), "input"))
        return (*own, *readout_parameters(H, n_outputs))


def test_a_cell_brings_its_loops_along() -> None:
    for name in ("auto", "cpu"):
        engine, note = engine_for(AveragingCell(4), name, NONE, torch.float64, CPU)
        assert (type(engine), note) == (AveragingEngine, "")
    engine, note = engine_for(AveragingCell(4), "reference", NONE, torch.float64, CPU)
    assert (type(engine), note) == (CellEngine, "")


def test_its_engine_may_refuse_and_may_be_missing() -> None:
    engine, note = engine_for(AveragingCell(4), "cpu", NONE, torch.float32, CPU)
    assert (type(engine), note) == (CellEngine, "cpu engine not used: torch.float32 has no fused loop")
    engine, note = engine_for(LostCell(4), "cpu", NONE, torch.float64, CPU)
    assert type(engine) is CellEngine
    assert "a_library_that_is_missing" in note
    engine, note = engine_for(AveragingCell(4), "auto", NONE, torch.float64, torch.device("cuda"))
    assert note == "gpu engine not used: AveragingCell has no fused loop on a GPU"


def test_loops_are_not_inherited() -> None:
    @dataclass(frozen=True)
    class Peephole(LstmCell):
        """A subclass of a cell with fused loops."""

    for cell in (OtherCell(4), Peephole(4)):
        engine, note = engine_for(cell, "auto", NONE, torch.float64, CPU)
        assert type(engine) is CellEngine
        assert note == f"cpu engine not used: {type(cell).__name__} has no fused loop"


def test_the_simple_cell_has_its_loops_as_before() -> None:
    assert type(choose_engine("auto", ACTIVATIONS["tanh"], torch.float32, CPU)[0]) is CpuEngine
    assert type(choose_engine("reference", ACTIVATIONS["tanh"], torch.float32, CPU)[0]) is ReferenceEngine


def test_a_family_with_such_a_cell_trains() -> None:
    from rnnsweep.core.training import train_rung

    setup = Setup(family=Averaging(hidden=6), engine="cpu")
    pack = setup.pack([0, 1], updates=4)
    assert type(pack.program.engine) is AveragingEngine
    train_rung(pack, 4, 1)
    reference = Setup(family=Averaging(hidden=6), engine="reference").pack([0, 1], updates=4)
    train_rung(reference, 4, 1)
    assert torch.equal(pack.params, reference.params)
