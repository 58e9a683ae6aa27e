"""A service as Python code sees it: what `rnnsweep.connect` returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rnnsweep.app.remote.connection import Connection
from rnnsweep.app.remote.remote_sweep import RemoteSweep
from rnnsweep.errors import StoreError
from rnnsweep.sweep.session import Outcome
from rnnsweep.sweep.states import SweepState

PERIOD_S = 1.0
"""Seconds between looks at a sweep that is waited for."""
AWAY_S = 120.0
"""Seconds for which a service may be silent before nobody waits for it any longer: it may be starting anew."""
_CODES = {SweepState.COMPLETE: 0, SweepState.FAILED: 1}
_STOPPED = 3


class Service:
    """A service: its sweeps, its queue, its workers.

    Attributes:
        connection: to it.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __repr__(self) -> str:
        return f"Service({self.connection.url})"

    def statuses(self) -> list[dict[str, Any]]:
        """`Sweep.status` of every sweep that the account may see, oldest first."""
        return self.connection.get("sweeps")

    def open_sweep(self, name: str) -> RemoteSweep:
        """A sweep of the service.

        Raises:
            ConfigError: it has none of this name; names the nearest.
        """
        self.connection.get("sweeps", name)
        return RemoteSweep(name, self.connection)

    def launch(
        self, name: str, overrides: Sequence[str] = (), *, fresh: bool = False, weight: float = 1.0, priority: int = 0
    ) -> RemoteSweep:
        """Check a sweep there and queue it; returns at once, see `wait`.

        Args:
            name: of a sweep that the service knows.
            overrides: as on the command line; where it is stored and runs is the service's matter.
            fresh: go on with an unfinished one of the name, or take the next name.
            weight: its part of the pool relative to the others'.
            priority: higher ones get all slots that they can use first.

        Raises:
            ConfigError: wrong input; nothing was written.
        """
        body = {"sweep": name, "overrides": list(overrides), "fresh": fresh, "weight": weight, "priority": priority}
        return RemoteSweep(self.connection.post("sweeps", body=body)["sweep"], self.connection)

    def resume(self, name: str, overrides: Sequence[str] = (), **wishes: Any) -> RemoteSweep:
        """Queue a sweep of the service's store again; `wishes` as `RemoteSweep.resume` has them."""
        sweep = RemoteSweep(name, self.connection)
        sweep.resume(overrides, **wishes)
        return sweep

    def wait(self, sweep: RemoteSweep, watch: Callable[[Mapping[str, Any], str], None] | None = None) -> RemoteSweep:
        """Wait until a sweep has left the queue; what is returned has its `outcome`.

        A service that is started anew goes on with its sweeps, so whoever waits outlasts that.

        Args:
            sweep: a sweep.
            watch: called with each new status, and the sweep's state in the queue.

        Raises:
            StoreError: the service has not answered for `AWAY_S`.
        """
        before: Any = None
        heard = time.monotonic()
        while True:
            try:
                line, entry = sweep.queued, sweep.status()
            except StoreError:
                if time.monotonic() - heard > AWAY_S:
                    raise
                time.sleep(PERIOD_S)
                continue
            heard, state = time.monotonic(), line["state"] if line else "ENDED"
            if watch is not None and (entry, state) != before:
                watch(entry, state)
                before = (entry, state)
            if state in ("PAUSED", "ENDED"):
                return replace(sweep, outcome=outcome_of(entry, line["reason"] if line else ""))
            time.sleep(PERIOD_S)

    def queue(self) -> list[dict[str, Any]]:
        """The queue, in the order of submission."""
        return self.connection.get("queue")

    def workers(self) -> list[dict[str, Any]]:
        """The pool."""
        return self.connection.get("workers")

    def known_sweeps(self) -> list[tuple[str, str]]:
        """Name and one-line description of every sweep that can be launched there."""
        return [(entry["sweep"], entry["description"]) for entry in self.connection.get("catalogue")]

    def known_units(self) -> dict[str, list[str]]:
        """Names of the units of every group there."""
        return self.connection.get("units")

    def resolved_config(self, name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """The full configuration that a launch would use, checked.

        Raises:
            ConfigError: wrong input.
        """
        return self.connection.post("config", body={"sweep": name, "overrides": list(overrides)})

    def audit(self, after: int = 0) -> list[dict[str, Any]]:
        """Requests that changed something, wanted to, or were refused; for operators of all sweeps."""
        return self.connection.get("audit", after=after)


def outcome_of(status: Mapping[str, Any], reason: str) -> Outcome:
    """How a sweep ended, with the exit code that its own driver would have had."""
    state = SweepState(status["state"]) if status["state"] in SweepState.__members__ else SweepState.STOPPED
    failed = bool(status["trials"]["failed"])
    code = _CODES.get(state, _STOPPED)
    return Outcome(state, 1 if code == 0 and failed else code, reason)


def connect(url: str, token: str | None = None) -> Service:
    """A service, with the account of a token.

    Args:
        url: as `rnnsweep serve` has printed it, or of the proxy before it.
        token: None takes RNNSWEEP_TOKEN, else the file that RNNSWEEP_TOKEN_FILE names.

    Raises:
        ConfigError: no URL of a service; a token file that others may read.
        StoreError: nothing answers there.
        ServiceError: the token is nobody's.
    """
    connection = Connection(url, token)
    connection.get("me")
    return Service(connection)
