"""Gradient norms through time against closed forms and a plain network."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core.analyses.gradient_flow import GradientFlow, gradient_norms_of
from rnnsweep.core.embeddings.learned import LearnedEmbedding
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.readouts.attention import Attention
from rnnsweep.core.readouts.mlp import Mlp
from rnnsweep.core.tasks.copying import Copying
from tests.kit.networks import Setup
from tests.kit.ragged import RaggedSymbols
from tests.kit.trained import orthogonal, rows_of


def test_an_orthogonal_network_keeps_the_norm():
    rows = rows_of(Setup(family=Srn(hidden=6, activation="identity")), w_rec=orthogonal(6))
    tables = GradientFlow(sequences=5).measure(rows)
    norms = tables["norms"]["norm"].reshape(3, -1)
    assert norms == pytest.approx(norms[:, :1].repeat(norms.shape[1], 1), rel=1e-12)
    assert tables["norms"]["lag"].reshape(3, -1)[0].tolist() == list(range(norms.shape[1] - 1, -1, -1))
    assert tables["summary"]["rate"] == pytest.approx(0, abs=1e-13)


def test_a_shrinking_network_loses_it_at_its_rate():
    rows = rows_of(Setup(family=Srn(hidden=6, activation="identity")), w_rec=0.5 * orthogonal(6))
    summary = GradientFlow(sequences=5).measure(rows)["summary"]
    steps = rows.batch(5).inputs.shape[1] - 1
    assert summary["rate"] == pytest.approx(math.log(0.5), rel=1e-12)
    assert summary["kept"] == pytest.approx(0.5**steps, rel=1e-12)


def test_norms_are_those_of_a_plain_network():
    rows = rows_of(Setup(family=Srn(hidden=5)), (0, 1))
    found, batch = gradient_norms_of(rows, 3), rows.batch(3)
    for row in range(2):
        w = {name: value[row] for name, value in rows.values.items()}
        for b in range(3):
            states = [torch.zeros(1, 5, requires_grad=True)]
            for u in batch.inputs[row, :, b]:
                states.append(torch.tanh(states[-1] @ w["w_rec"] + u[None] @ w["w_in"] + w["b"]))
            y = states[-1] @ w["w_out"] + w["b_out"]
            cost = torch.nn.functional.cross_entropy(y, batch.targets[row, b : b + 1])
            expected = [part.norm() for part in torch.autograd.grad(cost, states[1:])]
            torch.testing.assert_close(found[row, :, b], torch.stack(expected), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    "setup",
    [Setup(family=Lstm(hidden=4), task=Copying(length=4)), Setup(readout=Attention(heads=2))],
    ids=["read at every step", "a read-out that looks back"],
)
def test_tasks_and_readouts_of_other_kinds(setup):
    found = gradient_norms_of(rows_of(setup), 2)
    assert found.isfinite().all()
    assert (found > 0).any(1).all()


def test_norms_are_those_of_a_plain_network_behind_a_look_up():
    """A tied table whose lines come in, and as outputs of a hidden layer over the last state."""
    setup = Setup(
        family=Srn(hidden=5), task=RaggedSymbols(), embedding=LearnedEmbedding(size=4, tied=True),
        readout=Mlp(hidden=4, activation="tanh"),
    )  # fmt: skip
    rows = rows_of(setup, (0, 1))
    found, batch = gradient_norms_of(rows, 3), rows.batch(3)
    assert batch.inputs.shape[-1] == 4
    for row in range(2):
        w = {name: value[row] for name, value in rows.values.items()}
        for b in range(batch.inputs.shape[2]):
            states = [torch.zeros(1, 5, requires_grad=True)]
            for u in batch.inputs[row, :, b]:
                assert (w["embedding"] == u).all(-1).any()
                states.append(torch.tanh(states[-1] @ w["w_rec"] + u[None] @ w["w_in"] + w["b"]))
            y = torch.tanh(states[-1] @ w["w_mlp1"] + w["b_mlp1"]) @ w["embedding"].T + w["b_out"]
            cost = torch.nn.functional.cross_entropy(y, batch.targets[row, b : b + 1])
            expected = [part.norm() for part in torch.autograd.grad(cost, states[1:])]
            torch.testing.assert_close(found[row, :, b], torch.stack(expected), rtol=1e-11, atol=1e-14)
            single = rows.part(row, row + 1).outputs(states[-1][None])
            torch.testing.assert_close(single[0], y, rtol=1e-12, atol=1e-13)
