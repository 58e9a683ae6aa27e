"""A trainer whose numbers are digests of all that they come from: equal curves mean equal lineages.

A row's state after a rung is a digest of its state before, its point, its own identity (its data stream) and the rung.
Checkpoints go as the real trainer's do: whatever is decided on may be deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rnnsweep.sweep.policy import NO_SOURCE
from rnnsweep.sweep.rows import Orders, RowFailure, RowReport, RowSpec, Source

from .trainer import SimRow, SimTrainer

States = dict[tuple[int, int, str, int], str]
"""(trial, replica, token, rung) -> state, of every checkpoint that is there."""


def first_state(trial: int, replica: int) -> str:
    return f"init {trial}.{replica}"


def next_state(state: str, params: Mapping[str, Any], trial: int, replica: int, rung: int) -> str:
    text = repr((state, sorted(params.items()), trial, replica, rung))
    return hashlib.sha256(text.encode()).hexdigest()


def metrics_of(state: str) -> dict[str, float]:
    return {"valid/error": int(state[:8], 16) / 2**32, "train/loss": int(state[8:16], 16) / 2**32}


@dataclass
class LineageTrainer(SimTrainer):
    """Obeys orders as `PackTrainer` does, exploits included."""

    files: States = field(default_factory=dict)
    live: dict[tuple[int, int], str] = field(default_factory=dict)
    floors: dict[tuple[int, int], int] = field(default_factory=dict)
    taken: list[tuple[RowSpec, bool]] = field(default_factory=list)
    losses: list[RowFailure] = field(default_factory=list)
    takes: list[RowSpec] = field(default_factory=list)
    missing: list[RowSpec] = field(default_factory=list)

    def advance(self, orders: Orders):
        reports, failures = super().advance(orders)
        failures, self.losses = [*self.losses, *failures], []
        return reports, failures

    def _obey(self, orders: Orders) -> None:
        joining = []
        for spec in orders.join:
            stays = spec.source is not None and not spec.restore and spec.row in self.rows
            (self._take_over if stays else joining.append)(spec)
        gone = {leave.key for leave in orders.leave}
        self.takes = [spec for spec in self.takes if spec.key not in gone]
        super()._obey(replace(orders, join=()))
        self.takes += orders.take
        self._take_what_is_due()
        for identity, rung in orders.decided.items():
            self.floors[identity] = max(rung, self.floors.get(identity, 0))
        for spec in joining:
            assert spec.row not in self.rows, f"{spec.row} joined twice"
            self._begin(spec)

    def _take_what_is_due(self) -> None:
        for spec in list(self.takes):
            assert spec.source is not None
            row, source = self.rows.get(spec.row), self.rows.get((spec.source.trial, spec.source.replica))
            if row is None or source is None or source.rung > spec.source.rung or row.spec.token == spec.token:
                self.takes.remove(spec)
            elif source.rung == spec.source.rung and row.rung >= spec.source.rung:
                self.takes.remove(spec)
                self._take_over(spec)

    def _begin(self, spec: RowSpec) -> None:
        row = self._restore(spec)
        self.floors.pop(spec.row, None)
        if row.rung:
            token = next(t for t in spec.restore if row.rung in self.disk.get((spec.trial, spec.replica, t), {}))
            self.live[spec.row] = self.files[spec.trial, spec.replica, token, row.rung]
        elif spec.source is not None:
            state = self._state_of(spec.source)
            if state is None:
                self._miss(spec)
                return
            row, self.live[spec.row] = SimRow(spec, spec.source.rung), state
            self.taken.append((spec, False))
        else:
            self.live[spec.row] = first_state(spec.trial, spec.replica)
        self.rows[spec.row] = row

    def _take_over(self, spec: RowSpec) -> None:
        assert spec.source is not None
        row, source = self.rows[spec.row], self.rows.get((spec.source.trial, spec.source.replica))
        if row.spec.token == spec.token:
            return
        here = source is not None and source.rung == spec.source.rung
        state = self.live[spec.source.trial, spec.source.replica] if here else self._state_of(spec.source)
        del self.rows[spec.row]
        if state is None:
            self._miss(spec)
            return
        self.floors.pop(spec.row, None)
        self.rows[spec.row], self.live[spec.row] = SimRow(spec, spec.source.rung), state
        self.taken.append((spec, here))

    def _miss(self, spec: RowSpec) -> None:
        self.missing.append(spec)
        self.losses.append(self._failure(spec, NO_SOURCE, "gone"))

    def _state_of(self, source: Source) -> str | None:
        for token in source.tokens:
            if source.rung in self.disk.get((source.trial, source.replica, token), {}):
                return self.files[source.trial, source.replica, token, source.rung]
        return None

    def _report(self, spec: RowSpec, rung: int) -> RowReport:
        state = next_state(self.live[spec.row], spec.params, spec.trial, spec.replica, rung)
        self.live[spec.row] = state
        self.files[spec.trial, spec.replica, spec.token, rung] = state
        files = self.disk.get((spec.trial, spec.replica, spec.token), {})
        floor = min(self.floors.get(spec.row, 0), rung - 1)
        for old in [one for one in files if one < floor]:
            del files[old]
        report = super()._report(spec, rung)
        return report if not report.metrics else replace(report, metrics=metrics_of(state))
