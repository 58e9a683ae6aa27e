"""What a page shows of a sweep, kept up to date from the ledger's journal: each entry is read once for all who look."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.sweep.ports import Change, Ledger, TrialView

POINTS = 120
"""Points of a curve that are kept; a picture shows no more."""
RECENT = 20_000
"""Newest points that are kept as they came, for pages that have all the others."""
AT_ONCE, ROUNDS = 2_000, 3
"""Journal entries per read, and reads per request: a page of a long sweep fills while one looks at it."""
PERIOD_S = 0.25
"""The ledger is not asked more often, however many look."""


def thinned(points: list[list[float]], most: int = POINTS) -> list[list[float]]:
    """A curve of at most `most` points: every second one of a longer curve, and always the last.

    Example:
        >>> thinned([[1, 0.9], [2, 0.8], [3, 0.7], [4, 0.6]], 3)
        [[1, 0.9], [3, 0.7], [4, 0.6]]
    """
    while len(points) > most:
        last = points[-1]
        points = points[::2]
        if points[-1] is not last:
            points.append(last)
            if len(points) > most >= 2:
                del points[-2]
    return points


@dataclass
class News:
    """What has changed since a page last asked.

    Attributes:
        seq: what to ask with the next time.
        more: the journal is still being read from its beginning; ask again at once. There are no points yet.
        whole: trials and points are all there are, not only new ones.
        trials: trials that changed, or that have a new rung. every: all of them, by number.
        points: trial -> [[step, value], ...].
        keys: metric keys that were reported.
    """

    seq: int
    more: bool
    whole: bool
    trials: list[TrialView]
    every: list[TrialView]
    points: dict[int, list[list[float]]]
    keys: list[str]


@dataclass
class JournalTail:
    """One sweep, and one number per rung: its first objective, or a metric. Safe for threads.

    Until the journal has been read to its end, the trials are those of the ledger's table: its older entries would
    show states that have long passed.

    Attributes:
        name: the sweep. key: metric of the curves; empty for the first objective.
        seq: last journal entry that was read.
        trials: as they are, by number. newest: trial -> step and value of its newest rung.
    """

    name: str
    key: str = ""
    now: Callable[[], float] = time.monotonic
    seq: int = 0
    trials: dict[int, TrialView] = field(default_factory=dict)
    newest: dict[int, tuple[int, float | None]] = field(default_factory=dict)
    _curves: dict[int, list[list[float]]] = field(default_factory=dict)
    _recent: deque[tuple[int, int, int, float]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _changed: dict[int, int] = field(default_factory=dict)
    _keys: set[str] = field(default_factory=set)
    _caught_up: bool = False
    _read_at: float = -1e9
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def look(self, ledger: Ledger) -> list[TrialView]:
        """The trials by number, without waiting for the whole journal."""
        with self._lock:
            if not self.trials:
                self._take_table(ledger)
            else:
                self._read(ledger)
            return self._by_number()

    def news(self, ledger: Ledger, after: int) -> News:
        """What is new since journal entry `after`; 0 asks for everything."""
        with self._lock:
            if not self.trials:
                self._take_table(ledger)
            if self._read(ledger):
                every = self._by_number()
                return News(0, True, True, every, every, {}, sorted(self._keys))
            whole = after <= 0 or after > self.seq or bool(self._dropped and after < self._recent[0][0])
            every = self._by_number()
            trials = [trial for trial in every if whole or self._changed.get(trial.number, 0) > after]
            points = self._curves if whole else self._since(after)
            copied = {number: list(curve) for number, curve in points.items()}
            return News(self.seq, False, whole, trials, every, copied, sorted(self._keys))

    def _by_number(self) -> list[TrialView]:
        return [self.trials[number] for number in sorted(self.trials)]

    @property
    def _dropped(self) -> bool:
        return len(self._recent) == self._recent.maxlen

    def _since(self, after: int) -> dict[int, list[list[float]]]:
        found: dict[int, list[list[float]]] = {}
        for seq, trial, step, value in reversed(self._recent):
            if seq <= after:
                break
            found.setdefault(trial, []).append([step, value])
        return {trial: curve[::-1] for trial, curve in found.items()}

    def _read(self, ledger: Ledger) -> bool:
        """Go on in the journal; True where its end has never been reached yet."""
        if self._caught_up and self.now() - self._read_at < PERIOD_S:
            return False
        for _ in range(ROUNDS):
            entries = ledger.changes(self.name, self.seq, AT_ONCE)
            for entry in entries:
                self._take(entry)
            if len(entries) < AT_ONCE:
                break
        else:
            return not self._caught_up
        if not self._caught_up:
            self._take_table(ledger)
            self._caught_up = True
        self._read_at = self.now()
        return False

    def _take_table(self, ledger: Ledger) -> None:
        self.trials.update((trial.number, trial) for trial in ledger.trials(self.name))

    def _take(self, entry: Change) -> None:
        self.seq = entry.seq
        if entry.trial is None:
            return
        if entry.kind == "rung":
            self._take_rung(entry.seq, entry.trial, entry.data)
        elif entry.kind == "trial" and self._caught_up:
            self.trials[entry.trial] = TrialView(**entry.data)
            self._changed[entry.trial] = entry.seq

    def _take_rung(self, seq: int, trial: int, data: Any) -> None:
        self._keys.update(data["metrics"])
        values = data["values"]
        value = data["metrics"].get(self.key) if self.key else (values[0] if values else None)
        self.newest[trial] = (data["step"], value)
        self._changed[trial] = seq
        if value is None:
            return
        self._recent.append((seq, trial, data["step"], value))
        curve = self._curves.setdefault(trial, [])
        curve.append([data["step"], value])
        if len(curve) > 2 * POINTS:
            self._curves[trial] = thinned(curve)
