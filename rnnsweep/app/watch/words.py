"""The lines around the table: how the sweep stands, and all about one trial."""

from __future__ import annotations

from collections import Counter

from rnnsweep.app.live_display import clock
from rnnsweep.app.results.tables import as_typed, score_text
from rnnsweep.app.watch.feed import Snapshot
from rnnsweep.errors import printable
from rnnsweep.sweep.states import TrialState

HISTORY = 6
"""Lines of a trial's history, the newest."""


def headline(snapshot: Snapshot) -> str:
    """Two lines: the sweep and its trials; what it has done, and why it has ended."""
    view = snapshot.view
    counts = Counter(entry["state"] for entry in snapshot.entries)
    states = [f"{counts[state.value]} {state.value.lower()}" for state in TrialState if counts[state.value]]
    best = ""
    if snapshot.best is not None:
        entry = next(entry for entry in snapshot.entries if entry["trial"] == snapshot.best)
        best = f" · best {score_text(entry, entry['objective'])} (trial {snapshot.best})"
    first = f"{view.name}  {view.state.value} · {', '.join(states) or 'no trials yet'}{best}"
    rate = f" · {snapshot.rate:.0f} updates/s" if snapshot.rate else ""
    reason = f" · {view.reason.splitlines()[0]}" if view.reason else ""
    return printable(first) + "\n" + printable(f"{view.updates} updates{rate} · {clock(view.wall_s)}{reason}")


def details(snapshot: Snapshot, number: int) -> str:
    """A trial: where it stands, its params, and what happened to it."""
    trial = snapshot.trials[number]
    entry = next(entry for entry in snapshot.entries if entry["trial"] == number)
    lines = [f"trial {number}  {entry['state']} at update {entry['step']}, attempt {trial.attempts}"]
    if trial.reason:
        lines.append(trial.reason.splitlines()[0])
    if trial.worker:
        lines.append(f"worker {trial.worker}" + (f", engine {trial.engine}" if trial.engine else ""))
    lines += [f"  {key}={as_typed(value)}" for key, value in trial.params.items()]
    return "\n".join(printable(line) for line in [*lines, *trial.history[-HISTORY:]])
