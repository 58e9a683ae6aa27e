"""Backpropagation through time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnsweep.core.learners.base import Learned, Learner
from rnnsweep.core.readout import read_out
from rnnsweep.core.types import Batch

if TYPE_CHECKING:
    from rnnsweep.core.program import Program


@dataclass(frozen=True)
class Bptt(Learner):
    """Exact gradients over the whole sequence.

    Numerics:
        Everything is row by row; a non-finite row stays alone. Same dtype as the parameters.

    References:
        Werbos (1990); the recursion is in MATHS section 2.
    """

    def learn(
        self,
        program: Program,
        params: Tensor,
        family_hypers: Mapping[str, Tensor],
        batch: Batch,
        *,
        keep: bool,
        own: Mapping[str, Tensor] | None = None,
    ) -> Learned:
        """See `Learner.learn`."""
        del own
        values = program.layout.view(params)
        family, engine, activation = program.family, program.engine, program.activation
        weights = family.weights(values, family_hypers)
        feed = family.feed(values, family_hypers, batch.inputs, batch.lengths)
        record = engine.forward(feed.inputs, weights, activation, batch.lengths)
        out = read_out(program.task, values, family.visible(record.h), batch, engine)
        assert out.direct is not None
        loop, trace = engine.backward(record, out.direct, activation, keep=keep)
        named = {**family.pullback(values, family_hypers, loop), **feed.pullback(loop.inputs), **out.gradients}
        return Learned(out.loss, program.layout.flatten(named, torch.zeros_like(params)), trace)
