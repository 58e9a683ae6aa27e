"""An influence matrix of which each parameter keeps the few entries of the state that it reaches within its own step.

Units that share no column can be pulled together: one vector with a 1 for each of them gives all their rows of a
Jacobian at once, as sparse Jacobians are estimated. So a step costs as many entries as there are weights.
Shapes: see `core.types` and `recurrence.local`; k entries kept per column, U pairs of states, n columns into a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.recurrence.local import RECURRENT, START, LocalSteps, Source, StepPull
from rnnsweep.core.recurrence.reach import Reach

_MOST = 4
"""Entries per column, and vectors per step, up to which it pays."""


@dataclass(frozen=True)
class Places:
    """Indices of up to k true entries per line of a table, and which of them count.

    Attributes:
        index: 0 where there is none.
        valid: whether there is one.
    """

    index: Int64[Tensor, "L k"]
    valid: Bool[Tensor, "L k"]


@dataclass(frozen=True)
class Plan:
    """Where everything is.

    Attributes:
        kept: per source: the entries of the state that each of its columns keeps.
        vectors: what a step is pulled with, float64. colour: of each entry of the state: which of them is its own.
        into: the columns of the recurrent matrix that lead into each entry of the state.
        pairs: (to, from) of all entries of D_t that are needed.
        place: per source: where among the pairs the k x k entries of each column are.
        own: whether the cell's own memory leads from one to the other, per pair.
    """

    kept: Mapping[str, Places]
    vectors: Float64[Tensor, "Q S"]
    colour: Int64[Tensor, " S"]
    into: Places
    pairs: tuple[Int64[Tensor, " U"], Int64[Tensor, " U"]]
    place: Mapping[str, Int64[Tensor, "C k k"]]
    own: Bool[Tensor, " U"]


class Narrow:
    """See the module; exact where parameters reach nothing else, which is order 1 of SnAp.

    Numerics:
        Elementwise operations and `numerics.row_sum` only.
    """

    def __init__(self, steps: LocalSteps, plan: Plan) -> None:
        self._steps, self._plan = steps, plan
        P, B, zeros = steps.rows, steps.batch, steps.record.h.new_zeros
        self._j = {s.name: zeros(P, B, *plan.kept[s.name].index.shape, s.lines) for s in steps.sources}
        self._total = {s.name: zeros(P, B, s.columns, s.lines) for s in steps.sources}
        if START in self._j:
            self._j[START].fill_(1.0)
        vectors = plan.vectors.to(steps.record.h)
        self._vectors = vectors.expand(P, B, *vectors.shape)

    def step(self, t: int) -> None:
        """See `Influence.step`."""
        steps, plan = self._steps, self._plan
        pulled = steps.pull(t, self._vectors)
        d = self._pairs(pulled)  # P B U
        on = steps.active[:, t, :, None, None, None]
        for source in steps.sources:
            old, kept = self._j[source.name], plan.kept[source.name]
            ways = d[:, :, plan.place[source.name]]  # P B C k k
            new = sum((ways[..., n, None] * old[..., n, None, :] for n in range(old.shape[3])), torch.zeros_like(old))
            if source.name != START:
                new = new + self._immediate(pulled, source)[..., None] * steps.fed(source, t)[:, :, None, None, :]
            new = torch.where(kept.valid[..., None], new, torch.zeros_like(new))
            self._j[source.name] = torch.where(on, new, old)

    def read(self, direct: Float[Tensor, "P B S"]) -> None:
        """See `Influence.read`."""
        for name, j in self._j.items():
            kept = self._plan.kept[name]
            given = torch.where(kept.valid, direct[:, :, kept.index], torch.zeros_like(direct[:, :, :1, None]))
            parts = (given[..., n, None] * j[..., n, :] for n in range(j.shape[3]))
            self._total[name] = sum(parts, self._total[name])

    def total(self) -> Float[Tensor, "P N"]:
        """See `Influence.total`."""
        flat = torch.cat([self._total[source.name].flatten(2) for source in self._steps.sources], -1)  # P B N
        return numerics.row_sum(flat)

    def _immediate(self, pulled: StepPull, source: Source) -> Tensor:
        """ds_t/dcolumn of the kept entries, [P, B, C, k]."""
        kept, g = self._plan.kept[source.name], pulled.columns[source.name]
        place = self._plan.colour[kept.index] * source.columns
        place = place + torch.arange(source.columns, device=place.device)[:, None]
        return torch.where(kept.valid, g.flatten(2)[:, :, place], torch.zeros_like(g[:, :, :1, :1]))

    def _pairs(self, pulled: StepPull) -> Tensor:
        """D_t of all pairs, [P, B, U]."""
        plan, (to, start) = self._plan, self._plan.pairs
        own = pulled.own.flatten(2)[:, :, plan.colour[to] * self._steps.size + start]
        found = torch.where(plan.own, own, torch.zeros_like(own))
        w, g = self._steps.record.weights.w_rec, pulled.columns[RECURRENT]
        R, A = w.shape[1:]
        if not A:
            return found
        into, colour = plan.into.index[to], plan.colour[to]  # U n, U
        through = g.flatten(2)[:, :, colour[:, None] * A + into]  # P B U n
        # States beyond the matrix's R are read by nobody.
        weight = w.flatten(1)[:, start.clamp(max=R - 1)[:, None] * A + into][:, None]  # P 1 U n
        valid = plan.into.valid[to] & (start < R)[:, None]
        ways = torch.where(valid, through * weight, torch.zeros_like(through))
        return sum((ways[..., n] for n in range(ways.shape[-1])), found)


def plan_of(reach: Reach, sources: tuple[Source, ...]) -> Plan | None:
    """How few entries are needed; None where it would be many: then the whole matrix is as good."""
    key = tuple((source.name, source.columns) for source in sources)
    return _plan(_Same(reach), key)


@dataclass(frozen=True)
class _Same:
    """A structure, compared by identity: `reach_of` gives the same one for the same loop."""

    reach: Reach

    def __hash__(self) -> int:
        return id(self.reach)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.reach is self.reach


@lru_cache(maxsize=16)
def _plan(same: _Same, sources: tuple[tuple[str, int], ...]) -> Plan | None:
    reach, device = same.reach, same.reach.own.device
    S = len(reach.own)
    eye = torch.eye(S, dtype=torch.bool, device=device)
    tables = {name: eye[:, :columns] if name == START else reach.columns[name] for name, columns in sources}
    colour = _coloured(torch.cat((reach.own, *reach.columns.values()), 1))
    kept = {name: _places(table.T) for name, table in tables.items()}
    if int(colour.max()) >= _MOST or any(places.index.shape[1] > _MOST for places in kept.values()):
        return None
    flat = {name: p.index[:, :, None] * S + p.index[:, None, :] for name, p in kept.items()}  # C k k
    needed, inverse = torch.cat([part.flatten() for part in flat.values()]).unique(return_inverse=True)
    place = {
        name: part.view_as(flat[name])
        for name, part in zip(flat, inverse.split([part.numel() for part in flat.values()]), strict=True)
    }
    pairs = needed // S, needed % S
    vectors = torch.nn.functional.one_hot(colour).T.double()
    return Plan(kept, vectors, colour, _places(reach.columns[RECURRENT]), pairs, place, reach.own[pairs])


def _places(table: Tensor) -> Places:
    """Where each line [L, W] of a table is true."""
    count = table.sum(1)
    most = max(1, int(count.max()) if len(count) else 0)
    # Stable: true entries first, in their order.
    order = table.to(torch.int8).argsort(stable=True, dim=1, descending=True)[:, :most]
    if not order.shape[1]:
        order = order.new_zeros(len(table), most)
    valid = torch.arange(order.shape[1], device=table.device)[None] < count[:, None]
    return Places(torch.where(valid, order, torch.zeros_like(order)), valid)


def _coloured(table: Tensor) -> Tensor:
    """A colour per line such that no two lines of one colour are true in the same place, int64 [L]."""
    clash = (table.float() @ table.float().T > 0).cpu()
    colours: list[Tensor] = []
    found = torch.zeros(len(table), dtype=torch.int64)
    for line, row in enumerate(clash):
        free = next((n for n, members in enumerate(colours) if not bool((row & members).any())), len(colours))
        if free == len(colours):
            colours.append(torch.zeros(len(table), dtype=torch.bool))
        colours[free][line] = True
        found[line] = free
    return found.to(table.device)
