"""Points that were trained before: their results are taken over, unless the plan wants them trained again.

    Asked ─► place ─┬─► its result is known: COMPLETE or PRUNED at once, no device time
                    ├─► somebody trains it: WAITING, without a place in line, until that result is there
                    └─► neither: waits for a place, and trains it for those that come later

Replica r of every trial has the same seeds (`seeds: shared`), so one point is one training; the plan says where that is
not so (`SweepPlan.repeat`). A result counts that a new training would have under today's budget and code. What a user
has ended, and what FAILED, is no result: who waits for such a trial is trained in its place.

Nothing of this is stored but `TrialView.same_as`: who waits for whom follows from the trials' points and states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rnnsweep.sweep.events import Command, TellSampler
from rnnsweep.sweep.placement import enqueue
from rnnsweep.sweep.plan import Params
from rnnsweep.sweep.ports import PutRung, PutTrial
from rnnsweep.sweep.records import OpenTrial, SweepMemory
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.tried_points import Result, point_key
from rnnsweep.sweep.views import TrialView

ENDED = "ended by request"
"""What a trial's reason begins with that a user has ended."""


def key_of(memory: SweepMemory, params: Params) -> str:
    """The point's key, under whatever version of the space it was asked for."""
    return point_key(params, memory.plan.version.defaults)


def place(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """A trial that has never run gets a result, somebody to wait for, or a place in line."""
    tried, point = memory.tried, key_of(memory, trial.params)
    if memory.plan.repeat:
        enqueue(memory, trial)
        return
    known = tried.results.get(point)
    if known is not None:
        _take_over(memory, trial, known, out)
        return
    trainer = tried.trained_by.setdefault(point, trial.number)
    if trainer == trial.number:
        enqueue(memory, trial)
    elif trial.number not in tried.followers.setdefault(trainer, []):
        tried.followers[trainer].append(trial.number)


def settle(memory: SweepMemory, out: list[Command]) -> None:
    """Give those that wait what the trials that have just ended came to."""
    if memory.plan.repeat:
        return
    # a copy: what is taken over ends trials too, for which nobody waits
    for command in [command for command in out if isinstance(command, TellSampler)]:
        if command.view.same_as is None:
            _ended(memory, command.view, out)


def note(memory: SweepMemory, view: TrialView, metrics: Mapping[str, float]) -> None:
    """A trial has ended: later trials of its point may have its result."""
    if not memory.plan.repeat and _counts(memory, view):
        memory.tried.results[key_of(memory, view.params)] = Result(replace(view, history=()), metrics)


def note_trained(memory: SweepMemory, trial: OpenTrial) -> None:
    """A trial that has begun in an earlier session goes on, whoever else has its point."""
    memory.tried.trained_by.setdefault(key_of(memory, trial.params), trial.number)


def resting(memory: SweepMemory) -> int:
    """Trials that wait for a paused one."""
    waiting = memory.tried.followers
    return sum(
        sum(number in memory.open and memory.open[number].state is TrialState.WAITING for number in numbers)
        for trainer, numbers in waiting.items()
        if trainer in memory.open and memory.open[trainer].state is TrialState.PAUSED
    )


def _counts(memory: SweepMemory, view: TrialView) -> bool:
    """Whether a training of today would come to this result."""
    if view.state not in (TrialState.COMPLETE, TrialState.PRUNED) or not view.values or view.reason.startswith(ENDED):
        return False
    # other code or data would give other numbers
    return set(view.fingerprints or (0,)) == {memory.plan.fingerprint}


def _ended(memory: SweepMemory, view: TrialView, out: list[Command]) -> None:
    tried, point = memory.tried, key_of(memory, view.params)
    if tried.trained_by.get(point) == view.number:
        del tried.trained_by[point]
    rungs = [command for command in out if isinstance(command, PutRung) and command.trial == view.number]
    note(memory, view, rungs[-1].metrics if rungs else {})
    # in order of their numbers: the first one trains where there is nothing to take over
    for number in sorted(tried.followers.pop(view.number, ())):
        trial = memory.open.get(number)
        # it has ended meanwhile, or a user has paused it: then it is placed when it goes on
        if trial is not None and trial.state is TrialState.WAITING:
            place(memory, trial, out)


def _take_over(memory: SweepMemory, trial: OpenTrial, known: Result, out: list[Command]) -> None:
    """The trial ends as the one before did."""
    source = known.view
    trial.started = memory.now if trial.started is None else trial.started
    # by way of RUNNING: whatever follows a trial's states knows those moves
    memory.move(trial, TrialState.RUNNING)
    out.append(PutTrial(trial.view()))
    memory.move(trial, source.state)
    trial.reason = f"same point as trial {source.number}: its result was taken over"
    trial.log(f"{source.state.value} at update {source.step}: {trial.reason}")
    if trial.number in memory.queue:
        memory.queue.remove(trial.number)
    del memory.open[trial.number]
    view = replace(
        trial.view(finished=memory.now),
        values=source.values,
        step=source.step,
        rung=source.rung,
        solved_at=source.solved_at,
        unsolved=source.unsolved,
        diverged_at=source.diverged_at,
        diverged_share=source.diverged_share,
        engine=source.engine,
        fingerprints=source.fingerprints,
        same_as=source.number,
    )
    if source.rung:  # for those that show the newest rung of every trial
        out.append(PutRung(trial.number, source.rung, source.step, known.metrics, source.values))
    out.extend((PutTrial(view), TellSampler(view)))
