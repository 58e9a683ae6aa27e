"""Results of other sweeps that a new one begins with: which of them lie in its space, and why the others do not.

They are kept with the sweep that learns from them, so that nothing later depends on where they came from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Params
from rnnsweep.sweep.space import Space
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView
from rnnsweep.wording import counted

KIND = "warm_start"
"""Of the request in the inbox by which they are kept."""
MOST = 20_000
"""Trials of one source that are kept: no sampler looks at more."""

ABSENT = object()
"""What a source has of a key that it does not know."""


@dataclass(frozen=True)
class Earlier:
    """What a sweep begins with.

    Attributes:
        trials: COMPLETE ones, whose numbers are no others'.
        offset: how far they have gone along the sampler's sequences of points; 0: not along these.
        told: per source, what is used of it and what is left out.
    """

    trials: tuple[TrialView, ...]
    offset: int = 0
    told: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        trials = [[view.number, dict(view.params), list(view.values), view.diverged_share] for view in self.trials]
        return {"trials": trials, "offset": self.offset, "told": list(self.told)}

    @classmethod
    def of_plain(cls, data: Mapping[str, Any]) -> Earlier:
        """The inverse of `plain`."""
        views = (_bare(number, params, values, diverged) for number, params, values, diverged in data["trials"])
        return cls(tuple(views), data["offset"], tuple(data["told"]))


def _bare(number: int, params: Params, values: Sequence[float], diverged: float) -> TrialView:
    return TrialView(number, TrialState.COMPLETE, params, tuple(values), diverged_share=diverged)


def fitted(
    space: Space,
    source: str,
    views: Sequence[TrialView],
    value_of: Callable[[TrialView, str], Any],
    objectives: int = 1,
) -> Earlier:
    """Those COMPLETE trials that lie in a space, with their values of its keys and of no others.

    Args:
        space: of the sweep that is to learn.
        source: what people call theirs.
        views: trials of another sweep, which may search other keys.
        value_of: what a trial had of a key, searched or not; `ABSENT` where nobody knows.
        objectives: number of values that a trial must have.
    """
    used: list[TrialView] = []
    why = Counter[str]()
    for view in views:
        if view.state is not TrialState.COMPLETE or len(view.values) != objectives:
            why["without a result"] += 1
            continue
        point = _point(space, view, value_of)
        if isinstance(point, str):
            why[point] += 1
        else:
            # nothing else of it: as the ledger gives it back to later sessions
            used.append(_bare(view.number, point, view.values, view.diverged_share))
    if len(used) > MOST:
        why["beyond the newest"] += len(used) - MOST
        used = used[-MOST:]
    left = ", ".join(f"{count} {reason}" for reason, count in sorted(why.items()))
    told = f"{source}: {counted(len(used), 'trial')} to learn from" + (f"; left out: {left}" if left else "")
    return Earlier(tuple(used), 1 + max((view.number for view in views), default=-1), (told,))


def _point(space: Space, view: TrialView, value_of: Callable[[TrialView, str], Any]) -> dict[str, Any] | str:
    """The trial's point in the space, or why it has none."""
    point: dict[str, Any] = {}
    for dimension in space:
        if not dimension.active(point):
            continue
        value = value_of(view, dimension.key)
        if value is ABSENT:
            return f"without {dimension.key}"
        try:
            point[dimension.key] = dimension.fitting(value)
        except ConfigError:
            return f"outside of {dimension.key}"
    return point


def together(parts: Iterable[Earlier]) -> Earlier:
    """All of several sources; a single one keeps its numbers."""
    trials: list[TrialView] = []
    told: list[str] = []
    base = 0
    for part in parts:
        trials += [replace(view, number=base + view.number) for view in part.trials]
        told += part.told
        base += part.offset
    return Earlier(tuple(trials), base, tuple(told))
