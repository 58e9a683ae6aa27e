"""Scorers are tried before anything is written: on validation sequences, with answers made up. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnsweep.app.config.point import Variant
from rnnsweep.core.build import DTYPES, Units, build_scorers
from rnnsweep.core.losses import CrossEntropy
from rnnsweep.core.metrics.names import METRICS
from rnnsweep.core.metrics.scorers import answers, collected
from rnnsweep.core.readout import counted_steps
from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.base import Task
from rnnsweep.errors import ConfigError

_MOST = 1000
"""Sequences that are tried: enough for every class to be among them, as a rule."""


def check_scorers(variants: Sequence[Variant], units: Sequence[Units]) -> None:
    """Each must have a name of its own and give a finite number for answers of the kind that the tasks have.

    Args:
        variants: of the sweep.
        units: of the variants' base points.

    Raises:
        ConfigError: it cannot be imported, raises, or returns something else; the key is ``scorers.NAME``.
    """
    for variant, built in zip(variants, units, strict=True):
        scorers = build_scorers(variant.resolved)
        taken = {*METRICS, *(key for unit in built.all for key in type(unit).metrics)}
        for scorer in scorers:
            if scorer.key in taken:
                allowed = "a yaml of another name"
                raise ConfigError(f"is the metric {scorer.key} already", key=f"scorers.{scorer.name}", allowed=allowed)
        if scorers:
            training = variant.resolved["training"]
            outputs, targets = _made_up(
                built.task, training["batch"], min(training["eval_size"], _MOST), DTYPES[variant.resolved["dtype"]]
            )
            for scorer in scorers:
                scorer.score(*answers(built.task, outputs, targets, scorer.response))


def _made_up(task: Task, size: int, total: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Answers [n, O], right for some sequences, and what was wanted of validation sequences [n, ...]."""
    available = task.samples_of("valid")
    total = total if available is None else min(total, available)
    generator, zero = torch.Generator().manual_seed(0), torch.zeros(1, dtype=torch.int64)
    kept: list[tuple[Tensor, Tensor]] = []
    for start in range(0, total, size):
        ids = torch.arange(start, min(start + size, total))[None]
        batch = task.batch(Draws(zero, ids, zero + start, dtype, split="valid"))
        steps = batch.inputs.shape[1]
        shape = (1, steps, ids.shape[1], task.n_outputs) if task.per_step else (1, ids.shape[1], task.n_outputs)
        made = torch.randn(shape, generator=generator, dtype=torch.float64)
        if isinstance(task.loss, CrossEntropy):
            made.scatter_add_(-1, batch.targets[..., None], made.new_ones((*batch.targets.shape, 1)))
        counts = counted_steps(batch, steps) if task.per_step else None
        one = collected(task, made, batch, counts)
        use = slice(None) if one.counted is None else one.counted[0]
        kept.append((one.outputs[0][use], one.targets[0][use]))
    outputs, targets = zip(*kept, strict=True)
    return torch.cat(outputs), torch.cat(targets)
