"""A pack: rows of one shape key, held as tensors whose first axis is the row."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.program import Program
from rnnsweep.core.types import ParameterLayout

NEVER = -1
"""Stands for "not yet" in int64 vectors of updates."""


@dataclass
class Streams:
    """Where a row's random numbers come from.

    Attributes:
        seed, replica: of the row; `trial` only where seeds are independent per trial.
    """

    seed: int
    replica: int
    trial: int | None = None

    def key(self, purpose: str) -> int:
        """Stream key of a purpose."""
        return rng.key(self.seed, self.replica, purpose, self.trial)


@dataclass
class RowSnapshot:
    """One row outside any pack: what a checkpoint holds. All tensors on the CPU, without padding.

    Attributes:
        params: by parameter name. slots: by slot name; per-parameter slots are named ``slot/parameter``.
        step: updates done. taken: steps taken (mini-batches admitted).
        rung: rungs done.
        solved_at, solved_exactly_at, diverged_at: updates, or None.
        best_loss: smallest valid/loss so far, inf at first. best_rung: its rung.
        profile: [K, T], of several layers [K, L, T]: log10 |delta_t| at the first rung, at up to two rungs between, of
            which one is near the middle, and at the last rung; `profile_steps` are their updates, ascending.
    """

    params: dict[str, Tensor]
    slots: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    taken: int = 0
    rung: int = 0
    solved_at: int | None = None
    solved_exactly_at: int | None = None
    diverged_at: int | None = None
    best_loss: float = math.inf
    best_rung: int = 0
    profile: Tensor | None = None
    profile_steps: tuple[int, ...] = (NEVER, NEVER, NEVER)


@dataclass
class Member:
    """A row's standing in its pack that is not tensor work.

    Attributes:
        name: whatever the owner knows the row by.
        updates: budget. hypers: dotted key -> value. streams: see `Streams`.
    """

    name: Hashable
    updates: int
    hypers: Mapping[str, float]
    streams: Streams


_PURPOSES = ("data", "order", "eval", "learner", "dropout")
NO_BEST = (math.inf, 0)
"""Of a row without an evaluation: its smallest loss, and the rung of that."""


def taken_over(state: RowSnapshot) -> RowSnapshot:
    """What a row goes on from that takes another one's state: all of it but the record of a best checkpoint.

    That one lies among the other row's; what is about the network itself (`solved_at`, the profile, the steps taken)
    goes with the network.
    """
    return replace(state, best_loss=NO_BEST[0], best_rung=NO_BEST[1])


class Pack:
    """Rows trained together. A row's numbers never depend on who else is in the pack.

    Attributes:
        program: what the rows share.
        members: one per row, in row order.
        params: [P, N]. slots: name -> [P, ...]. hypers: dotted key -> [P], in the pack's dtype.
        step, taken, rung, updates, solved_at, solved_exactly_at, diverged_at: int64 [P] (`NEVER` for not yet).
        status: int8 [P], see `RowStatus`.
        keys: purpose -> int64 [P] stream keys.
        cuts: what `tile.tiles` made of these rows; forgotten when rows join or leave.
    """

    _CLOCKS = ("step", "taken", "rung", "solved_at", "solved_exactly_at", "diverged_at")
    _VECTORS = (*_CLOCKS, "updates")

    def __init__(self, program: Program) -> None:
        self.program = program
        self.members: list[Member] = []
        device, dtype = program.device, program.dtype
        self.params = torch.zeros(0, program.layout.size, dtype=dtype, device=device)
        self.slots = {
            name: torch.zeros(0, *shape, dtype=dtype, device=device) for name, shape in program.slot_shapes.items()
        }
        self.hypers = {key: torch.zeros(0, dtype=dtype, device=device) for key in program.hyper_keys}
        self.keys = {purpose: torch.zeros(0, dtype=torch.int64, device=device) for purpose in _PURPOSES}
        self.status = torch.zeros(0, dtype=torch.int8, device=device)
        for name in self._VECTORS:
            setattr(self, name, torch.zeros(0, dtype=torch.int64, device=device))
        self.best: list[tuple[float, int]] = []
        self.profiles: list[tuple[tuple[int, ...], Tensor | None]] = []
        self.cuts: list[Any] = []

    step: Tensor
    taken: Tensor
    rung: Tensor
    updates: Tensor
    solved_at: Tensor
    solved_exactly_at: Tensor
    diverged_at: Tensor

    def __len__(self) -> int:
        return len(self.members)

    def due(self, report_every: int) -> int:
        """Row-updates of the next rung: until every row's own next boundary."""
        ends = torch.minimum((self.rung + 1) * report_every, self.updates)
        return int((ends - self.step).clamp(min=0).sum())

    def join(self, rows: Sequence[tuple[Member, RowSnapshot]]) -> None:
        """Append rows, at a rung boundary."""
        if not rows:
            return
        self.cuts = []
        members, states = [member for member, _ in rows], [state for _, state in rows]
        blocks, values = self._states(states), self._values(members)
        self.params = torch.cat([self.params, blocks["params"]])
        self.status = torch.cat([self.status, torch.zeros_like(values["updates"], dtype=torch.int8)])
        for name in self.slots:
            self.slots[name] = torch.cat([self.slots[name], blocks[f"slots {name}"]])
        for key in self.hypers:
            self.hypers[key] = torch.cat([self.hypers[key], values[f"hypers {key}"]])
        for purpose in self.keys:
            self.keys[purpose] = torch.cat([self.keys[purpose], values[f"keys {purpose}"]])
        for name, block in {**{name: blocks[name] for name in self._CLOCKS}, "updates": values["updates"]}.items():
            setattr(self, name, torch.cat([getattr(self, name), block]))
        self.members += members
        self.best += [(state.best_loss, state.best_rung) for state in states]
        self.profiles += [(state.profile_steps, state.profile) for state in states]

    def _states(self, states: Sequence[RowSnapshot]) -> dict[str, Tensor]:
        """What these have of each of the pack's tensors, on its device."""
        program, device, dtype = self.program, self.program.device, self.program.dtype
        layout = program.layout
        # filled on the CPU and moved at once: one transfer per join, not one per row
        params = torch.zeros(len(states), layout.size, dtype=dtype)
        for index, state in enumerate(states):
            layout.flatten(
                {name: value[None].to(dtype) for name, value in state.params.items()}, params[index : index + 1]
            )
        blocks = {"params": params.to(device)}
        for name, shape in program.slot_shapes.items():
            slots = torch.stack([_slot(layout, state, name, shape, dtype) for state in states])
            blocks[f"slots {name}"] = slots.to(device)
        for name in self._CLOCKS:
            numbers = [_number(getattr(state, name)) for state in states]
            blocks[name] = torch.tensor(numbers, dtype=torch.int64).to(device)
        return blocks

    def _values(self, members: Sequence[Member]) -> dict[str, Tensor]:
        """What these are trained by and to, in the pack's dtype and on its device."""
        device, dtype = self.program.device, self.program.dtype
        updates = torch.tensor([member.updates for member in members], dtype=torch.int64)
        values = {"updates": updates.to(device)}
        for key in self.program.hyper_keys:
            # rounded once, from the number that the config holds
            numbers = torch.tensor([float(member.hypers[key]) for member in members], dtype=torch.float64)
            values[f"hypers {key}"] = numbers.to(dtype).to(device)
        for purpose in _PURPOSES:
            keys = torch.tensor([member.streams.key(purpose) for member in members], dtype=torch.int64)
            values[f"keys {purpose}"] = keys.to(device)
        return values

    def replace(self, index: int, member: Member, state: RowSnapshot) -> None:
        """Put another row into a place, at a rung boundary and into the tensors that are there.

        No neighbour moves, and what replays updates goes on with the new values, unless other controllers, or weight
        decay where there was none, come with them.
        """
        blocks = self._states([state])
        _write(self.params, index, blocks["params"])
        for name, slot in self.slots.items():
            _write(slot, index, blocks[f"slots {name}"])
        for name in self._CLOCKS:
            _write(getattr(self, name), index, blocks[name])
        self.status[index : index + 1].zero_()
        self.best[index] = (state.best_loss, state.best_rung)
        self.profiles[index] = (state.profile_steps, state.profile)
        self._become(index, member)

    def exploit(self, target: int, source: int, member: Member) -> None:
        """Let a row go on from another one's state, under a point and streams of its own; otherwise as `replace`.

        Bit for bit what `replace` makes of `taken_over(pack.row(source))`, without a way over the host.
        """
        clocks = (getattr(self, name) for name in self._CLOCKS)
        for tensor in (self.params, self.status, *self.slots.values(), *clocks):
            _write(tensor, target, tensor[source : source + 1])
        self.best[target] = NO_BEST
        self.profiles[target] = self.profiles[source]
        self._become(target, member)

    def _become(self, index: int, member: Member) -> None:
        """Write a member's point and streams in place; tiles are cut anew only where they no longer fit."""
        values = self._values([member])
        _write(self.updates, index, values["updates"])
        for key, hyper in self.hypers.items():
            _write(hyper, index, values[f"hypers {key}"])
        for purpose, keys in self.keys.items():
            _write(keys, index, values[f"keys {purpose}"])
        self.members[index] = member
        # each of them is asked: those that stay take up what was written
        if not all([tile.renew() for _, tile in self.cuts]):
            self.cuts = []

    def leave(self, rows: Sequence[int]) -> None:
        """Drop rows by index; the others keep their order."""
        gone = set(rows)
        if not gone:
            return
        self.cuts = []
        kept = [index for index in range(len(self.members)) if index not in gone]
        # indexing copies: memory of the rows that left is free afterwards
        index = torch.tensor(kept, dtype=torch.int64, device=self.program.device)
        self.params = self.params[index]
        self.status = self.status[index]
        self.slots = {name: value[index] for name, value in self.slots.items()}
        self.hypers = {key: value[index] for key, value in self.hypers.items()}
        self.keys = {purpose: value[index] for purpose, value in self.keys.items()}
        for name in self._VECTORS:
            setattr(self, name, getattr(self, name)[index])
        self.members = [self.members[i] for i in kept]
        self.best = [self.best[i] for i in kept]
        self.profiles = [self.profiles[i] for i in kept]

    def row(self, index: int) -> RowSnapshot:
        """A row's state, detached from the pack."""
        return self.snapshots([index])[0]

    def snapshots(self, rows: Sequence[int]) -> list[RowSnapshot]:
        """States of rows, detached from the pack; one transfer per slab, not one per row and parameter.

        They are views of the slabs' copies, which last as long as one of them does.
        """
        layout, shapes = self.program.layout, self.program.slot_shapes
        index = torch.tensor(list(rows), dtype=torch.int64, device=self.program.device)
        # Indexing copies, so that the pack may train on in its own memory.
        params = _parts(layout, self.params[index].cpu())
        numbers = torch.stack([getattr(self, name)[index] for name in self._VECTORS]).tolist()
        slots: dict[str, Tensor] = {}
        for name, shape in shapes.items():
            block = self.slots[name][index].cpu()
            if shape == (layout.size,):
                slots |= {f"{name}/{part}": view for part, view in _parts(layout, block).items()}
            else:
                slots[name] = block
        # all rows' views of a block in one call: sliced one by one they take longer than the transfer
        views = {name: value.unbind() for name, value in params.items()}
        own = {name: value.unbind() for name, value in slots.items()}
        return [
            _snapshot(
                {name: value[place] for name, value in views.items()},
                {name: value[place] for name, value in own.items()},
                dict(zip(self._VECTORS, (vector[place] for vector in numbers), strict=True)),
                self.best[row],
                self.profiles[row],
            )
            for place, row in enumerate(rows)
        ]


def _snapshot(
    params: dict[str, Tensor],
    slots: dict[str, Tensor],
    numbers: Mapping[str, int],
    best: tuple[float, int],
    profiles: tuple[tuple[int, ...], Tensor | None],
) -> RowSnapshot:
    return RowSnapshot(
        params,
        slots,
        step=numbers["step"],
        taken=numbers["taken"],
        rung=numbers["rung"],
        solved_at=_maybe(numbers["solved_at"]),
        solved_exactly_at=_maybe(numbers["solved_exactly_at"]),
        diverged_at=_maybe(numbers["diverged_at"]),
        best_loss=best[0],
        best_rung=best[1],
        profile=profiles[1],
        profile_steps=profiles[0],
    )


def _parts(layout: ParameterLayout, flat: Tensor) -> dict[str, Tensor]:
    """Views by name, of each entry one."""
    return {spec.name: layout.part(flat, spec) for spec in layout.specs}


def _slot(layout: ParameterLayout, state: RowSnapshot, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    block = torch.zeros(shape, dtype=dtype)
    if shape == (layout.size,):
        prefix = f"{name}/"
        parts = {
            key[len(prefix) :]: value[None].to(dtype) for key, value in state.slots.items() if key.startswith(prefix)
        }
        layout.flatten(parts, block[None])
    # absent in a fresh row: slots begin at 0
    elif name in state.slots:
        block.copy_(state.slots[name])
    return block


def _write(tensor: Tensor, index: int, row: Tensor) -> None:
    tensor[index : index + 1].copy_(row)


def _number(value: int | None) -> int:
    return NEVER if value is None else value


def _maybe(value: int) -> int | None:
    return None if value == NEVER else value
