"""Sweeps as the pages show them: from the ledger, through one tail of the journal per sweep and metric of curves."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rnnsweep.app.config.load import plan_of
from rnnsweep.app.results.tables import Json, jsonable, open_time, score_text, standing, status
from rnnsweep.app.stores import StorePlace, reading, unknown_sweep
from rnnsweep.service.page.journal_tail import JournalTail, thinned
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Ledger, SweepView, TrialView
from rnnsweep.sweep.states import SweepState, TrialState

TAILS = 64
"""Tails that are kept, those that were looked at last; another one is read anew."""


@dataclass(frozen=True)
class LiveSweep:
    """A sweep at this moment.

    Attributes:
        view: as it stands, see `standing`. plan: what it was asked to do.
        trials: as they stand, by number; none runs where no driver does.
        newest: trial -> step and value of its newest rung, as far as the journal has been read.
    """

    view: SweepView
    plan: SweepPlan
    trials: Sequence[TrialView]
    newest: Mapping[int, tuple[int, float | None]]

    def summary(self) -> Json:
        """`rnnsweep status`, with how much of the budget is done, from 0 to 1, and the best as text."""
        line = status(self.view, self.trials)
        best = line["best"]
        return line | {
            "reason": self.view.reason,
            "progress": round(self.progress, 4),
            "wanted": self.plan.budget.trials,
            "diverged": sum(trial.diverged_share > 0 for trial in self.trials),
            "best_text": score_text(best or {}, best["objective"] if best else None),
        }

    @property
    def progress(self) -> float:
        """Share of the budgeted updates that are done; a trial that has ended needs no more of its own."""
        updates = self.plan.budget.updates
        done = sum(
            1.0 if trial.state.finished else min(1.0, self.newest.get(trial.number, (trial.step, None))[0] / updates)
            for trial in self.trials
        )
        return min(1.0, done / max(self.plan.budget.trials or len(self.trials), len(self.trials), 1))

    def rows(self, trials: Sequence[TrialView]) -> list[Json]:
        """Lines of the table; what is infinite is a word, see `tables.plain`."""
        return [self._row(trial) for trial in trials]

    def _row(self, trial: TrialView) -> Json:
        ended = trial.state.finished
        step, value = (trial.step, None) if ended else self.newest.get(trial.number, (trial.step, None))
        if trial.values:
            value = trial.values[0]
        row: Json = {
            "n": trial.number,
            "s": trial.state.value,
            "f": fate_of(trial),
            "step": step,
            "v": value,
            "vs": list(trial.values),
            "p": [jsonable(self.plan.whole(trial.params).get(key)) for key in self.plan.space.keys],
            "at": trial.solved_at,
            "div": trial.diverged_at,
            "share": trial.diverged_share,
            "tries": trial.attempts,
            "why": trial.reason,
        }
        return row | ({"open": True} if open_time(self.view, trial, value) else {})


def fate_of(trial: TrialView) -> str:
    """What became of a trial, in the report's words.

    Example:
        >>> [fate_of(TrialView(0, TrialState(state), {}, (0.0,), solved_at=90)) for state in ("COMPLETE", "FAILED")]
        ['solved', 'failed']
    """
    if trial.state is TrialState.COMPLETE and trial.diverged_share > 0:
        return "diverged"
    return "solved" if trial.state is TrialState.COMPLETE and trial.solved_at is not None else trial.state.value.lower()


class LiveStore:
    """A store that pages look into again and again: what was read of its journal is kept. Safe for threads.

    Attributes:
        place: where it is now.
    """

    def __init__(self, place: Callable[[], StorePlace]) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._tails: OrderedDict[tuple[str, float, str], JournalTail] = OrderedDict()
        self._plans: dict[str, tuple[SweepView, SweepPlan]] = {}

    @contextmanager
    def open(self) -> Iterator[StoreLook]:
        """One look, for as long as a request takes.

        Raises:
            StoreError: the ledger is away.
        """
        with reading(self.place()) as ledger:
            yield StoreLook(self, ledger)

    def plan(self, view: SweepView) -> SweepPlan:
        """A sweep's plan, built anew only when the stored config is another one: it takes milliseconds."""
        known = self._plans.get(view.name)
        if known is None or known[0].config != view.config:
            known = self._plans[view.name] = (view, plan_of(view))
        return known[1]

    def tail(self, view: SweepView, key: str = "") -> JournalTail:
        """The tail of a sweep with the curves of a metric; empty: of its first objective."""
        with self._lock:
            # the time of creation: a store that was removed and begun anew may have a sweep of the same name
            which = (view.name, view.created, key)
            tail = self._tails.pop(which, None) or JournalTail(view.name, key)
            self._tails[which] = tail
            while len(self._tails) > TAILS:
                self._tails.popitem(last=False)
            return tail


@dataclass(frozen=True)
class StoreLook:
    """One look into a store. Each method raises `ConfigError` for a sweep that the store does not have.

    Attributes:
        ledger: None where there is no store yet.
    """

    store: LiveStore
    ledger: Ledger | None

    def names(self) -> list[str]:
        """All sweeps, oldest first."""
        return [] if self.ledger is None else [view.name for view in self.ledger.sweeps()]

    def sweep(self, name: str) -> tuple[Ledger, SweepView]:
        """The ledger and a sweep of it, for what is read anew."""
        view = None if self.ledger is None else self.ledger.sweep(name)
        if self.ledger is None or view is None:
            raise unknown_sweep(self.store.place(), name, self.names())
        return self.ledger, view

    def now(self, name: str) -> LiveSweep:
        """A sweep as far as it takes no time to know."""
        ledger, view = self.sweep(name)
        tail = self.store.tail(view)
        return self._live(ledger, view, tail, tail.look(ledger))

    def news(self, name: str, after: int, key: str = "") -> Json:
        """What is new since journal entry `after`: summary, lines of the table, points of the curves.

        Args:
            name: the sweep.
            after: the last answer's ``seq``; 0 at first.
            key: metric whose curves are wanted; empty for the first objective.
        """
        ledger, view = self.sweep(name)
        tail = self.store.tail(view)
        main = tail.news(ledger, after)
        lines = self.store.tail(view, key).news(ledger, after) if key else main
        live = self._live(ledger, view, tail, main.every)
        changed = {trial.number for trial in main.trials}
        return {
            "seq": min(main.seq, lines.seq),
            "more": main.more or lines.more,
            "whole": lines.whole,
            "sweep": live.summary(),
            "rows": live.rows([trial for trial in live.trials if trial.number in changed]),
            "curves": {trial: thinned(points) for trial, points in lines.points.items()},
            "keys": main.keys,
        }

    def _live(self, ledger: Ledger, view: SweepView, tail: JournalTail, trials: Sequence[TrialView]) -> LiveSweep:
        stands = standing(ledger, view)
        if stands.state is not SweepState.RUNNING:
            trials = [
                replace(trial, state=TrialState.WAITING) if trial.state is TrialState.RUNNING else trial
                for trial in trials
            ]
        return LiveSweep(stands, self.store.plan(view), trials, tail.newest)


def space_axes(plan: SweepPlan) -> list[Json]:
    """The searched keys as a script draws them: bounds of ranges, values of choices."""
    return [
        {
            "key": dimension.key,
            "low": dimension.low,
            "high": dimension.high,
            "log": dimension.log,
            "choices": [jsonable(choice) for choice in dimension.choices],
        }
        for dimension in plan.space
    ]


def goals(plan: SweepPlan) -> list[dict[str, Any]]:
    """The objectives for the script."""
    return [{"metric": objective.metric, "goal": objective.goal} for objective in plan.objectives]
