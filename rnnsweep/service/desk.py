"""What callers ask of a service, written into its ledger: the queue, and requests for the sweeps' drivers.

It needs no service in the same process: a line of the queue is an order to whichever service holds the store.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.adapters.ledger.sweep_queue import QueueEntry, SweepQueue
from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.results.posting import post, post_edit
from rnnsweep.app.run import launch as runs
from rnnsweep.app.stores import StorePlace, reading_sweep, unknown_sweep
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.service.front import PoolWorker, QueuedSweep, QueueState, Submission
from rnnsweep.sweep import budget, edits, trial_requests
from rnnsweep.sweep.rebuild import Reopen, check_reopened
from rnnsweep.sweep.states import SweepState

REQUESTS = ("budget", "enqueue", edits.KIND, *trial_requests.KINDS)
"""Kinds of requests that a driver takes, besides ``stop``."""


class Desk:
    """Implements `Front` on the ledger alone.

    Args:
        place: the store of all sweeps.
        config_dirs: the users' own units and sweeps.
    """

    def __init__(self, place: StorePlace, config_dirs: Sequence[Path] = ()) -> None:
        self._place, self._config_dirs = place, list(config_dirs)
        self.ledger = open_ledger(place.ledger)
        self.lines = SweepQueue(self.ledger.database)
        # composing changes the import path, and two submissions of one name must not both find it free
        self._composing = threading.Lock()

    def close(self) -> None:
        """Release the ledger's connections."""
        self.ledger.close()

    @property
    def place(self) -> StorePlace:
        """See `Front.place`."""
        return self._place

    @property
    def config_dirs(self) -> Sequence[Path]:
        """See `Front.config_dirs`."""
        return self._config_dirs

    def queue(self) -> list[QueuedSweep]:
        """See `Front.queue`."""
        return [
            QueuedSweep(one.name, QueueState(one.state), one.user, one.weight, one.priority, one.submitted, one.reason)
            for one in self.lines.entries()
        ]

    def workers(self) -> list[PoolWorker]:
        """See `Front.workers`; only the process of the service knows them."""
        return []

    def submit(self, submission: Submission) -> str:
        """See `Front.submit`: checked and in the ledger as `launch` does it, and in the queue."""
        _check(submission)
        overrides = list(submission.overrides)
        if self._place.server:
            overrides.append(f"store.ledger='{self._place.server}'")
        root = self._place.own_root or self._place.root
        with self._composing:
            config, _ = runs.prepare(submission.sweep, overrides, self._config_dirs, root)
            self._check_store(config)
            runs.add(config, self.ledger)
            user, weight, priority = submission.user, submission.weight, submission.priority
            self.lines.put(QueueEntry(config.plan.name, QueueState.QUEUED, user, weight, priority, time.time()))
        return config.plan.name

    def _check_store(self, config: SweepConfig) -> None:
        if config.store.ledger != self._place.ledger:
            hint = "All sweeps of a service are in its own ledger: leave store.ledger out."
            raise ConfigError("is another ledger than the service's", key="store.ledger", hint=hint)

    def stop(self, name: str, reason: str) -> None:
        """See `Front.stop`."""
        self._end(name, reason, QueueState.ENDED, "stop")

    def pause(self, name: str, reason: str) -> None:
        """See `Front.pause`."""
        self._end(name, reason, QueueState.PAUSED, "pause")

    def _end(self, name: str, reason: str, state: QueueState, wish: str) -> None:
        def alter(entry: QueueEntry) -> QueueEntry:
            if entry.state == QueueState.RUNNING:
                return replace(entry, wish=wish, reason=reason)
            if entry.state == QueueState.ENDED:
                return entry
            return replace(entry, state=state, reason=reason)

        # the wish first: where the service dies before the driver has heard of it, the next one keeps to it
        entry = self._altered(name, alter)
        if entry.state == QueueState.RUNNING:
            self.ledger.post(name, "stop", {"reason": reason})

    def resume(self, name: str, overrides: Sequence[str] = (), reopen: Reopen | None = None) -> None:
        """See `Front.resume`."""
        wanted = Reopen() if reopen is None else reopen
        with self._composing:
            config = runs.stored_config(self._place, name, list(overrides))
            if wanted != Reopen():
                check_reopened(wanted, self.ledger.trials(name), config.plan)
            entry = self.lines.get(name)
            if entry is None:
                entry = QueueEntry(name, QueueState.ENDED, submitted=time.time())
                self.lines.put(entry)
            if entry.state == QueueState.QUEUED or (entry.state == QueueState.RUNNING and not self._ending(entry)):
                word = "runs already" if entry.state == QueueState.RUNNING else "is in the queue already"
                raise ConfigError(word, key="SWEEP", value=name, allowed="a sweep that has ended or is paused")
            self.lines.change(name, lambda one: _to_go_on(one, overrides, wanted))

    def _ending(self, entry: QueueEntry) -> bool:
        """Whether its driver is to stop, or has nothing left but to bring mirrors up to date."""
        if entry.wish or not self.ledger.driven(entry.name):
            return bool(entry.wish)
        view = self.ledger.sweep(entry.name)
        return view is not None and view.state is not SweepState.RUNNING

    def request(self, name: str, kind: str, data: Mapping[str, Any]) -> None:
        """See `Front.request`."""
        if kind not in REQUESTS:
            raise ConfigError(
                "unknown request", key="request", value=kind, allowed=REQUESTS, hint=nearest(kind, REQUESTS)
            )
        if kind in trial_requests.KINDS:
            self._ask_trial(name, kind, data)
            return
        if kind == edits.KIND:
            self._ask_edit(name, data)
            return
        with self._composing:
            plan = runs.stored_config(self._place, name).plan
        if kind == "budget":
            budget.change(plan.budget, data)
        else:
            points = data.get("points")
            if not isinstance(points, list) or not points:
                raise ConfigError(
                    "is missing", key="points", allowed="a list of points, each a mapping of keys to values"
                )
            for index, point in enumerate(points):
                plan.space.fitting(point, f"points.{index}")
        self.ledger.post(name, kind, data)

    def _ask_trial(self, name: str, kind: str, data: Mapping[str, Any]) -> None:
        trial = data.get("trial")
        if not isinstance(trial, int) or isinstance(trial, bool) or trial < 0:
            raise ConfigError("is no trial's number", key="trial", value=trial, allowed="0, 1, 2, ...")
        with reading_sweep(self._place, name) as (ledger, view):
            post(ledger, view, kind, [trial], str(data.get("reason") or ""))

    def _ask_edit(self, name: str, data: Mapping[str, Any]) -> None:
        overrides = data.get("overrides")
        if not isinstance(overrides, list) or not all(isinstance(one, str) for one in overrides):
            raise ConfigError("is no list of overrides", key="overrides", value=overrides)
        with self._composing:  # its units are built, to check the ranges
            config = runs.stored_config(self._place, name)
            with reading_sweep(self._place, name) as (ledger, view):
                post_edit(ledger, view, config, overrides, str(data.get("by") or ""))

    def _altered(self, name: str, alter: Callable[[QueueEntry], QueueEntry]) -> QueueEntry:
        entry = self.lines.change(name, alter)
        if entry is None:
            raise unknown_sweep(self._place, name, [one.name for one in self.lines.entries()])
        return entry


def _to_go_on(entry: QueueEntry, overrides: Sequence[str], reopen: Reopen) -> QueueEntry:
    """In the line again, or there as soon as its driver has ended."""
    # the former overrides have not been heeded yet: those that have are forgotten
    asked = replace(entry, reason="", overrides=(*entry.overrides, *overrides), reopen=asdict(reopen))
    if entry.state == QueueState.RUNNING:
        return replace(asked, wish="again")
    return replace(asked, state=QueueState.QUEUED, wish="")


def _check(submission: Submission) -> None:
    if not (submission.weight > 0 and math.isfinite(submission.weight)):
        raise ConfigError("is no weight", key="weight", value=submission.weight, allowed="a number above 0")
    if isinstance(submission.priority, bool) or not isinstance(submission.priority, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError("is no priority", key="priority", value=submission.priority, allowed="a whole number")
