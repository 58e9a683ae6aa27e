"""Where a sweep's journal is read: in its store, or at the service that has the store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from rnnsweep.app.results.tables import standing
from rnnsweep.app.stores import StorePlace, reading_sweep
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.views import SweepView

if TYPE_CHECKING:
    from rnnsweep.app.remote.remote_sweep import RemoteSweep
    from rnnsweep.sweep.ports import Change, Ledger


class JournalSource(Protocol):
    """What a feed reads; after `close` it can be read again."""

    name: str

    def view(self) -> SweepView:
        """The sweep as it stands.

        Raises:
            StoreError: store or service is away.
            ConfigError: there is no such sweep (any more).
        """
        ...

    def changes(self, after: int, limit: int, trial: int | None = None) -> Sequence[Change]:
        """See `Ledger.changes`; there may be more where `limit` are returned."""
        ...

    def close(self) -> None:
        """Leave the store."""
        ...


class StoreSource:
    """The ledger itself."""

    def __init__(self, place: StorePlace, name: str) -> None:
        self._place, self.name = place, name
        self._open = ExitStack()
        self._ledger: Ledger | None = None

    def view(self) -> SweepView:
        """See `JournalSource.view`."""
        ledger = self._reach()
        stored = ledger.sweep(self.name)
        assert stored is not None  # sweeps are never removed from a ledger
        return standing(ledger, stored)

    def changes(self, after: int, limit: int, trial: int | None = None) -> Sequence[Change]:
        """See `JournalSource.changes`."""
        return self._reach().changes(self.name, after, limit, trial)

    def close(self) -> None:
        """See `JournalSource.close`."""
        self._ledger = None
        self._open.close()

    def _reach(self) -> Ledger:
        if self._ledger is None:
            self._ledger, _ = self._open.enter_context(reading_sweep(self._place, self.name))
        return self._ledger


class ServiceSource:
    """The same over HTTP: each call is a request."""

    def __init__(self, sweep: RemoteSweep) -> None:
        self._sweep, self.name = sweep, sweep.name

    def view(self) -> SweepView:
        """See `JournalSource.view`."""
        fields = self._sweep.record()
        return SweepView(**{**fields, "state": SweepState(fields["state"]), "overrides": tuple(fields["overrides"])})

    def changes(self, after: int, limit: int, trial: int | None = None) -> Sequence[Change]:
        """See `JournalSource.changes`."""
        found: list[Change] = []
        while len(found) < limit and (page := self._sweep.log(after, trial)):
            found += page
            after = page[-1].seq
        for change in found:
            if change.kind == "trial":
                _restore(change.data)
        return found

    def close(self) -> None:
        """See `JournalSource.close`."""


def _restore(trial: Any) -> None:
    """The types of a `TrialView`, which JSON does not keep."""
    trial["state"] = TrialState(trial["state"])
    for name in ("values", "history", "fingerprints"):
        if trial.get(name) is not None:
            trial[name] = tuple(trial[name])
