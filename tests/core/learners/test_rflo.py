"""RFLO against its online recursion and closed form; RTRL = BPTT = differences."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core import readout, rng
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.learners.rflo import Rflo
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.periodic_output import PeriodicOutput
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_rung
from tests.kit.networks import Setup, context_of, loss_at

TASKS = [TemporalOrder(length=(10, 14)), Copying(length=4), PeriodicOutput(length=12)]
each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
LEAKS = (0.3, 0.8)


def case(task, learner, leak: tuple[float, float] = LEAKS):
    setup = Setup(family=Srn(5, leak=leak[0]), task=task, learner=learner, controllers={}, batch=2)
    pack = setup.pack([0], 100, family__leak=leak[0])
    pack.join([(setup.member(1, family__leak=leak[1]), setup.state(pack.program, 1))])
    return pack, *context_of(pack)


def errors_of(context) -> torch.Tensor:
    """dC/dy_t by autograd, [P, T, B, O]; zero where nothing is read out."""
    states, values = context.trace.record.h[:, 1:], context.values
    shift = torch.zeros(*states.shape[:3], values["w_out"].shape[2], dtype=torch.float64, requires_grad=True)
    eye = torch.eye(shift.shape[-1]).double().expand(len(states), -1, -1)
    wide = {"w_out": torch.cat((values["w_out"], eye), 1), "b_out": values["b_out"]}
    loss = readout.loss(context.task, wide, torch.cat((states, shift), -1), context.batch)
    return torch.autograd.grad(loss.sum(), shift)[0]


def online(context, row: int, leak: float, sent: torch.Tensor) -> dict[str, torch.Tensor]:
    """The published recursion, one sequence after another; `sent` [T, B, H] is the error at the hidden units."""
    record, batch = context.trace.record, context.batch
    T, B, H = sent.shape
    size = {"w_rec": H, "w_in": batch.inputs.shape[-1], "b": 1}
    total = {name: torch.zeros(n, H).double() for name, n in size.items()}
    for b in range(B):
        p = {name: torch.zeros(n, H).double() for name, n in size.items()}
        for t in range(T - int(batch.lengths[row]), T):
            before = {"w_rec": record.h[row, t, b], "w_in": batch.inputs[row, t, b], "b": torch.ones(1).double()}
            drives = [before[name] @ context.values[name][row].reshape(n, H) for name, n in size.items()]
            slope = 1 - torch.tanh(torch.stack(drives).sum(0)) ** 2
            for name in size:
                p[name] = (1 - leak) * p[name] + leak * torch.outer(before[name], slope)
                total[name] += sent[t, b] * p[name]
    return {**total, "b": total["b"][0]}


@each_task
@pytest.mark.parametrize("align", ["random", "symmetric"])
def test_the_sum_is_that_of_the_online_recursion(task, align):
    pack, tile, context = case(task, Rflo(align=align))
    found, errors = context.layout.view(context.gradients), errors_of(context)
    for row, leak in enumerate(LEAKS):
        w_out = context.values["w_out"][row]
        key = torch.tensor([tile.keys["learner"][row]])
        drawn = rng.normals(key, w_out.numel(), rng.stream_of("feedback"))[0].view(w_out.shape[1], -1)
        back = w_out.T if align == "symmetric" else drawn / math.sqrt(w_out.shape[1])
        for name, want in online(context, row, leak, errors[row] @ back).items():
            torch.testing.assert_close(found[name][row], want, rtol=1e-10, atol=1e-14)
    del pack


@each_task
def test_the_read_out_learns_exactly(task):
    _, _, context = case(task, Rflo())
    _, _, exact = case(task, Bptt())
    found, want = (each.layout.view(each.gradients) for each in (context, exact))
    for name in ("w_out", "b_out"):
        assert torch.equal(found[name], want[name])
    assert not torch.equal(found["w_rec"], want["w_rec"])


@each_task
def test_closed_form_at_tau_one(task):
    """leak = 1: the eligibility is f'(a_b(t)) h_a(t-1), nothing older."""
    _, tile, context = case(task, Rflo(), (1.0, 1.0))
    assert context.trace is not None
    record, errors = context.trace.record, errors_of(context)
    back = Rflo().matrix(context.values["w_out"], tile.learner_own())
    slope = context.activation.slope_from_output(record.h[:, 1:])
    local = torch.einsum("ptbo,poh->ptbh", errors, back) * slope
    want = torch.einsum("ptba,ptbh->pah", record.h[:, :-1], local)
    torch.testing.assert_close(context.layout.view(context.gradients)["w_rec"], want, rtol=1e-11, atol=1e-15)


def rtrl(context, row: int, leak: float) -> torch.Tensor:
    """dC/dW_rec of one row by real-time recurrent learning: dh/dW carried forward, exact."""
    record, batch, errors = context.trace.record, context.batch, errors_of(context)
    w = context.values["w_rec"][row]
    T, B = batch.inputs.shape[1:3]
    H = len(w)
    total = torch.zeros(H, H).double()
    eye = torch.eye(H).double()
    for b in range(B):
        influence = torch.zeros(H, H, H).double()  # unit, from, to
        for t in range(T - int(batch.lengths[row]), T):
            h, u = record.h[row, t, b], batch.inputs[row, t, b]
            a = h @ w + u @ context.values["w_in"][row] + context.values["b"][row]
            slope = 1 - torch.tanh(a) ** 2
            direct = torch.einsum("a,ub->uab", h, eye)
            carried = torch.einsum("vab,vu->uab", influence, w)
            influence = (1 - leak) * influence + leak * slope[:, None, None] * (direct + carried)
            total += torch.einsum("u,uab->ab", errors[row, t, b] @ context.values["w_out"][row].T, influence)
    return total


@each_task
def test_rtrl_is_bptt_is_finite_differences(task):
    pack, tile, context = case(task, Bptt())
    found = context.layout.view(context.gradients)["w_rec"]
    for row, leak in enumerate(LEAKS):
        torch.testing.assert_close(rtrl(context, row, leak), found[row], rtol=1e-10, atol=1e-14)
    size = 1e-6
    for a, b in ((0, 0), (1, 3), (4, 2)):
        ends = []
        for sign in (1, -1):
            params = tile.params.clone()
            pack.program.layout.view(params)["w_rec"][:, a, b] += sign * size
            ends.append(loss_at(pack, tile, params))
        torch.testing.assert_close((ends[0] - ends[1]) / (2 * size), found[:, a, b], rtol=1e-6, atol=1e-9)


def test_it_teaches_the_loop_what_a_trained_read_out_alone_cannot():
    """Without feedback only the read-out learns. A read-out of zero has loss (1 + 1/4 + 1/16) / 2 = .656."""
    task = PeriodicOutput(length=20, period=20.0)
    setup = Setup(
        Srn(20, leak=0.2), task, learner=Rflo(), controllers={}, engine="cpu", batch=1, eval_size=1, sigma=0.1
    )
    hypers = {"family__leak": 0.2, "optimizer__lr": 0.04, "optimizer__momentum": 0.9}
    pack = setup.pack([0, 1], 400, **hypers)
    hypers["learner__feedback"] = 0.0
    pack.join([(setup.member(r, 400, **hypers), setup.state(pack.program, r)) for r in (0, 1)])
    losses = [row["valid/loss"] for row in train_rung(pack, 400, 1)]
    assert max(losses[:2]) < 0.12
    assert min(losses[2:]) > 0.18
