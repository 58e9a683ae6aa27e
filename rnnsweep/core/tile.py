"""Tiles: some consecutive rows of a pack, as many as the engine trains best together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rnnsweep.core.pack import Pack
from rnnsweep.core.program import CARRIED, Program
from rnnsweep.core.rng import Draws, sample_ids
from rnnsweep.core.types import Batch

_DEFAULT_TILE = 1 << 30


@dataclass
class Tile:
    """Views of some consecutive rows of a pack; writing to them writes to the pack.

    Attributes:
        switched: per controller, whether any of these rows has it switched on (fixed while the rows stay).
        decays: whether any of these rows has weight decay.
    """

    program: Program
    params: Tensor
    slots: dict[str, Tensor]
    hypers: dict[str, Tensor]
    keys: dict[str, Tensor]
    step: Tensor
    taken: Tensor
    updates: Tensor
    status: Tensor
    diverged_at: Tensor
    switched: dict[str, bool]
    on: dict[str, Tensor]
    decays: bool = False

    def unit_hypers(self, prefix: str) -> dict[str, Tensor]:
        """One unit's hyperparameters [P] by field name; a family's or learner's row state is among them."""
        start = len(prefix) + 1
        found = {key[start:]: value for key, value in self.hypers.items() if key.startswith(f"{prefix}.")}
        if prefix in ("family", "learner"):
            found |= {key[start:]: value for key, value in self.slots.items() if key.startswith(f"{prefix}.")}
        return found

    def learner_own(self) -> dict[str, Tensor]:
        """What the learning rule may read of its own, see `Learner.learn`."""
        return {**self.unit_hypers("learner"), "step": self.step, "key": self.keys["learner"]}


def tiles(pack: Pack) -> list[tuple[slice, Tile]]:
    """Cut a pack into tiles of the engine's preferred number of rows."""
    size = pack.program.tile_rows or _DEFAULT_TILE
    cuts = [slice(start, min(start + size, len(pack))) for start in range(0, len(pack), size)]
    return [(cut, _tile(pack, cut)) for cut in cuts]


def _tile(pack: Pack, cut: slice) -> Tile:
    program = pack.program
    hypers = {key: value[cut] for key, value in pack.hypers.items()}
    tile = Tile(
        program,
        pack.params[cut],
        {name: value[cut] for name, value in pack.slots.items()},
        hypers,
        {purpose: value[cut] for purpose, value in pack.keys.items()},
        pack.step[cut],
        pack.taken[cut],
        pack.updates[cut],
        pack.status[cut],
        pack.diverged_at[cut],
        {},
        {},
    )
    tile.decays = bool((hypers.get("optimizer.weight_decay", torch.zeros(1)) > 0).any())
    for name, unit in program.controllers.items():
        tile.on[name] = unit.active(tile.unit_hypers(f"controllers.{name}"))
        tile.switched[name] = bool(tile.on[name].any())
    return tile


def train_batch(tile: Tile) -> Batch:
    """The mini-batch of each row's next update: a function of the row's key and step alone."""
    program, step = tile.program, tile.step
    samples = program.task.samples
    if samples is None:
        ids = step[:, None] * program.batch + torch.arange(program.batch, device=step.device)
    else:
        ids = sample_ids(tile.keys["order"], step, program.batch, samples)
    batch = program.task.batch(Draws(tile.keys["data"], ids, step, program.dtype))
    if not program.task.carries:
        return batch
    state = tile.slots[CARRIED]
    begins = program.task.begins(step, program.batch)[:, None, None]
    return replace(batch, state=torch.where(begins, torch.zeros_like(state), state))
