"""Compare the mirrors of a store with its ledger, and write what they have lost: `rnnsweep doctor --repair`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnsweep.app.stores import StorePlace, reading
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
    """Repair the mirrors of all sweeps that nobody drives; their drivers look after those of the others."""
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


def _mirrors_of(ledger: Ledger, view: SweepView, store_place: StorePlace) -> Iterator[Repaired]:
    from rnnsweep.app.config.load import from_json
    from rnnsweep.app.run import wiring
    from rnnsweep.sweep.clock import SystemClock
    from rnnsweep.sweep.mirroring import rewrite

    try:
        mirrors = wiring.mirrors(from_json(view.config, store=store_place.own_root), ledger)
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
