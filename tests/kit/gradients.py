"""Gradients of a family in a pack against an independent one-row network written with autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch

from rnnsweep.core.families.base import Family
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_batch
from tests.kit.networks import Setup, context_of

Parts = dict[str, torch.Tensor]
States = Callable[[Parts, torch.Tensor, dict[str, float]], torch.Tensor]
"""(parameters of a row, inputs [T, B, I], its family hyperparameters) -> the visible state at every step [T, B, H]."""


def assert_equals(
    family: Family,
    states: States,
    *,
    hypers: list[dict[str, float]] | None = None,
    task: Task | None = None,
    ignored: tuple[str, ...] = (),
    fixed: Parts | None = None,
    tolerance: float = 1e-12,
    engine: str = "reference",
) -> None:
    """States and all gradients of every row equal those of `states` under autograd, to `tolerance`.

    Lengths are random per row, so that steps before a row's start are covered.

    Args:
        family: a small one. states: the independent network.
        hypers: per row, the family's hyperparameters; default: two rows with the family's defaults.
        ignored: parameters that are not trained (their gradient must be zero).
        fixed: values [*shape] laid over the drawn parameters of every row.
        engine: what runs the loop.
    """
    rows = hypers or [{}, {}]
    task = task or TemporalOrder(length=(10, 16))
    setup = Setup(family=family, task=task, controllers={}, engine=engine)
    pack = setup.pack([0])
    pack.join(
        [
            (setup.member(i, **{f"family__{k}": v for k, v in row.items()}), setup.state(pack.program, i))
            for i, row in enumerate(rows)
        ]
    )
    pack.leave([0])
    for name, value in (fixed or {}).items():
        pack.program.layout.view(pack.params)[name].copy_(value)
    tile, context = context_of(pack)
    batch = train_batch(tile)
    ours = pack.program.layout.view(context.gradients)
    assert context.trace is not None
    visible = family.visible(context.trace.record.h)
    for row in range(len(rows)):
        length = int(batch.lengths[row])
        live = {key: value[row].clone().requires_grad_() for key, value in context.values.items()}
        own = {key: float(value[row]) for key, value in context.family_hypers.items()}
        h = states(live, batch.inputs[row][-length:], own)
        torch.testing.assert_close(visible[row][-length:], h.detach(), rtol=tolerance, atol=tolerance)
        y = h[-1] @ live["w_out"] + live.get("b_out", 0.0)
        torch.nn.functional.cross_entropy(y, batch.targets[row]).backward()
        for key, value in live.items():
            grad = torch.zeros_like(value) if key in ignored or value.grad is None else value.grad
            torch.testing.assert_close(
                ours[key][row], grad, rtol=tolerance, atol=tolerance, msg=lambda m, key=key: f"{key}: {m}"
            )
