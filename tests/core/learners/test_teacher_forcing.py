"""Teacher forcing: p = 0, p = 1 and draws between against plain networks; schedules; refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.families.srn_feedback import SrnFeedback
from rnnsweep.core.learners.base import Learner
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.learners.teacher_forcing import TeacherForcing
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.interval_matching import IntervalMatching
from rnnsweep.core.tasks.periodic_output import PeriodicOutput
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, context_of

DOYA = TeacherForcing(units=(2,))
FORMS = [(SrnFeedback(5), TeacherForcing()), (SrnFeedback(5, leak=0.6), TeacherForcing()), (Srn(5), DOYA)]
each_form = pytest.mark.parametrize(("family", "rule"), FORMS, ids=str)


def case(family, rule: Learner, task=None, **hypers: Any):
    setup = Setup(family=family, task=task or PeriodicOutput(length=9), learner=rule, controllers={}, batch=3)
    pack = setup.pack([0, 1], 100, **hypers)
    return pack, *context_of(pack)


@each_form
@pytest.mark.parametrize("task", [PeriodicOutput(length=9), IntervalMatching()], ids=lambda task: type(task).__name__)
def test_p_zero_is_plain_backpropagation(family, rule, task):
    _, _, context = case(family, rule, task, learner__p=0.0)
    _, _, plain = case(family, Bptt(), task)
    torch.testing.assert_close(context.gradients, plain.gradients, rtol=1e-9, atol=1e-13)


def test_p_zero_with_a_cell_and_classes():
    rule, task = TeacherForcing(units=tuple(range(9))), Copying(length=3)
    _, _, context = case(Lstm(hidden=9), rule, task, learner__p=0.0)
    _, _, plain = case(Lstm(hidden=9), Bptt(), task)
    torch.testing.assert_close(context.gradients, plain.gradients, rtol=1e-9, atol=1e-13)


def told(rule: TeacherForcing, context, tile) -> torch.Tensor:
    """The draws of this update, [P, T, B]."""
    return rule.forced(context.batch, tile.learner_own())


def reference(family, rule, context, row: int, forced: torch.Tensor, alpha: float = 1.0) -> dict[str, torch.Tensor]:
    """Gradients of one row by autograd of the plain formulas; forced [T, B]."""
    live = {name: value[row].clone().requires_grad_() for name, value in context.values.items()}
    inputs, targets = context.batch.inputs[row], context.batch.targets[row]
    h, loss = torch.zeros(inputs.shape[1], family.hidden, dtype=torch.float64), torch.zeros(()).double()
    for t, u in enumerate(inputs):
        drive = u @ live["w_in"] + live["b"]
        if t and rule.units is not None:
            h = h.clone()
            for out, unit in enumerate(rule.units):
                mixed = (1 - alpha) * h[:, unit] + alpha * targets[t - 1, :, out]
                h[:, unit] = torch.where(forced[t - 1], mixed, h[:, unit])
        if rule.units is None:
            y = h @ live["w_out"] + live["b_out"]
            y = torch.where(forced[t - 1][:, None], (1 - alpha) * y + alpha * targets[t - 1], y) if t else y
            drive = drive + y @ live["w_fb"]
        h = (1 - family.leak) * h + family.leak * torch.tanh(h @ live["w_rec"] + drive)
        error = h @ live["w_out"] + live["b_out"] - targets[t]
        loss = loss + (error**2).sum(-1).mean() / len(inputs)
    return dict(zip(live, torch.autograd.grad(loss, list(live.values())), strict=True))


@each_form
@pytest.mark.parametrize("p", [0.4, 1.0])
def test_gradients_are_those_of_the_forced_network(family, rule, p):
    _, tile, context = case(family, rule, learner__p=p)
    forced = told(rule, context, tile)
    share = float(forced.double().mean())
    assert share == 1.0 if p == 1.0 else 0.1 < share < 0.7  # 54 draws at .4: sigma .067, +-4.5 sigma
    found = context.layout.view(context.gradients)
    for row in range(2):
        for name, want in reference(family, rule, context, row, forced[row]).items():
            torch.testing.assert_close(found[name][row], want, rtol=1e-10, atol=1e-14, msg=name)


@each_form
@pytest.mark.parametrize("p", [0.4, 1.0])
def test_generalised_forcing_mixes_targets_in(family, rule, p):
    _, tile, context = case(family, rule, learner__p=p, learner__alpha=0.3)
    forced, found = told(rule, context, tile), context.layout.view(context.gradients)
    for row in range(2):
        for name, want in reference(family, rule, context, row, forced[row], 0.3).items():
            torch.testing.assert_close(found[name][row], want, rtol=1e-10, atol=1e-14, msg=name)


@each_form
def test_without_a_target_in_the_mix_it_is_plain_backpropagation(family, rule):
    _, _, context = case(family, rule, learner__alpha=0.0)
    _, _, plain = case(family, Bptt())
    torch.testing.assert_close(context.gradients, plain.gradients, rtol=1e-9, atol=1e-13)


def test_at_p_one_the_fed_back_network_is_one_with_the_targets_as_inputs():
    """Nothing flows through the outputs' way round: their gradient is that of the read-out alone."""
    _, _, context = case(SrnFeedback(5), TeacherForcing())
    found, values, batch = context.layout.view(context.gradients), context.values, context.batch
    for row in range(2):
        targets = batch.targets[row]
        y0 = values["b_out"][row].expand(1, targets.shape[1], -1)
        inputs = torch.cat((y0, targets[:-1]))
        w_out = values["w_out"][row].clone().requires_grad_()
        w_fb = values["w_fb"][row].clone().requires_grad_()
        h, loss = torch.zeros(targets.shape[1], 5).double(), torch.zeros(()).double()
        for u, y in zip(inputs, targets, strict=True):
            h = torch.tanh(h @ values["w_rec"][row] + u @ w_fb + values["b"][row])
            loss = loss + ((h @ w_out + values["b_out"][row] - y) ** 2).mean() / len(targets)
        by_out, by_fb = torch.autograd.grad(loss, (w_out, w_fb))
        torch.testing.assert_close(found["w_out"][row], by_out, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(found["w_fb"][row], by_fb, rtol=1e-10, atol=1e-14)


def test_at_p_one_nothing_flows_back_through_named_units():
    """All units replaced: the recurrent matrix gets the gradient of single steps only."""
    family, task = Srn(1), PeriodicOutput(length=9)
    rule = TeacherForcing(units=(0,))
    _, _, context = case(family, rule, task)
    for row in range(2):
        values = {name: value[row] for name, value in context.values.items()}
        targets = context.batch.targets[row]
        before = torch.cat((torch.zeros_like(targets[:1]), targets[:-1]))
        h = torch.tanh(before @ values["w_rec"] + values["b"])
        error = h @ values["w_out"] + values["b_out"] - targets
        delta = 2 * error @ values["w_out"].T * (1 - h * h) / error.numel()
        want = torch.einsum("tba,tbc->ac", before, delta)
        torch.testing.assert_close(context.layout.view(context.gradients)["w_rec"][row], want, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize(
    ("schedule", "want"),
    [
        ("constant", (0.8, 0.8, 0.8)),
        ("linear", (0.8, 0.4, 0.0)),
        ("inverse_sigmoid", (0.8 * 50 / 51, 0.8 * 50 / (50 + math.exp(0.5)), 0.8 * 50 / (50 + math.exp(4)))),
    ],
)
def test_schedules(schedule, want):
    own = {"step": torch.tensor([0, 25, 200]), "p": torch.full((3,), 0.8), "span": torch.full((3,), 50.0)}
    found = TeacherForcing(schedule=schedule).probability(own)
    assert found.tolist() == pytest.approx(want, rel=1e-6)


def test_masked_steps_and_steps_before_the_start_are_never_forced():
    task = IntervalMatching()
    _, tile, context = case(Srn(5), TeacherForcing(units=(0,)), task)
    forced = told(DOYA, context, tile)
    T = forced.shape[1]
    own = torch.arange(T)[None, :] >= (T - context.batch.lengths)[:, None]
    want = own[:, :, None].expand_as(forced)
    if context.batch.mask is not None:
        mask = context.batch.mask
        want = want & ((mask if mask.ndim == 3 else mask[:, :, None]) > 0)
    assert torch.equal(forced, want)


@pytest.mark.parametrize(
    ("family", "rule", "task", "key"),
    [
        (SrnFeedback(5), TeacherForcing(), Adding(length=10), "learner"),
        (SrnFeedback(5), TeacherForcing(), Copying(length=3), "learner"),
        (Srn(5), TeacherForcing(), PeriodicOutput(length=9), "learner.units"),
        (Srn(5), TeacherForcing(units=(5,)), PeriodicOutput(length=9), "learner.units"),
        (Srn(5), TeacherForcing(units=(0, 1)), PeriodicOutput(length=9), "learner.units"),
    ],
)
def test_what_is_not_defined_is_refused(family, rule, task, key):
    with pytest.raises(ConfigError) as caught:
        rule.check_with(family, task)
    assert caught.value.key == key


def test_a_forced_network_learns_to_run_by_itself():
    """Free-running error after training with targets: the zero output has (1 + 1/4 + 1/16) / 2 = .656."""
    task = PeriodicOutput(length=12, period=12.0)
    rule = TeacherForcing(schedule="linear", span=60.0)
    setup = Setup(family=SrnFeedback(16), task=task, learner=rule, batch=1, eval_size=1, optimizer=Adam(0.01))
    pack = setup.pack([0, 1], 100, learner__span=60.0)
    rows = train_rung(pack, 100, 1)
    assert all(row["valid/loss"] < 0.05 for row in rows)


def largest_mean_norm(family, context, row: int, states: torch.Tensor, units: tuple[int, ...]) -> float:
    """N of Hess et al.'s estimate by singular values of Jacobians in closed form: diag(leak f') W^T + (1 - leak) I."""
    values, batch = context.values, context.batch
    w = values["w_rec"][row]
    found = []
    for b in range(batch.inputs.shape[2]):
        logs = []
        for t in range(1, batch.inputs.shape[1]):
            h = states[row, t, b].clone()
            h[list(units)] = batch.targets[row, t - 1, b]
            f = torch.tanh(h @ w + batch.inputs[row, t, b] @ values["w_in"][row] + values["b"][row])
            jacobian = family.leak * (1 - f * f)[:, None] * w.T + (1 - family.leak) * torch.eye(len(h))
            logs.append(math.log(float(torch.linalg.matrix_norm(jacobian, ord=2))))
        found.append(math.exp(sum(logs) / len(logs)))
    return max(found)


def forced_states(family, rule, context, alpha: torch.Tensor) -> torch.Tensor:
    """States [P, T + 1, B, H] as they pass, before targets come in."""
    values, (inputs, targets) = context.values, (context.batch.inputs, context.batch.targets)
    h = torch.zeros(len(inputs), inputs.shape[2], family.hidden, dtype=torch.float64)
    found = [h]
    for t in range(inputs.shape[1]):
        if t:
            h = h.clone()
            own, a = h[..., rule.units[0]], alpha[:, None]
            h[..., rule.units[0]] = (1 - a) * own + a * targets[:, t - 1, :, 0]
        drive = inputs[:, t] @ values["w_in"] + values["b"][:, None]
        h = (1 - family.leak) * h + family.leak * torch.tanh(h @ values["w_rec"] + drive)
        found.append(h)
    return torch.stack(found, 1)


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_alpha_follows_the_jacobians(scale):
    """It rises to an estimate above it at once, falls towards one below it slowly; every second update."""
    family, rule = Srn(5, leak=0.7), TeacherForcing(units=(2,), estimate=2)
    task, slow = PeriodicOutput(length=9), Sgd(lr=1e-4)
    setup = Setup(family=family, task=task, learner=rule, controllers={}, batch=3, optimizer=slow)
    pack = setup.pack([0, 1], 100, learner__alpha=0.1, learner__decay=0.9)
    pack.program.layout.view(pack.params)["w_rec"].copy_(scale * torch.diag(torch.ones(4), 1))
    alpha = torch.full((2,), 0.1, dtype=torch.float64)
    for update in range(4):
        _, context = context_of(pack)
        states = forced_states(family, rule, context, alpha)
        aimed = [max(0.0, 1 - 1 / largest_mean_norm(family, context, row, states, (2,))) for row in (0, 1)]
        train_rung(pack, 1, 10)
        if update % 2:
            assert min(aimed) > 0.1 if scale > 1 else max(aimed) == 0
            wanted = [a if a > b else 0.9 * b + 0.1 * a for a, b in zip(aimed, alpha.tolist(), strict=True)]
            alpha = torch.tensor(wanted, dtype=torch.float64)
        torch.testing.assert_close(0.1 - pack.slots["learner.fallen"], alpha, rtol=1e-9, atol=1e-12)


def test_without_units_alpha_has_no_estimate():
    with pytest.raises(ConfigError, match="alpha has no estimate here"):
        TeacherForcing(estimate=5).check_with(SrnFeedback(5), PeriodicOutput(length=9))
    assert "decay" in DOYA.unread()
    assert "decay" not in TeacherForcing(units=(2,), estimate=5).unread()
