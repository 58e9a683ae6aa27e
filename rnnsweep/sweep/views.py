"""Views of what the ledger holds: plain, frozen data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.sweep.plan import Params
from rnnsweep.sweep.segments import Segment
from rnnsweep.sweep.states import SweepState, TrialState

BY_USER, BY_SCHEDULER = "user", "scheduler"
"""Who pauses trials."""


@dataclass(frozen=True)
class AttemptView:
    """One try at a trial."""

    trial: int
    token: str
    number: int
    started: float
    from_step: int = 0
    worker: str = ""
    charged: bool = False
    outcome: str = ""


@dataclass(frozen=True)
class TrialView:
    """A trial as the ledger holds it.

    Attributes:
        started, finished: seconds since the epoch (driver's clock), None before.
        values: one per objective once there is a result, else empty. Finite.
        solved_at: median over replicas; None while fewer than half are solved.
        unsolved: replicas that did not solve the task, where there are any; None also where an older rnnsweep counted
            none.
        diverged_at: first update at which a replica diverged.
        diverged_share: share of diverged replicas (a constraint for samplers).
        history: what happened, oldest first.
        extra: e.g. ``objective@6000`` after an extension.
        enqueued: a user gave the point; the sampler was not asked for it.
        informed_by: results of other trials that the sampler's model knew when it was asked for the point; 0 for points
            of a Sobol start, of samplers without a model, and for enqueued ones.
        fingerprints: numbers of what its rungs were trained under (code, versions, data), ascending; None: all of them
            as the sweep was launched.
        paused_by: who has paused it, one of `BY_USER` and `BY_SCHEDULER`; None where it is not paused, and where an
            older rnnsweep wrote of a user's pause.
        segments: stretches of its training under other points than `params`, the one that it began with, oldest first;
            None where there are none.
        reopened: how often `resume` was told to let it go on. Requests on a trial name it, so that none outlives its
            time.
        space: version of the search space that it was asked for under; None: as the sweep was launched.
        same_as: the trial whose result it has taken over, being of the same point and seeds; None: it was trained.
    """

    number: int
    state: TrialState
    params: Params
    values: tuple[float, ...] = ()
    reason: str = ""
    attempts: int = 0
    charged: int = 0
    token: str = ""
    started: float | None = None
    finished: float | None = None
    step: int = 0
    rung: int = 0
    solved_at: int | None = None
    diverged_at: int | None = None
    diverged_share: float = 0.0
    worker: str = ""
    engine: str = ""
    history: tuple[str, ...] = ()
    extra: Mapping[str, float] = field(default_factory=dict[str, float])
    enqueued: bool = False
    informed_by: int = 0
    fingerprints: tuple[int, ...] | None = None
    unsolved: int | None = None
    reopened: int = 0
    paused_by: str | None = None
    space: int | None = None
    same_as: int | None = None
    segments: tuple[Segment, ...] | None = None


def fingerprint_text(numbers: Sequence[int] | None) -> str | None:
    """What a trial was trained under, for tables; None where all of it is as the sweep was launched.

    Example:
        >>> fingerprint_text((0, 2)), fingerprint_text((1,)), fingerprint_text(None)
        ('0+2', '1', None)
    """
    return None if numbers is None else "+".join(map(str, numbers))


@dataclass(frozen=True)
class SweepView:
    """A sweep as the ledger holds it."""

    name: str
    state: SweepState
    config: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    created: float = 0.0
    updated: float = 0.0
    wall_s: float = 0.0
    device_s: float = 0.0
    updates: int = 0
    reason: str = ""

    @property
    def identity(self) -> str:
        """Which sweep this is among all of its name, in whatever store; by this mirrors know their own."""
        # another ledger may have a sweep of this name; repr keeps every digit of the time
        return hashlib.sha256(f"{self.name}/{self.created!r}".encode()).hexdigest()[:16]
