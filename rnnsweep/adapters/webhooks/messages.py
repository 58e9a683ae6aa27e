"""What is worth a message, found by following the journal, and the message itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Change
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.summary import Best, Rank, best_of, rank
from rnnsweep.sweep.views import SweepView

END, FAILURE, DIVERGENCE, BEST = "end", "failure", "divergence", "best"
FEWEST = 5
"""Ended trials from which on a share of diverged ones says something."""
_LONGEST = 300
"""Characters of a reason: tracebacks are in the ledger."""


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        seq: the journal entry that it is about. payload: as JSON.
    """

    seq: int
    payload: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The same however often it is sent: by this a receiver drops a second one."""
        return str(self.payload["id"])


@dataclass(frozen=True)
class Wanted:
    """What somebody wants to be told.

    Attributes:
        events: kinds of messages.
        diverged_above: share of ended trials with diverged replicas above which it is told, 0 to 1.
        link: where more is to be seen; ``{sweep}`` becomes the name.
    """

    events: Sequence[str] = (END,)
    diverged_above: float = 0.5
    link: str | None = None


@dataclass
class SweepNews:
    """Follows the journal of a sweep.

    Attributes:
        state: the sweep's; None before the first entry.
        taken: the newest entry that was taken.
    """

    sweep: SweepView
    plan: SweepPlan
    wanted: Wanted
    state: SweepState | None = None
    taken: int = 0
    _states: dict[int, TrialState] = field(default_factory=dict[int, TrialState])
    _diverged: set[int] = field(default_factory=set[int])
    _many_diverged: bool = False
    _scores: dict[int, tuple[Rank, float, Mapping[str, Any]]] = field(default_factory=dict)
    _best: Best | None = None

    def take(self, change: Change) -> list[Message]:
        """Messages that an entry is worth; none for one that was taken before."""
        if change.seq <= self.taken:
            return []
        found: list[tuple[str, str, int | None]] = []
        if change.kind == "sweep":
            found = self._take_sweep(change)
        elif change.kind == "trial" and change.trial is not None:
            found = self._take_trial(change.trial, change.data)
        self.taken = change.seq
        wanted = [item for item in found if item[0] in self.wanted.events]
        return [Message(change.seq, self._payload(change, *item)) for item in wanted]

    def _take_sweep(self, change: Change) -> list[tuple[str, str, int | None]]:
        before, self.state = self.state, SweepState(change.data["state"])
        if self.state is before or self.state is SweepState.RUNNING or before is None:
            return []
        reason = _line(change.data.get("reason", ""))
        # a sweep that fails is both: whoever wants both is told once
        failed = self.state is SweepState.FAILED and END not in self.wanted.events
        return [(FAILURE if failed else END, reason, None)]

    def _take_trial(self, number: int, data: Mapping[str, Any]) -> list[tuple[str, str, int | None]]:
        before, state = self._states.get(number), TrialState(data["state"])
        self._states[number] = state
        if not state.finished or state is before:
            return []
        found: list[tuple[str, str, int | None]] = []
        if state is TrialState.FAILED:
            found.append((FAILURE, _line(data.get("reason", "")), number))
        if data.get("diverged_at") is not None:
            self._diverged.add(number)
        if self._crosses():
            found.append((DIVERGENCE, f"{len(self._diverged)} of {self._ended()} trials diverged", number))
        if self._is_best(number, state, data):
            found.append((BEST, "", number))
        return found

    def _ended(self) -> int:
        return sum(state.finished for state in self._states.values())

    def _crosses(self) -> bool:
        """Whether the share of diverged trials has just gone above what is borne; below it, it may do so again."""
        ended, before = self._ended(), self._many_diverged
        self._many_diverged = ended >= FEWEST and len(self._diverged) / ended > self.wanted.diverged_above
        return self._many_diverged and not before

    def _is_best(self, number: int, state: TrialState, data: Mapping[str, Any]) -> bool:
        values = tuple(data.get("values", ()))
        if self._scores.pop(number, None) is not None:  # an extended trial counts once: as it ended last
            self._best = None
            for order, value, _ in self._scores.values():
                self._best = best_of(self._best, order, value)
        if state is not TrialState.COMPLETE or not values:
            return False
        order = rank(self.plan.objectives[0], values[0], data.get("solved_at"), number)
        self._scores[number] = (order, values[0], dict(data["params"]))
        before, self._best = self._best, best_of(self._best, order, values[0])
        return before is None or order.loss < before.rank.loss

    def _payload(self, change: Change, event: str, reason: str, trial: int | None) -> dict[str, Any]:
        goal, counts = self.plan.objectives[0], Counter(self._states.values())
        best = None
        if self._best is not None:
            _, value, params = self._scores[self._best.number]
            best = {"trial": self._best.number, "objective": value, "params": params}
        return {
            "id": f"{self.sweep.identity}-{change.seq}-{event}",
            "event": event,
            "at": change.at,
            "sweep": self.plan.name,
            "state": (self.state or self.sweep.state).value,
            "reason": reason,
            "trial": trial,
            "objective": {"metric": goal.metric, "goal": goal.goal},
            "best": best,
            "trials": {state.value.lower(): counts[state] for state in TrialState},
            "link": self.wanted.link and self.wanted.link.replace("{sweep}", self.plan.name),
        }


def _line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")[:_LONGEST]


def in_words(payload: Mapping[str, Any]) -> str:
    """A message as a sentence or two.

    Example:
        >>> in_words({"event": "best", "sweep": "demo", "trial": 3, "reason": "", "state": "RUNNING", "link": None,
        ...     "objective": {"metric": "valid/error"}, "best": {"trial": 3, "objective": 0.25, "params": {"lr": 0.1}},
        ...     "trials": {"complete": 2, "failed": 1}})
        'Sweep demo: trial 3 is the best so far, valid/error 0.25. 2 complete, 1 failed.'
    """
    event, best, trial = payload["event"], payload["best"], payload["trial"]
    standing = "" if best is None else f"{payload['objective']['metric']} {best['objective']:.6g}"
    reason = f": {payload['reason']}" if payload["reason"] else ""
    if event == BEST:
        text = f"trial {trial} is the best so far, {standing}"
    elif event == FAILURE and trial is not None:
        text = f"trial {trial} failed{reason}"
    elif event == DIVERGENCE:
        text = payload["reason"]
    else:
        text = payload["state"] + reason.rstrip(".")
        text += f". Best: trial {best['trial']}, {standing}" if best is not None else ""
    counts = ", ".join(f"{count} {state}" for state, count in payload["trials"].items() if count)
    link = f" {payload['link']}" if payload["link"] else ""
    return f"Sweep {payload['sweep']}: {text}. {counts}.{link}"
