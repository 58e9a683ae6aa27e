"""What the machine is told (events) and what it wants done (commands): plain, frozen data.

    driver ── Event ──► machine.step ──► Command ... ──► driver

Commands fall in three kinds. Writes (`ports.Write`) become durable first, all those of a batch in one transaction.
`AskSampler`, `ReportRung`, `AskPruner` and `TellSampler` talk to the sampler, which lives in memory and can be rebuilt.
`Join`, `Prepare`, `Leave`, `Progressed` and `Exclude` reach workers, and only after the writes are durable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rnnsweep.sweep.edits import Edit
from rnnsweep.sweep.plan import Params
from rnnsweep.sweep.ports import UNINFORMED, ExecutorEvent, Origin, TrialView, Write
from rnnsweep.sweep.rows import RowSpec, Withdrawal
from rnnsweep.sweep.states import SweepState

# ------------------------------------------------------------------ events


@dataclass(frozen=True)
class Tick:
    """Time as the driver sees it.

    Attributes:
        now: seconds since the epoch; stamps everything that follows until the next tick.
        wall_s: wall time of the sweep so far, seconds, all sessions together.
    """

    now: float
    wall_s: float


@dataclass(frozen=True)
class Asked:
    """The sampler's answer to `AskSampler`; None when the space is exhausted."""

    number: int
    params: Params | None
    origin: Origin = UNINFORMED


@dataclass(frozen=True)
class Enqueued:
    """The sampler has so many more points that a user gave: they come next."""

    points: int


@dataclass(frozen=True)
class Judged:
    """The sampler's answer to `AskPruner`."""

    trial: int
    rung: int
    prune: bool


@dataclass(frozen=True)
class BudgetChanged:
    """Limits that a user changed while the sweep runs: ``trials``, ``wall_s``, ``device_s`` or ``target``."""

    limits: Mapping[str, float | int | None]


@dataclass(frozen=True)
class SpaceEdited:
    """A user changed what is searched, or limits.

    Attributes:
        edit: what was wanted; it can be done.
        first: number of the first trial that it counts for.
        unfit: points that users gave, and that no longer lie in the space: the sampler has dropped so many.
    """

    edit: Edit
    first: int
    unfit: int = 0


@dataclass(frozen=True)
class TrialRequest:
    """What a user wants of one trial.

    Attributes:
        kind: ``end_trial``, ``pause_trial`` or ``unpause_trial``.
        trial: its number.
        reason: why, in the user's words; may be empty.
        reopened: as the trial had it when this was asked, see `TrialView`; a request of an earlier time is void.
    """

    kind: Literal["end_trial", "pause_trial", "unpause_trial"]
    trial: int
    reason: str = ""
    reopened: int = 0


@dataclass(frozen=True)
class StopAsked:
    """A user wants the sweep to pause; `state` is STOPPED or INTERRUPTED (or FAILED when a store gives up)."""

    state: SweepState
    reason: str


@dataclass(frozen=True)
class Closed:
    """All workers are gone and their last reports are in: nothing more will come."""


Wish = BudgetChanged | Enqueued | SpaceEdited | TrialRequest | StopAsked
"""What users ask for."""

Event = Tick | Asked | Judged | Wish | Closed | ExecutorEvent

# ------------------------------------------------------------------ commands


@dataclass(frozen=True)
class AskSampler:
    """Ask the sampler for the point of this trial; answered by `Asked`."""

    number: int


@dataclass(frozen=True)
class ReportRung:
    """Report to the sampler a reduced value at a rung, and those of the replicas if it wants them."""

    trial: int
    step: int
    value: float
    replicas: tuple[float, ...] = ()


@dataclass(frozen=True)
class AskPruner:
    """Ask the pruner about this rung; answered by `Judged`."""

    trial: int
    rung: int
    step: int


@dataclass(frozen=True)
class TellSampler:
    """Tell the sampler about a finished trial, or one that may have: a scheduler has paused it, and it may go on."""

    view: TrialView


@dataclass(frozen=True)
class Join:
    """A worker takes a row."""

    worker: str
    spec: RowSpec


@dataclass(frozen=True)
class Prepare:
    """A worker lets a row of its own go on from another one's state once both are there; see `Orders.take`."""

    worker: str
    spec: RowSpec


@dataclass(frozen=True)
class Leave:
    """A worker drops a row."""

    worker: str
    withdrawal: Withdrawal


@dataclass(frozen=True)
class Progressed:
    """What a worker may forget about a row: reports up to `acknowledged`, checkpoints before `decided`."""

    worker: str
    row: tuple[int, int]
    acknowledged: int | None = None
    decided: int | None = None


@dataclass(frozen=True)
class Exclude:
    """Start no more workers on this node."""

    node: str


Command = Write | AskSampler | ReportRung | AskPruner | TellSampler | Join | Prepare | Leave | Progressed | Exclude
