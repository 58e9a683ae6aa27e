"""A term that a backward loop takes along: only where rule and engine can, and all who want one want the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rnnsweep.core.controllers.base import Additive, Context, Tally
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.recurrence.base import BackwardTerm, NormRatio
from rnnsweep.core.tile import tiles, update
from tests.kit.networks import Setup


@dataclass(frozen=True)
class Curvature(BackwardTerm):
    """A term that no engine knows."""


OMEGAS = NormRatio(True, True, 1e-20)


@dataclass(frozen=True)
class Asking(Additive):
    """A controller that would like a term, and forms it from the trace where no loop took it along."""

    term: BackwardTerm = OMEGAS
    needs_trace = True

    @property
    def backward_term(self) -> BackwardTerm:
        return self.term

    def add(self, context: Context) -> torch.Tensor:
        context.notes["taken along"] = torch.tensor(context.term is not None)
        context.notes["trace"] = torch.tensor(context.trace is not None)
        return context.gradients


def term_of(*controllers: Additive, engine: str = "cpu", learner: Bptt | None = None) -> BackwardTerm | None:
    named = {f"c{index}": unit for index, unit in enumerate(controllers)}
    return Setup(controllers=named, engine=engine, learner=learner or Bptt()).program().backward_term  # type: ignore[arg-type]


def test_who_takes_a_term_along() -> None:
    omega = Omega(weight=0.5)
    assert term_of(omega) == omega.backward_term == OMEGAS
    assert term_of(omega, Asking()) == omega.backward_term, "two who want the same"
    assert term_of(omega, Omega(weight=0.5, form="ratio")) is None, "two terms for one loop"
    assert term_of(omega, engine="reference") is None, "a loop that takes nothing along"
    assert term_of(omega, learner=Bptt(horizon=3)) is None, "a rule that cuts the sequence"
    assert term_of(Asking(Curvature())) is None, "a term that the loop does not know"
    assert term_of(Omega(weight=0.5, state="pre")) is None
    assert term_of(Omega(weight=0.5, gradient="full")) is None


def test_a_controller_gets_its_term_or_the_trace() -> None:
    for term, taken in ((OMEGAS, True), (Curvature(), False)):
        pack = Setup(controllers={"asking": Asking(term)}, engine="cpu").pack([0, 1])
        (_, tile), *_ = tiles(pack)
        notes = update(tile, Tally()).notes
        assert bool(notes["taken along"]) == taken
        assert bool(notes["trace"]) == (not taken)
