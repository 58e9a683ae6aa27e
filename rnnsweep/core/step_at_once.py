"""All that follows the gradient by one launch (`core.gpu.steps`), and what `tile`'s general way shares with it."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.controllers.base import CLIP_SHARE, Context
from rnnsweep.core.kernels import kernels_for
from rnnsweep.core.loops import Learned
from rnnsweep.core.types import RowStatus

if TYPE_CHECKING:
    from rnnsweep.core.tile import Tile


def steps_of(tile: Tile) -> ModuleType | None:
    """The kernel that does all that follows the gradient (`core.gpu.steps`), where no row asks for more."""
    program, on = tile.program, tile.switched
    if any(on[name] for name, _ in program.proximals) or any(unit.limit is None for _, unit in program.transforms):
        return None
    if any(on[name] and unit.slot_shapes() for name, unit in program.gates):
        return None  # a gate's state, too, goes with an accepted step
    # row state of family, rule or task goes with an accepted step: the kernel keeps the optimiser's alone
    more = any(not key.startswith(("optimizer.", "controllers.")) for key in program.slot_shapes)
    if more or len(program.transforms) > 1 or program.learner.proposes or program.optimizer.fused_formula is None:
        return None
    return kernels_for("steps", program.device)


def step_at_once(tile: Tile, steps: ModuleType, context: Context, learned: Learned) -> None:
    """The rest of an update by a kernel; what it adds to the tally is named in the order of `_control`.

    Additive controllers act before it; gates, if any, are shown the step by a launch that takes none.
    """
    optimizer, like, tally = tile.program.optimizer, tile.step, context.tally
    formula, hypers = optimizer.fused_formula, optimizer_hypers(tile)
    assert formula is not None  # see `steps_of`
    limit, losses = None, tally.of_mean("train/loss", like)
    if any(tile.switched[name] for name, _ in (*tile.program.additive, *tile.program.gates)):
        tally.begin((tile.status == RowStatus.ACTIVE) & (tile.step < tile.until))
    add_terms(tile, context)
    told = {"train/loss": losses, "grad/norm": tally.of_mean("grad/norm", like)}
    nonfinite, share = tally.of_count("grad/nonfinite", like), None
    for name, unit in tile.program.transforms:
        assert unit.limit is not None
        limit = steps.Limit(tile.hypers[f"controllers.{name}.{unit.limit.hyper}"], unit.limit.diverges)
        share = tally.of_mean(CLIP_SHARE, like)
    clipped = tally.of_mean("grad/norm_clipped", like)
    rows = steps.Rows(
        tile.params,
        tuple(tile.slots[f"optimizer.{name}"] for name in optimizer.slots),
        *(tile.status, tile.step, tile.taken, tile.until, tile.diverged_at),
        tuple(hypers[name] for name in formula.hypers),
        (hypers["lr"], hypers["weight_decay"]) if tile.decays else None,
    )
    told = steps.Told(told["train/loss"], told["grad/norm"], nonfinite, share, clipped)
    gates = [(name, unit) for name, unit in tile.program.gates if tile.switched[name]]
    admitted, before = None, tile.taken if context.ending is None else tile.taken.clone()
    if gates:
        step = steps.proposed(formula, rows, context.gradients, limit)
        admitted = torch.ones_like(tile.status, dtype=torch.bool)
        for name, unit in gates:
            enter(tile, context, name)
            admitted &= unit.admit(context, step)
    steps.take_steps(formula, rows, context.gradients, learned.loss, limit, told, admitted)
    for name, unit in gates if context.ending is not None else ():
        enter(tile, context, name)
        # of rows that took their step the parameters are those after it
        unit.observe(context, tile.params, tile.taken > before)
    tally.among(None)


def add_terms(tile: Tile, context: Context) -> None:
    """Run additive controllers on the gradients."""
    for name, unit in tile.program.additive:
        if tile.switched[name]:
            enter(tile, context, name)
            context.gradients = unit.add(context)
    context.tally.among(None)


def optimizer_hypers(tile: Tile) -> Mapping[str, Float[Tensor, "P 1"]]:
    """The optimiser's hyperparameters [P, 1], rates as of this update."""
    optimizer = tile.program.optimizer
    if optimizer.schedule == "constant":
        return tile.optimizer_hypers
    return optimizer.scheduled(tile.optimizer_hypers, tile.step[:, None])


def enter(tile: Tile, context: Context, name: str) -> None:
    """Show a controller its own hyperparameters and state; its diagnostics count for the rows it is switched on for."""
    prefix = f"controllers.{name}"
    context.hypers = tile.unit_hypers(prefix)
    context.slots = {key[len(prefix) + 1 :]: value for key, value in tile.slots.items() if key.startswith(f"{prefix}.")}
    context.tally.among(tile.on[name])
