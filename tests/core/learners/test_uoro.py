"""UORO: the mean over all signs is the gradient, over drawn ones within its error; the published recursion."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch

from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.scurnn import Scurnn
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.learners.uoro import EPSILON, Uoro
from rnnsweep.core.pack import Pack
from rnnsweep.core.recurrence.local import LocalSteps
from rnnsweep.core.tasks.periodic_output import PeriodicOutput
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from tests.kit import forward_rules
from tests.kit.networks import Setup, context_of

T = 3
WAVE = PeriodicOutput(length=T, period=5.0)
"""All its sequences are the same: the mean over a mini-batch is one over the draws."""


@dataclass(frozen=True)
class EverySign(Uoro):
    """Every sequence of the mini-batch has another pattern of signs, and all patterns occur."""

    start: bool = False

    def signs(self, steps, own):
        size, count = steps.size, steps.steps + self.start
        patterns = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=size * count))).double()
        signs = patterns.view(1, -1, count, size).transpose(1, 2)
        if not self.start:
            signs = torch.cat((torch.ones_like(signs[:, :1]), signs), 1)
        return signs.expand(steps.rows, -1, -1, -1)


@pytest.mark.parametrize(
    ("family", "size", "start"),
    # a trained h_0 has signs of its own
    [(Srn(2), 2, 0), (Srn(2, "sigmoid"), 2, 0), (Lstm(1), 2, 0), (Gru(2), 2, 0), (Scurnn(2), 4, 1)],
    ids=["srn", "sigmoid", "lstm", "gru", "scurnn"],
)
def test_the_mean_over_all_signs_is_the_gradient(family, size, start):
    steps = T - start
    shared = {
        "family": family,
        "task": PeriodicOutput(length=steps, period=5.0),
        "batch": 2 ** (size * (steps + start)),
        "controllers": {},
        "sigma": 0.7,
    }
    found, exact = (
        context_of(Setup(learner=rule, **shared).pack([0, 1]))[1].gradients
        for rule in (EverySign(start=bool(start)), Bptt())
    )
    torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-13)


def test_the_mean_over_drawn_signs_is_the_gradient_within_its_error():
    """40 rows with streams of their own at the same weights; |t| of 39 degrees exceeds 6.5 once in 1e7 entries."""
    rows = 40
    setup = Setup(Srn(4), WAVE, learner=Uoro(), controllers={}, batch=50, sigma=0.7)
    pack = Pack(setup.program())
    pack.join([(setup.member(r), setup.state(pack.program, 0)) for r in range(rows)])
    found = context_of(pack)[1].gradients
    exact = context_of(Setup(Srn(4), WAVE, controllers={}, batch=50, sigma=0.7).pack([0]))[1].gradients[0]
    layout = pack.program.layout
    loop = layout.mask(["w_rec", "b"])
    error = found.std(0)[loop] / math.sqrt(rows)
    assert float(error.min()) > 0, "every row has noise of its own"
    assert float(((found.mean(0) - exact)[loop] / error).abs().max()) < 6.5
    # An error that says something: below the gradient itself.
    assert float(error.norm()) < 0.3 * float(exact[loop].norm())
    torch.testing.assert_close(found[:, ~loop], exact[~loop].expand(rows, -1), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["tanh", "leaky", "lstm", "gru"])
def test_it_is_the_published_recursion(name):
    family, step = forward_rules.FAMILIES[name]
    task = TemporalOrder(length=(10, 14))
    setup = Setup(family=family, task=task, learner=Uoro(), controllers={}, batch=2, sigma=0.5)
    tile, context = context_of(setup.pack([0, 1], **({"family__leak": 0.4} if name == "leaky" else {})))
    found = context.layout.view(context.gradients)
    steps = LocalSteps(context.trace.record, context.activation, family.cell, trained_start=False)
    signs = Uoro().signs(steps, tile.learner_own())
    for row in range(2):
        left = iter([signs[row, 1 + T0, b] for b in range(2) for T0 in own_steps(context, row)])
        pair: list[torch.Tensor] = []

        def carry(j, now, left=left, pair=pair):
            nu = next(left)
            if j is None:
                pair[:] = [torch.zeros(len(nu)).double(), torch.zeros(now.i.shape[1]).double()]
            moved, new = now.d @ pair[0], nu @ now.i
            r0 = (pair[1].norm() / (moved.norm() + EPSILON)).sqrt() + EPSILON
            r1 = (new.norm() / (nu.norm() + EPSILON)).sqrt() + EPSILON
            pair[:] = [r0 * moved + r1 * nu, pair[1] / r0 + new / r1]
            return torch.outer(*pair)

        for key, value in forward_rules.gradient(context, row, step, carry).items():
            torch.testing.assert_close(found[key][row], value, rtol=1e-9, atol=1e-12, msg=key)


def own_steps(context, row: int) -> range:
    last = context.batch.inputs.shape[1]
    return range(last - int(context.batch.lengths[row]), last)


def test_signs_are_signs_of_their_row_update_and_sequence():
    setup = Setup(Srn(7), WAVE, learner=Uoro(), controllers={}, batch=3)
    pack = setup.pack([0, 1, 2])
    tile, context = context_of(pack)
    steps = LocalSteps(context.trace.record, context.activation, None, trained_start=False)
    own = tile.learner_own()
    signs = Uoro().signs(steps, own)
    assert signs.shape == (3, T + 1, 3, 7)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    flat = [tuple(signs[p, :, b].flatten().tolist()) for p in range(3) for b in range(3)]
    later = Uoro().signs(steps, {**own, "step": own["step"] + 1})
    flat += [tuple(later[p, :, b].flatten().tolist()) for p in range(3) for b in range(3)]
    assert len(set(flat)) == 18, "28 signs each: two alike by chance 6e-7"


def test_signs_are_fair_and_unrelated():
    """1000 sequences of 16 signs: means and products of different places are below 5 / sqrt(1000)."""
    setup = Setup(Srn(4), WAVE, learner=Uoro(), controllers={}, batch=1000)
    tile, context = context_of(setup.pack([0]))
    steps = LocalSteps(context.trace.record, context.activation, None, trained_start=False)
    flat = Uoro().signs(steps, tile.learner_own())[0].transpose(0, 1).flatten(1)  # B 16
    together = flat.T @ flat / 1000 - torch.eye(16).double()
    # 136 numbers: 5 sigma is exceeded with probability 8e-5.
    assert max(float(flat.mean(0).abs().max()), float(together.abs().max())) < 5 / math.sqrt(1000)
