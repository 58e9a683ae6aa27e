"""Context-dependent integration: two streams of evidence, one of which counts (Mante et al. 2013)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from rnnsweep.core.rng import Draws, stream_of
from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.evidence import EvidenceTask
from rnnsweep.core.tasks.synthetic import SYMBOLS
from rnnsweep.core.types import Batch

_STREAMS = 2
CONTEXT = stream_of("context integration: context")


@dataclass(frozen=True)
class ContextIntegration(EvidenceTask):
    """Which direction does the evidence of the cued stream favour?

    Two streams, motion and colour, have directions and coherences of their own, drawn independently: of two directions,
    half of the trials are incongruent. One of two context inputs is 1 during the whole trial and says which counts.

    Inputs: fixation cue, the first stream's directions, the second's, both contexts.

    References:
        Mante, Sussillo, Shenoy, Newsome (2013), *Context-dependent computation by recurrent dynamics in prefrontal
        cortex*; NeuroGym's ContextDecisionMaking with `use_expl_context`, whose 750 ms of stimulus are 7 steps. Ours
        differs: the delay is 600 ms, the scale of the truncated exponential distribution that NeuroGym draws it from.

    Example:
        >>> task = ContextIntegration()
        >>> task.n_inputs, task.n_outputs, task.max_length
        (7, 3, 17)
    """

    length: int | Iterable[int] = 7
    delay: int = 6
    coherences: Iterable[float] = (5, 15, 50)

    @property
    def n_inputs(self) -> int:
        """I = 1 + 2 C + 2."""
        return 1 + _STREAMS * self.choices + _STREAMS

    def batch(self, draws: Draws) -> Batch:
        """Trials of the ids in `draws`; targets are classes, int64 [P, T, B]."""
        draws = self.addressed(draws)
        lengths = self.lengths(draws) + self.steps_besides_length
        directions = draws.integers(0, self.choices - 1, _STREAMS, SYMBOLS)  # P B 2
        cued = draws.integers(0, _STREAMS - 1, 1, CONTEXT)  # P B 1
        on, own = self.during("stimulus", lengths), row_steps(lengths, self.max_length)
        evidence = on.double()[:, :, None, None] * self.evidence(draws, directions)[:, None]  # P T B 2C
        contexts = torch.eye(_STREAMS, dtype=torch.float64, device=draws.device)[cued[..., 0]]  # P B 2
        batch = self.trials(draws, evidence, on, directions.gather(2, cued)[..., 0])
        constant = (own.double()[:, :, None, None] * contexts[:, None]).to(draws.dtype)
        batch.inputs = torch.cat([batch.inputs, constant], 3)
        return batch
