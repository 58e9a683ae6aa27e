"""A process that mirrors a ledger into trackers, and that tests kill: STORE KIND ... ; it says when it begins."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.adapters.tracked_trials import TrackerFacts
from rnnsweep.sweep.clock import SystemClock
from rnnsweep.sweep.mirroring import MirrorThread, drain
from tests.kit.demo_sweep import KEYS, make_plan
from tests.kit.trackers import build


def main(store: Path, kinds: list[str]) -> None:
    ledger = open_ledger(f"sqlite:///{store / 'ledger.db'}")
    view = ledger.sweep("demo")
    assert view is not None
    facts = TrackerFacts(200, lambda: KEYS, lambda params: "srn-10")

    def journal(trial: int) -> list:
        return ledger.changes("demo", 0, 10**6, trial)

    tails = []
    for kind in kinds:
        mirror = build(kind, store / kind, view, make_plan(), facts, journal)
        mirror.batch = 7  # small: a kill is to meet many states
        tails.append(MirrorThread(ledger, "demo", mirror, SystemClock()))
    print("begins", flush=True)
    for tail in tails:
        tail.start()
    behind = drain(tails, SystemClock(), (300.0, 30.0), lambda text: None)
    time.sleep(0.01)
    print("behind", *behind, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
