"""The reservoir is what was asked for, stays as it is, and its states are those of a plain leaky network."""

from __future__ import annotations

from functools import wraps

import pytest
import torch

from rnnsweep.core.families.esn import Esn
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.layered import layered
from rnnsweep.core.loops import LoopRun, Run
from rnnsweep.core.stack import Stack
from rnnsweep.core.training import train_rung
from tests.kit.gradients import Parts, assert_equals
from tests.kit.networks import Setup

FIXED = ("w_rec", "w_in", "b")


def states(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
    h, found, a = torch.zeros(inputs.shape[1], len(parts["b"]), dtype=torch.float64), [], own["leak"]
    for u in inputs:
        h = (1 - a) * h + a * torch.tanh(u @ parts["w_in"] + h @ parts["w_rec"] + parts["b"])
        found.append(h)
    return torch.stack(found)


def test_states_equal_a_leaky_network_and_only_the_read_out_has_gradients():
    assert_equals(Esn(hidden=7), states, hypers=[{"leak": 0.3}, {"leak": 1.0}], ignored=FIXED)


def test_the_reservoir_is_sparse_with_the_given_radius_and_scales():
    family = Esn(hidden=40, rho=0.8, nonzeros=6, input_scale=0.3, bias_scale=0.2)
    found = family.initial({}, family.parameters(3, 2), torch.arange(3))
    assert (found["w_rec"] != 0).sum(2).unique().tolist() == [6]
    assert torch.linalg.eigvals(found["w_rec"]).abs().amax(1).tolist() == pytest.approx([0.8] * 3, abs=1e-12)
    assert 0.25 < float(found["w_in"].abs().max()) <= 0.3
    assert 0.15 < float(found["b"].abs().max()) <= 0.2
    again = family.initial({}, family.parameters(3, 2), torch.arange(1, 3))
    assert torch.equal(again["w_rec"], found["w_rec"][1:])


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_training_moves_the_read_out_only(engine):
    pack = Setup(family=Esn(hidden=8), engine=engine).pack([0])
    before = pack.row(0).params
    train_rung(pack, 3, 1)
    after = pack.row(0).params
    assert {name for name in before if torch.equal(before[name], after[name])} == set(FIXED)


def test_errors_go_back_through_a_reservoir_only_for_what_is_told_at_a_rung_s_end(monkeypatch):
    rungs, back = {}, Run.walk_back
    for whole in (False, True):
        pack, calls = Setup(family=layered(Esn(hidden=8, layers=2)), engine="cpu").pack([0]), []
        with monkeypatch.context() as patch:
            patch.setattr(LoopRun, "backward", counted(LoopRun.backward, calls))
            if whole:
                patch.setattr(Run, "walk_back", lambda *a, **k: back(*a, **k | {"whole": True}))
            metrics = train_rung(pack, 3, 1)
        rungs[whole] = (len(calls), pack.row(0).params, metrics)
    assert (rungs[False][0], rungs[True][0]) == (2, 6)
    assert all(torch.equal(value, rungs[True][1][name]) for name, value in rungs[False][1].items())
    assert rungs[False][2] == rungs[True][2]


def counted(method, calls):
    @wraps(method)
    def call(*arguments, **named):
        calls.append(1)
        return method(*arguments, **named)

    return call


def test_a_trained_layer_below_a_reservoir_gets_its_errors():
    found = {}
    for rungs in (1, 2):  # of both the first two updates: at a rung's end errors go everywhere
        pack = Setup(family=Stack(first=Srn(hidden=6), second=Esn(hidden=6)), engine="cpu").pack([0])
        for _ in range(rungs):
            train_rung(pack, 2 // rungs, 1)
        found[rungs] = pack.row(0).params
    assert all(torch.equal(value, found[2][name]) for name, value in found[1].items())
