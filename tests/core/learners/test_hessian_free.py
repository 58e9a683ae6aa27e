"""Hessian-free: Gauss-Newton products against dense matrices, CG against a solve, damping, line search, learning."""

from __future__ import annotations

import math
from unittest.mock import Mock

import pytest
import torch

from rnnsweep.core import readout
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.learners.conjugate import Solved, solve
from rnnsweep.core.learners.gauss_newton import Linearised, linearise
from rnnsweep.core.learners.hessian_free import HessianFree, adapted, backtrack, line_search
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_rung
from rnnsweep.core.types import Wanted
from tests.kit.networks import Setup, context_of

TASKS = [TemporalOrder(length=(10, 12)), Copying(length=2), Adding(length=10)]
FAMILIES = [Srn(4), Srn(4, "sigmoid", 0.6), Srn(4, "modrelu"), Srn(4, "oplu", 0.5), Srn(4, output_bias=False)]


def case(family: Srn, task):
    setup = Setup(family=family, task=task, learner=HessianFree(), controllers={}, batch=2, sigma=0.7)
    pack = setup.pack([0, 1])
    tile, context = context_of(pack)
    return pack, tile, context, linearise(pack.program, tile.params, context.family_hypers, context.batch)


def run(context, row: int, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs [M, O] and own states [T, B, H] of one row as a function of its flat parameters; the plain formulas."""
    values = {name: value[0] for name, value in context.layout.view(flat[None]).items()}
    inputs, start = context.batch.inputs[row], context.batch.inputs.shape[1] - int(context.batch.lengths[row])
    leak, bias = context.family.leak, values.get("act_bias")
    h, states = torch.zeros(inputs.shape[1], len(values["w_rec"]), dtype=flat.dtype), []
    for t, u in enumerate(inputs):
        a = h @ values["w_rec"] + u @ values["w_in"] + values["b"]
        h = (1 - leak) * h + leak * context.activation.value(a, bias) if t >= start else h
        states.append(h)
    stacked = torch.stack(states)
    y = (stacked.flatten(0, 1) if context.task.per_step else h) @ values["w_out"]
    return y + values["b_out"] if "b_out" in values else y, stacked


def dense(context, row: int, structural: float) -> torch.Tensor:
    """J^T H J + structural J_h^T J_h / B as a matrix, everything by autograd."""
    flat = context.params[row].clone()
    y = run(context, row, flat)[0]
    by_params, states_by_params = (
        torch.autograd.functional.jacobian(lambda p, k=k: run(context, row, p)[k].flatten(), flat, vectorize=True)
        for k in (0, 1)
    )
    batch = context.batch
    T, B = batch.inputs.shape[1:3]
    share = readout.shares(context.task, batch, T, B, y[None].expand(2, -1, -1))[row]
    targets = batch.targets[row].flatten(0, 1) if context.task.per_step else batch.targets[row]

    def loss(outputs):
        outputs = outputs.view(y.shape)
        if context.task.loss.name == "cross_entropy":
            each = torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
        else:
            each = ((outputs - targets) ** 2).sum(-1)
        return (each * share).sum()

    hessian = torch.autograd.functional.hessian(loss, y.flatten(), vectorize=True)
    return by_params.T @ hessian @ by_params + structural / B * states_by_params.T @ states_by_params


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_the_product_is_that_of_the_dense_matrix(family, task):
    _, _, context, here = case(family, task)
    draws = torch.Generator().manual_seed(1)
    real = context.layout.flatten(
        {name: torch.ones_like(value) for name, value in context.values.items()}, torch.zeros_like(context.params)
    )
    vector = torch.randn(context.params.shape, generator=draws, dtype=torch.float64) * real
    structural = torch.tensor([0.0, 0.3], dtype=torch.float64)
    found = here.product(vector, structural)
    for row in range(2):
        want = dense(context, row, float(structural[row])) @ vector[row]
        torch.testing.assert_close(found[row], want, rtol=1e-8, atol=1e-10 * float(want.abs().max()))


def test_the_gradient_is_backpropagations():
    pack, tile, context, here = case(FAMILIES[0], TASKS[0])
    want = Bptt().learn(pack.program, tile.params, context.family_hypers, context.batch, Wanted())
    assert torch.equal(here.gradient(keep=False)[0], want.gradients)


def systems(rows: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(2)
    root = torch.randn(rows, size, size, generator=draws, dtype=torch.float64)
    matrices = root @ root.transpose(1, 2) / size + 0.1 * torch.eye(size)
    return matrices, torch.randn(rows, size, generator=draws, dtype=torch.float64)


def test_conjugate_gradients_solve_the_system():
    matrices, b = systems(3, 12)
    start = torch.ones_like(b)
    found = solve(lambda v: torch.einsum("pij,pj->pi", matrices, v), b, start, 100, 0.0)
    want = torch.linalg.solve(matrices, b)
    torch.testing.assert_close(found.x, want, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found.values[-1], -0.5 * (b * want).sum(1), rtol=1e-8, atol=1e-10)
    for kept, value in zip(found.kept, found.values, strict=True):
        quadratic = 0.5 * torch.einsum("pi,pij,pj->p", kept, matrices, kept) - (b * kept).sum(1)
        torch.testing.assert_close(value, quadratic, rtol=1e-8, atol=1e-10)


def test_progress_ends_the_iterations_by_the_published_rule():
    matrices, b = systems(1, 80)

    def product(v):
        return torch.einsum("pij,pj->pi", matrices, v)

    found = solve(product, b, torch.zeros_like(b), 300, 5e-4)
    values, x, r = [0.0], torch.zeros(80).double(), b[0].clone()
    p = r.clone()
    for i in range(1, 301):
        turned = matrices[0] @ p
        pace = (r @ r) / (p @ turned)
        x, new = x + pace * p, r - pace * turned
        p, r = new + (new @ new) / (r @ r) * p, new
        values.append(float(0.5 * x @ matrices[0] @ x - b[0] @ x))
        span = max(10, math.ceil(0.1 * i))
        if i > span and values[i] < 0 and (values[i] - values[i - span]) / values[i] < 5e-4 * span:
            break
    assert found.iterations.tolist() == [len(values) - 1]
    assert 10 < len(values) - 1 < 80
    torch.testing.assert_close(found.x[0], x, rtol=1e-8, atol=1e-10)


def test_a_row_ends_by_itself():
    matrices, b = systems(3, 30)
    matrices[1] = torch.eye(30)  # solved in one iteration
    b[2] = 0  # nothing to do

    def found(rows):
        chosen = matrices[rows]
        return solve(lambda v: (chosen * v[:, None, :]).sum(2), b[rows], torch.zeros_like(b[rows]), 200, 5e-4)

    together = found([0, 1, 2])
    assert together.iterations[1:].tolist() == [1, 0]
    for row in range(3):
        assert torch.equal(found([row]).x[0], together.x[row])


def test_lambda_follows_the_ratio():
    level, ratio = torch.ones(5).double(), torch.tensor([-1.0, 0.2, 0.5, 0.9, math.nan]).double()
    assert adapted(level, ratio).tolist() == pytest.approx([1.5, 1.5, 1.0, 2 / 3, 1.5])


def test_backtracking_and_line_search_pick_by_the_true_loss():
    _, _, _, here = case(FAMILIES[0], TASKS[0])
    gradient, _ = here.gradient(keep=False)
    far = -1000 * gradient  # a descent direction, much too long
    step = line_search(here, gradient, far, here.loss(here.params + far))
    rate = (step / far).nan_to_num().amax(1)
    for row in range(2):
        power = round(math.log(float(rate[row])) / math.log(0.8))
        assert float(rate[row]) == pytest.approx(0.8**power)
        fall = [
            float(here.loss(here.params + 0.8**i * far)[row] - here.out.loss[row])
            - 0.01 * 0.8**i * float(gradient[row] @ far[row])
            for i in range(power + 1)
        ]
        assert all(value > 0 for value in fall[:-1])
        assert fall[-1] <= 0
    uphill = line_search(here, gradient, gradient, here.loss(here.params + gradient))
    assert float(uphill.abs().max()) == 0

    found = solve(lambda v: v * 1e-3, -gradient, torch.zeros_like(gradient), 1, 0.0)
    found.kept = [-0.1 * gradient, -0.2 * gradient, -1e4 * gradient]
    found.values = [torch.full((2,), float(-k)).double() for k in (1, 2, 3)]
    chosen, predicted, loss = backtrack(here, found)
    for row in range(2):
        losses = [float(here.loss(here.params + kept)[row]) for kept in found.kept]
        best = 2
        while best and losses[best - 1] <= losses[best]:
            best -= 1
        assert torch.equal(chosen[row], found.kept[best][row])
        assert float(predicted[row]) == -(best + 1)
        assert float(loss[row]) == losses[best]


@pytest.mark.parametrize(
    ("losses", "best"),  # oldest iterate first; the last one is tried first
    [((5.0, math.nan, 1.0), 2), ((5.0, 1.0, math.nan), 1), ((math.nan, math.nan, 2.0), 2), ((3.0, 4.0, 5.0), 0)],
)
def test_backtracking_leaves_a_loss_of_nan_and_enters_none(losses, best):
    kept = [torch.full((1, 1), float(index)) for index in range(3)]
    here = Mock(Linearised, params=torch.zeros(1, 1), loss=lambda at: torch.tensor([losses[int(at)]]))
    found = Mock(Solved, kept=kept, values=[torch.tensor([-float(index)]) for index in range(3)])
    chosen, predicted, loss = backtrack(here, found)
    assert (float(chosen), float(predicted)) == (best, -best)
    assert float(loss) == losses[best]


def test_it_solves_temporal_order_in_twelve_updates():
    """Chance is ln 4 = 1.39. Momentum SGD needs thousands of updates for this."""
    setup = Setup(family=Srn(12), task=TemporalOrder(length=15), learner=HessianFree(), controllers={}, batch=200)
    pack = setup.pack([0, 1], 12)
    first, _, last = (train_rung(pack, 4, 99) for _ in range(3))
    assert all(row["train/loss"] > 0.5 for row in first)
    assert all(row["train/loss"] < 0.02 for row in last)
    assert bool((pack.slots["learner.level"] < 0.04).all()), "lambda has fallen from .01 per output"
