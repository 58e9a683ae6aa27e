"""What a scheduler has decided takes effect: trials go on, end, wait or are promoted.

    reached, ended ─► SweepMemory.decisions ─► carry_out ─► keep | prune | pause | promote | exploit

A decision is in the ledger, as a verdict, in the same commit as what follows from it. One on a trial that has ended
meanwhile falls away.
"""

from __future__ import annotations

from rnnsweep.sweep import verdicts
from rnnsweep.sweep.events import Command, TellSampler
from rnnsweep.sweep.exploits import advance, exploit, return_to_line
from rnnsweep.sweep.placement import enqueue, rest
from rnnsweep.sweep.ports import PutTrial, PutVerdict
from rnnsweep.sweep.records import OpenTrial, SweepMemory
from rnnsweep.sweep.rungs import complete, end, kept, pruned, settle, store
from rnnsweep.sweep.schedulers.base import Decision
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import BY_SCHEDULER, BY_USER


def carry_out(memory: SweepMemory, out: list[Command]) -> None:
    """Let all that the scheduler has decided take effect, and what it decides because of that."""
    while memory.decisions:
        decision = memory.decisions.popleft()
        trial = memory.open.get(decision.trial)
        if trial is None:  # it has failed, or a user has ended it, since the scheduler was asked
            memory.refused += 1
            continue
        _apply(memory, trial, decision, out)
        # the next rung may be here already, held back for this verdict
        if trial.number in memory.open:
            settle(memory, trial, out)


def _apply(memory: SweepMemory, trial: OpenTrial, decision: Decision, out: list[Command]) -> None:
    if decision.verdict == verdicts.PROMOTE:
        if trial.unpromoted and trial.rung == decision.rung:
            _promote(memory, trial, out)
        else:
            memory.refused += 1
        return
    if trial.judging != decision.rung:
        memory.refused += 1
        return
    trial.judging = 0
    memory.undecided.discard(trial.number)
    if decision.verdict == verdicts.EXPLOIT:
        exploit(memory, trial, decision, out)
        return
    out.append(PutVerdict(trial.number, decision.rung, decision.verdict))
    match decision.verdict:
        case verdicts.KEEP:
            _keep(memory, trial, out)
        case verdicts.PRUNE:
            pruned(memory, trial, out)
        case verdicts.PAUSE:
            _pause(memory, trial, out)
        case other:
            raise AssertionError(f"trial {trial.number}: a scheduler decides {other!r}")


def _keep(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    kept(trial, out)
    if trial.diverged:  # it has waited for another one's state in vain
        complete(memory, trial, out)


def _pause(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """Rows leave their workers, checkpoints stay; no attempt is charged."""
    trial.unpromoted = True
    if trial.state is not TrialState.PAUSED:  # else a user has paused it already, and holds it
        rest(memory, trial, "paused", out)
        trial.paused_by = BY_SCHEDULER
        trial.reason = f"paused by the scheduler at update {trial.step}"
    trial.log(f"paused by the scheduler at update {trial.step}")
    # most trials never go on: a sampler that waited for that would learn nothing while the sweep lasts
    out.extend((PutTrial(trial.view()), TellSampler(trial.sampled())))


def promote_by_request(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """A user lets a trial go on that the scheduler has paused."""
    assert memory.scheduler is not None
    memory.scheduler.promoted(trial.number, trial.rung)
    trial.paused_by = BY_SCHEDULER  # whoever held it lets go
    _promote(memory, trial, out)
    settle(memory, trial, out)


def _promote(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    """It waits for a place again, before trials that have never had one; unless a user holds it."""
    out.append(PutVerdict(trial.number, trial.rung, verdicts.PROMOTE))
    trial.unpromoted = False
    trial.log(f"promoted beyond update {trial.step}")
    # what its rows had reported beyond, before they left, counts from now on
    for row in trial.rows:
        store(trial, row, out)
    if trial.paused_by != BY_USER:
        memory.move(trial, TrialState.WAITING)
        trial.paused_by, trial.reason = None, ""
        enqueue(memory, trial)
    out.append(PutTrial(trial.view()))


def drained(memory: SweepMemory, out: list[Command]) -> bool:
    """Nothing more will come that could promote a trial: some go on all the same, or else all end where they are.

    Returns:
        Whether all have ended.
    """
    # again and again: a trial that is promoted may have trained up to its next competition already, and wait there
    while memory.open and memory.scheduler is not None and (decisions := memory.scheduler.drained()):
        memory.decisions.extend(decisions)
        carry_out(memory, out)
        while advance(memory, out):
            carry_out(memory, out)
        return_to_line(memory, out)
        if any(trial.state is not TrialState.PAUSED for trial in memory.open.values()):
            return False
    for number in sorted(memory.open):
        trial = memory.open[number]
        end(memory, trial, TrialState.PRUNED, f"not promoted beyond update {trial.step}", out)
    # that others have ended so promotes nobody
    memory.decisions.clear()
    return True
