"""How a driver's session is paced, interrupted and ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from rnnsweep.sweep.states import SweepState

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What asks a process to end: Ctrl-C; scancel, docker stop and systemd; a closed terminal (not on Windows)."""


@dataclass(frozen=True)
class Outcome:
    """How a driver's session ended.

    Attributes:
        state: the sweep's state in the ledger (INTERRUPTED also for a driver that was fenced).
        exit_code: 0 done, 1 failed trials or stopped by a bug or store, 3 resumable, 4 another driver took over.
        reason: one line, or a bug's traceback.
        behind: mirrors that were not up to date when time ran out; they catch up in the next session.
        refused: what mirrors could not take and never will, one line each.
        at_once: somebody asked twice that it should end: nothing is waited for, nothing drawn.
        idle: there was nothing to do, and nothing was started or written.
    """

    state: SweepState
    exit_code: int
    reason: str
    behind: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    at_once: bool = False
    idle: bool = False


@dataclass(frozen=True)
class Pace:
    """Seconds that a driver waits for this and that.

    Attributes:
        poll: longest wait for an executor event.
        inbox: between looks at the ledger's inbox.
        note: between notes of time and updates spent.
        renew: between renewals of the lock; 0 = commits only.
        store: how long a ledger may be away before the sweep stops.
        drain: how long mirrors may take to catch up at the end.
        away: how long a mirror is waited for then whose store does not answer.
        observe: between calls of the observer.
    """

    poll: float = 0.25
    inbox: float = 0.5
    note: float = 5.0
    renew: float = 1.0
    store: float = 120.0
    drain: float = 120.0
    away: float = 30.0
    observe: float = 0.25


@contextmanager
def signals(interrupt: Callable[[], int]) -> Generator[None]:
    """SIGINT, SIGTERM and SIGHUP call `interrupt`, which counts them; the second one raises `KeyboardInterrupt`.

    A signal that is ignored stays so: `nohup` asks that a closed terminal should change nothing. Only the main thread
    can install handlers; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def caught(number: int, frame: object) -> None:
        del number, frame
        # raised in the main thread wherever it is, even in a sampler that takes minutes
        if interrupt() > 1:
            raise KeyboardInterrupt

    heeded = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, caught) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            # the caller's handlers: a notebook goes on after the sweep
            signal.signal(number, handler)
