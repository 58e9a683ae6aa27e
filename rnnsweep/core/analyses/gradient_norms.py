"""Norms of backpropagated errors and of their gradients against depth: Chernodub, Nowicki (2016), figure 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.loops import loops_of, run
from rnnsweep.core.readout import loss, read_out
from rnnsweep.core.tile import Tile, train_batch
from rnnsweep.core.types import Trace
from rnnsweep.errors import ConfigError


@dataclass(frozen=True)
class GradientNorms:
    """Means over the mini-batch of per-sample norms, float64 [P, T], the first step first.

    Attributes:
        delta: |delta_t|, of the error that reaches the pre-activations of step t.
        inputs: |u_t^T delta_t|, step t's share of the gradient of W_in.
        recurrent: |h_{t-1}^T delta_t|, step t's share of the gradient of W_rec.
    """

    delta: Tensor
    inputs: Tensor
    recurrent: Tensor


def gradient_norms(tile: Tile, *, unit_error: bool = False) -> GradientNorms:
    """Backpropagate one mini-batch per row, and measure.

    Args:
        tile: rows, e.g. one per standard deviation of the initial weights; nothing of them changes.
        unit_error: whether every sample's output error is scaled to norm 1, so that rows differ by their recurrent
            dynamics only; otherwise the actual error counts.

    Raises:
        ConfigError: the task is read at every step, so that depth has no single meaning.

    Numerics:
        Per-sample quantities: the 1/B of the mean cost is taken out. An outer product's Frobenius norm is the product
        of the two norms. In float32 norms below 1e-38 are 0; use float64 for deep or small networks. A sample whose
        output error is exactly 0 has no unit error and counts as 0.

    References:
        Chernodub, Nowicki (2016), figure 1 and section 3.
    """
    trace, error = backpropagate(tile)
    batch = trace.delta.shape[2]
    delta = trace.delta.double().square().sum(-1).sqrt() * batch  # P T B
    if unit_error:
        size = error.double().square().sum(-1).sqrt()[:, None] * batch
        # The clamp keeps 0 / 0 out of what is not selected.
        delta = torch.where(size > 0, delta / size.clamp(min=torch.finfo(torch.float64).tiny), torch.zeros_like(delta))
    u = trace.record.inputs.double().square().sum(-1).sqrt()
    h = trace.record.h[:, :-1].double().square().sum(-1).sqrt()
    return GradientNorms(delta.mean(2), (u * delta).mean(2), (h * delta).mean(2))


def backpropagate(tile: Tile) -> tuple[Trace, Float[Tensor, "P B O"]]:
    """The gradient record of each row's next mini-batch, and dC/dy [P, B, O].

    Raises:
        ConfigError: the task is read at every step, so that depth has no single meaning.
    """
    program = tile.program
    if program.task.per_step:
        raise ConfigError("is read at every step", key="task", allowed="a task that is read at the last step")
    values, hypers = program.layout.view(tile.params), tile.unit_hypers("family")
    batch = train_batch(tile)
    found = run(loops_of(program.wires, values, hypers), batch)
    seen = found.see(program.readout, values, per_step=False)
    out = read_out(program.task, values, seen.states, batch, program.engine)
    assert out.direct is not None
    # Through a read-out with parameters of its own, back to the states that the loop made.
    _, trace = found.top.backward(found.at_top(seen.pullback(out.direct)[0]), keep=True)
    assert trace is not None
    y = out.outputs.detach().requires_grad_()  # P B O
    # An identity as read-out: the loss as a function of the outputs themselves.
    same = {"w_out": torch.eye(y.shape[-1], dtype=y.dtype, device=y.device).expand(len(y), -1, -1)}
    # The sum over rows mixes none of them: each row's loss depends on its own outputs.
    (error,) = torch.autograd.grad(loss(program.task, same, y[:, None], batch).sum(), y)
    return trace, error
