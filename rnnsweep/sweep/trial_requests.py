"""What users want of one trial: end it where it is, pause it, let it go on.

    inbox ─► event_of, outstanding ─► TrialRequest ─► obey          RUNNING | WAITING ─► PAUSED ─► WAITING
                                                                    RUNNING | WAITING | PAUSED ─► PRUNED

What is wanted is in the ledger before a worker hears of it. A request that was taken by a driver that died before it
wrote what came of it is carried out by the next one: the trial's own record says which were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rnnsweep.sweep import repeats
from rnnsweep.sweep.decisions import promote_by_request
from rnnsweep.sweep.events import Command, TrialRequest
from rnnsweep.sweep.placement import enqueue, rest
from rnnsweep.sweep.ports import PutTrial, PutVerdict
from rnnsweep.sweep.records import OpenTrial, SweepMemory
from rnnsweep.sweep.rungs import end
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.verdicts import END
from rnnsweep.sweep.views import BY_SCHEDULER, BY_USER

KINDS = ("end_trial", "pause_trial", "unpause_trial")
LISTED = 8
"""Trials that a reason names; more are counted."""

# ------------------------------------------------------------------ what comes from the inbox


def event_of(kind: str, data: Mapping[str, Any]) -> TrialRequest:
    """A request of the inbox, which is one of `KINDS`, as an event; one without a trial's number is about none."""
    assert kind == "end_trial" or kind == "pause_trial" or kind == "unpause_trial"
    # whoever may write to the ledger may write nonsense: that must not end a driver, and each one after it
    numbers = [data.get(key, default) for key, default in (("trial", -1), ("reopened", 0))]
    trial, reopened = (number if isinstance(number, int) else -1 for number in numbers)
    return TrialRequest(kind, trial, str(data.get("reason", "")), reopened)


def refusal(memory: SweepMemory, request: TrialRequest) -> str | None:
    """Why a request can do nothing, in one line; None where it can, or where all is as it wants already."""
    trial = memory.open.get(request.trial)
    if trial is None:
        known = 0 <= request.trial <= memory.last_number
        return f"trial {request.trial} " + ("has ended" if known else "does not exist")
    if trial.reopened != request.reopened:
        return f"trial {request.trial} has been told to go on since"
    return None


def outstanding(memory: SweepMemory, taken: Iterable[tuple[str, Mapping[str, Any]]]) -> list[TrialRequest]:
    """Requests that earlier drivers took and that their ledger shows no effect of, oldest first.

    Args:
        memory: as rebuilt from the ledger.
        taken: all requests that were ever taken, oldest first.
    """
    # The last one of a trial is what holds: of pause and unpause in turn the state tells nothing about the former.
    last: dict[int, TrialRequest] = {}
    for kind, data in taken:
        if kind in KINDS:
            request = event_of(kind, data)
            ending = last.get(request.trial)
            if ending is None or ending.kind != "end_trial" or ending.reopened < request.reopened:
                last[request.trial] = request
    return [request for request in last.values() if refusal(memory, request) is None]


# ------------------------------------------------------------------ what the machine does


def obey(memory: SweepMemory, request: TrialRequest, out: list[Command]) -> None:
    """Do what a user wants of a trial; nothing where `refusal` has a reason."""
    if refusal(memory, request) is not None:
        memory.refused += 1
        return
    trial = memory.open[request.trial]
    if request.kind == "end_trial":
        _end(memory, trial, request.reason, out)
    elif request.kind == "pause_trial" and not held(trial):
        _pause(memory, trial, request.reason, out)
    elif request.kind == "unpause_trial" and trial.state is TrialState.PAUSED:
        unpause(memory, trial, out)


def held(trial: OpenTrial) -> bool:
    """Whether a user has paused it: the scheduler does not let it go on."""
    return trial.state is TrialState.PAUSED and trial.paused_by != BY_SCHEDULER


def _end(memory: SweepMemory, trial: OpenTrial, reason: str, out: list[Command]) -> None:
    """The trial ends at its last rung: what was trained or reported beyond it does not count."""
    if trial.started is None:  # mirrors count a trial's time from here
        trial.started = memory.now
    asked = repeats.ENDED + (f": {reason}" if reason else "")
    if trial.failures:
        # it could not have become anything else; no verdict, which would stand in its way when it is tried again
        replica, why = min(trial.failures.items())
        end(memory, trial, TrialState.FAILED, f"replica {replica}: {why}; {asked}", out)
        return
    # of the rung in training: on the one before it there may be a verdict, which is never taken twice
    out.append(PutVerdict(trial.number, trial.rung + 1, END))
    if memory.races is not None:
        memory.races.forget(trial.number)
    end(memory, trial, TrialState.PRUNED, asked, out)


def _pause(memory: SweepMemory, trial: OpenTrial, reason: str, out: list[Command]) -> None:
    """Rows leave their workers, checkpoints stay; no attempt is charged. What the scheduler has paused is held."""
    if trial.state is not TrialState.PAUSED:
        rest(memory, trial, "paused", out)
    trial.paused_by = BY_USER
    trial.reason = "paused by request" + (f": {reason}" if reason else "")
    trial.log(f"PAUSED at update {trial.step}: {trial.reason}")
    out.append(PutTrial(trial.view()))


def unpause(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """A paused trial waits for a place again, before those that have never had one; see `decisions` for promotions."""
    if trial.unpromoted:
        promote_by_request(memory, trial, out)
        return
    memory.move(trial, TrialState.WAITING)
    trial.paused_by, trial.reason = None, ""
    trial.log(f"unpaused at update {trial.step}")
    out.append(PutTrial(trial.view()))
    if trial.attempts:
        enqueue(memory, trial)
    else:  # meanwhile its point may have a result
        repeats.place(memory, trial, out)


def only_paused(memory: SweepMemory) -> str:
    """Why a sweep stops that has nothing left but paused trials, and how it goes on."""
    numbers = sorted(number for number, trial in memory.open.items() if held(trial))
    listed = ", ".join(map(str, numbers[:LISTED]))
    more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
    name = memory.plan.name
    go_on = f"rnnsweep resume {name} --trial {numbers[0]} lets one go on, rnnsweep stop {name} --trial ends one"
    return f"only paused trials are left: {listed}{more}; {go_on}"
