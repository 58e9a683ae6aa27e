"""Rules that go forward in time, written down plainly: one sequence at a time, Jacobians of hand-written steps.

A reference for the learners: it shares no code with families, cells and engines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rnnsweep.core import readout
from rnnsweep.core.controllers.base import Context
from rnnsweep.core.families.base import Family
from rnnsweep.core.families.cornn import CoRnn
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn

Parts = dict[str, torch.Tensor]
Step = Callable[[Parts, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(weights of a row, recurrent product a [A], state [S], input [I]) -> next state [S]."""
H = 4


def simple(f: Callable[[torch.Tensor, Parts], torch.Tensor], leak: float = 1.0) -> Step:
    return lambda w, a, s, u: (1 - leak) * s + leak * f(a + u @ w["w_in"] + w["b"], w)


def oplu(a: torch.Tensor, w: Parts) -> torch.Tensor:
    del w
    pairs = a.view(-1, 2)
    return torch.stack((pairs.amax(1), pairs.amin(1)), 1).flatten()


def modrelu(a: torch.Tensor, w: Parts) -> torch.Tensor:
    return torch.sign(a) * torch.relu(a.abs() + w["act_bias"])


def lstm(w: Parts, a: torch.Tensor, s: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    i, f, g, o = (a + u @ w["w_in"] + w["b"]).chunk(4)
    c = torch.sigmoid(f) * s[H:] + torch.sigmoid(i) * torch.tanh(g)
    return torch.cat((torch.sigmoid(o) * torch.tanh(c), c))


def gru(w: Parts, a: torch.Tensor, s: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    d, a = (u @ w["w_in"] + w["b"]).chunk(3), a.chunk(3)
    r, z = torch.sigmoid(a[0] + d[0]), torch.sigmoid(a[1] + d[1])
    n = torch.tanh(d[2] + r * (a[2] + w["b_n"]))
    return (1 - z) * n + z * s


def cornn(w: Parts, a: torch.Tensor, s: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    unit = CoRnn(H)
    y, z = s[:H], s[H:]
    z = z + unit.dt * (torch.tanh(a + u @ w["w_in"] + w["b"]) - unit.gamma * y - unit.epsilon * z)
    return torch.cat((y + unit.dt * z, z))


FAMILIES: dict[str, tuple[Family, Step]] = {
    "tanh": (Srn(H), simple(lambda a, w: torch.tanh(a))),
    "leaky": (Srn(H, leak=0.4), simple(lambda a, w: torch.tanh(a), 0.4)),
    "oplu": (Srn(H, "oplu"), simple(oplu)),
    "modrelu": (Srn(H, "modrelu"), simple(modrelu)),
    "lstm": (Lstm(H), lstm),
    "gru": (Gru(H), gru),
    "cornn": (CoRnn(H), cornn),
}


@dataclass
class Jacobians:
    """Of one step: D [S, S]; `local`: D with the recurrent product held; I [S, N] of all weights, flat by name."""

    d: torch.Tensor
    local: torch.Tensor
    i: torch.Tensor
    state: torch.Tensor


def weights_of(context: Context, row: int) -> Parts:
    """The loop's weights of one row, in the order of their names."""
    return {name: value[row] for name, value in sorted(context.values.items()) if not name.endswith("_out")}


def jacobians(step: Step, w: Parts, s: torch.Tensor, u: torch.Tensor) -> Jacobians:
    size = w["w_rec"].shape[0]

    def whole(w: Parts, s: torch.Tensor) -> torch.Tensor:
        return step(w, s[:size] @ w["w_rec"], s, u)

    held = s[:size] @ w["w_rec"]
    of_weights, d = torch.func.jacrev(whole, argnums=(0, 1))(w, s)
    local = torch.func.jacrev(lambda s: step(w, held, s, u))(s)
    return Jacobians(d, local, torch.cat([part.flatten(1) for part in of_weights.values()], 1), whole(w, s))


def directs(context: Context) -> torch.Tensor:
    """dC/d(visible state) without later steps, by autograd, [P, T, B, H]."""
    visible = context.family.visible(context.trace.record.h)[:, 1:].detach().clone().requires_grad_()
    loss = readout.loss(context.task, context.values, visible, context.batch)
    return torch.autograd.grad(loss.sum(), visible)[0]


Carry = Callable[[torch.Tensor | None, Jacobians], torch.Tensor]


def gradient(
    context: Context, row: int, step: Step, carry: Carry, errors: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """sum over steps and sequences of errors [P, T, B, H] times what `carry` makes of J; by name."""
    w, batch = weights_of(context, row), context.batch
    errors = directs(context) if errors is None else errors
    T, B = batch.inputs.shape[1:3]
    total = torch.zeros(sum(part.numel() for part in w.values())).double()
    for b in range(B):
        s, j = torch.zeros(context.trace.record.h.shape[-1]).double(), None
        for t in range(T - int(batch.lengths[row]), T):
            now = jacobians(step, w, s, batch.inputs[row, t, b])
            j, s = carry(j, now), now.state
            total += errors[row, t, b] @ j[: errors.shape[-1]]
    sizes = [part.numel() for part in w.values()]
    return {n: part.view_as(w[n]) for n, part in zip(w, total.split(sizes), strict=True)}
