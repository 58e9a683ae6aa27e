"""Compare the mirrors of a store with its ledger, and write what they have lost: `rnnsweep doctor --repair`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnsweep.app.stores import StorePlace, guard_imports, reading
from rnnsweep.errors import LockedError, RnnsweepError

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import Ledger, SweepView


@dataclass(frozen=True)
class Repaired:
    """What was done about one mirror of one sweep.

    Attributes:
        sweep: its name.
        mirror: the mirror's; empty where the sweep could not be looked at.
        ok: whether the mirror has all of the ledger now.
        detail: what was found and done.
    """

    sweep: str
    mirror: str
    ok: bool
    detail: str


def repair(store_place: StorePlace) -> Iterator[Repaired]:
    """Repair the mirrors of all sweeps that nobody drives; their drivers look after those of the others.

    Passwords that older versions have stored are removed first.
    """
    yield from _redacted(store_place)
    with reading(store_place) as ledger:
        for view in ledger.sweeps() if ledger else ():
            assert ledger is not None
            try:
                fence = ledger.acquire(view.name, "rnnsweep doctor --repair", 0.0)
            except LockedError:
                yield Repaired(view.name, "", True, "is being driven; its mirrors are compared when it goes on")
                continue
            try:
                yield from _mirrors_of(ledger, view, store_place)
            finally:
                ledger.release(view.name, fence)


def _redacted(store_place: StorePlace) -> Iterator[Repaired]:
    from rnnsweep.app.run.redaction import redact_ledger

    if not store_place.exists:
        return
    try:
        count = redact_ledger(store_place.ledger)
    except RnnsweepError as error:
        yield Repaired("ledger", "", False, f"passwords could not be removed: {error}")
        return
    if count:
        yield Repaired("ledger", "", True, f"held passwords of URLs in {count} rows; they are removed")


def _mirrors_of(ledger: Ledger, view: SweepView, store_place: StorePlace) -> Iterator[Repaired]:
    from rnnsweep.app.config.load import from_json
    from rnnsweep.app.config.store_urls import UrlFinder
    from rnnsweep.app.run import wiring
    from rnnsweep.app.run.redaction import redact_config
    from rnnsweep.sweep.clock import SystemClock
    from rnnsweep.sweep.mirroring import rewrite

    guard_imports(store_place, view)
    try:
        redact_config(from_json(view.config, store_place.own_root))  # also where a password is not found
        config = from_json(view.config, store_place.own_root, UrlFinder(store_place.server))
        mirrors = wiring.mirrors(config, ledger)
    except RnnsweepError as error:
        yield Repaired(view.name, "", False, str(error))
        return
    for mirror in mirrors:
        try:
            anew, refused = rewrite(ledger, view.name, mirror, SystemClock())
        except RnnsweepError as error:
            yield Repaired(view.name, mirror.name, False, str(error))
            continue
        done = "had lost something and is written anew" if anew else "has everything"
        left = f"; {len(refused)} entries left out: {refused[0][1]}" if refused else ""
        yield Repaired(view.name, mirror.name, not refused, done + left)
