"""What is done about each class of failure, as data, and the strings that users read about it.

diverged        a result, not a failure: no retry, see `objective`
out_of_memory   the worker holds half as many rows from now on; the row tries again; if it was alone it is charged and
                tries again by itself, and the worker holds as many rows as before
lost            the worker is gone: try again; charged only if the trial was alone on it, up to `retries`
store           the worker gave up on the checkpoint store: lost, never charged; again and again stops the sweep
bug             the row raised: FAILED at once; the same traceback on three trials stops the sweep
refused         a unit does not accept the row's parameters: FAILED at once
no_source       the state that the row was to take over cannot be read: it goes on with its own
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

OUT_OF_MEMORY, LOST, BUG, REFUSED = "out_of_memory", "lost", "bug", "refused"
NO_SOURCE = "no_source"


@dataclass(frozen=True)
class Policy:
    """Thresholds of the failure policies.

    Attributes:
        strikes: losses without progress in between after which a trial is suspected to kill its worker.
        progress: rungs beyond the loss that clear a suspect; two, because two rungs can be in flight.
        node_losses: losses after which a node gets no more workers, if another node is alive.
        node_forgiven: trained rungs after which a node's losses are forgotten.
        bug_trials: trials with the same traceback that stop the sweep.
        store_losses: workers lost to the store, with no rung trained anywhere in between, that stop the sweep.
        history: lines of a trial's history that are kept.
        steal: rungs before a trial from which on an idle worker takes it over: it repeats two of them at most, and what
            it leaves behind is done in half of the time.
    """

    strikes: int = 2
    progress: int = 2
    node_losses: int = 3
    node_forgiven: int = 20
    bug_trials: int = 3
    store_losses: int = 3
    history: int = 30
    steal: int = 8


DEFAULT = Policy()


def signature(traceback: str, reason: str) -> str:
    """What two failures have in common when they are the same bug: numbers, addresses and quoted values differ.

    Example:
        >>> signature("", "index 3 is out of bounds at 0x7f") == signature("", "index 12 is out of bounds at 0x1a")
        True
    """
    # the traceback names the place in the code, which is the bug; the reason names the values, which differ by trial
    text = traceback.strip() or reason
    text = re.sub(r"0x[0-9a-fA-F]+", "@", text)
    # within one line only: an apostrophe in a message must not swallow the traceback up to the next one
    text = re.sub(r"'[^'\n]*'", "''", text)
    return re.sub(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", "#", text)


def halves(trials: Sequence[int], most: int) -> list[list[int]]:
    """Split suspects in two, then into parts of at most `most`, so that the culprit is found in log2 steps.

    Example:
        >>> halves([1, 2, 3, 4, 5], most=2)
        [[1, 2], [3], [4, 5]]
    """
    # always in two, even where one worker could hold all: together they would only die together again
    middle = (len(trials) + 1) // 2
    parts: Iterable[Sequence[int]] = (trials[:middle], trials[middle:])
    most = max(1, most)
    return [list(part[start : start + most]) for part in parts for start in range(0, len(part), most)]


def lost_for_good(charged: int, reason: str) -> str:
    """Reason of a trial that used up its retries."""
    times = "once" if charged == 1 else f"{charged} times"
    return f"{reason}; failed alone {times}, no retries left"


def repeated_bug(trials: Sequence[int], reason: str, traceback: str) -> str:
    """Reason of a sweep that is stopped by a bug."""
    tail = f"\n{traceback.rstrip()}" if traceback else ""
    return f"bug: the same error on trials {', '.join(map(str, trials))}: {reason}{tail}"
