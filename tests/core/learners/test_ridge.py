"""The closed form against the normal equations of all mini-batches seen, written by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from rnnsweep.core.controllers.base import Tally
from rnnsweep.core.families.esn import Esn
from rnnsweep.core.learners.ridge import Ridge
from rnnsweep.core.pack import Pack
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.periodic_output import PeriodicOutput
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import tiles, train_batch, train_rung, update
from tests.kit.networks import Setup, assert_same_row


def ridge_pack(task: Task, replicas: list[int], washout: int = 0, alphas: tuple[float, ...] = (0.5,)) -> Pack:
    setup = Setup(family=Esn(hidden=8), task=task, controllers={})
    program = dataclasses.replace(setup.program(), learner=Ridge(washout=washout))
    pack = Pack(program)
    for replica in replicas:
        hypers = {**setup.hypers(), "learner.alpha": alphas[replica % len(alphas)], "family.leak": 0.7}
        member = setup.member(replica)
        pack.join([(dataclasses.replace(member, hypers=hypers), setup.state(program, replica))])
    return pack


def plain_states(parts: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    h, found = torch.zeros(inputs.shape[1], 8, dtype=torch.float64), []
    for u in inputs:
        h = 0.3 * h + 0.7 * torch.tanh(u @ parts["w_in"] + h @ parts["w_rec"] + parts["b"])
        found.append(h)
    return torch.stack(found)


@pytest.mark.parametrize(
    ("task", "washout"),
    [(TemporalOrder(length=12), 0), (Adding(length=12), 0), (PeriodicOutput(length=20), 4)],
    ids=["classes", "values", "every step"],
)
def test_the_read_out_solves_the_normal_equations_of_all_batches(task, washout):
    pack = ridge_pack(task, [0, 1], washout, (0.5, 0.01))
    (_, tile), *_ = tiles(pack)
    rows: list[list] = [[], []]
    for _ in range(3):
        batch = train_batch(tile)
        values = pack.program.layout.view(pack.params.clone())
        for p in range(2):
            length = int(batch.lengths[p])
            h = plain_states({k: v[p] for k, v in values.items()}, batch.inputs[p][-length:])
            y = batch.targets[p] if not task.per_step else batch.targets[p][-length:]
            y = torch.nn.functional.one_hot(y, task.n_outputs).double() if task.loss.name == "cross_entropy" else y
            rows[p].append((h[washout:].flatten(0, 1), y[washout:].flatten(0, 1)) if task.per_step else (h[-1], y))
        update(tile, Tally())
    found = pack.program.layout.view(pack.params)
    for p, alpha in enumerate((0.5, 0.01)):
        x, y = (torch.cat([part[i] for part in rows[p]]) for i in (0, 1))
        x = torch.cat((x, torch.ones(len(x), 1, dtype=torch.float64)), 1)
        penalty = alpha * torch.eye(9, dtype=torch.float64)
        penalty[8, 8] = 0
        want = torch.linalg.solve(x.T @ x + penalty, x.T @ y)
        torch.testing.assert_close(found["w_out"][p], want[:8], rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(found["b_out"][p], want[8], rtol=1e-8, atol=1e-10)


def test_rows_are_strangers_and_the_equations_travel_with_the_row():
    task = TemporalOrder(length=(10, 16))
    wide, lone = ridge_pack(task, [0, 1, 2]), ridge_pack(task, [1])
    for _ in range(2):
        ours, alone = train_rung(wide, 3, 1)[1], train_rung(lone, 3, 1)[0]
        assert ours == alone
    assert_same_row(wide.row(1), lone.row(0))
    moved = ridge_pack(task, [0])
    moved.join([(wide.members[1], wide.row(1))])
    train_rung(wide, 3, 1)
    train_rung(moved, 3, 1)
    assert_same_row(moved.row(1), wide.row(1))


def test_a_non_finite_row_diverges_alone():
    pack = ridge_pack(TemporalOrder(length=12), [0, 1])
    pack.program.layout.view(pack.params)["w_in"][1].fill_(math.nan)
    train_rung(pack, 3, 1)
    assert pack.status.tolist() == [0, 3]
