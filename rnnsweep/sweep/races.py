"""The races of a sweep: a trial gets further replicas as long as it has not lost its race; see `racing` for the rule.

    first rows have ended ─► at a look ─┬─► START in the ledger ─► more rows wait for a place ─► at a look ─► ...
                                        └─► lost ─► its last rung, of the replicas that it has ─► PRUNE in the ledger

A trial is looked at when every open trial of lower number has as many replicas. It holds no place while it waits for
them, and the lowest open trial waits for nobody. Not waited for: trials that a user has paused, and those that wait for
the result of another one.
"""

from __future__ import annotations

from rnnsweep.sweep.events import Command
from rnnsweep.sweep.placement import enqueue
from rnnsweep.sweep.ports import PutTrial, PutVerdict
from rnnsweep.sweep.records import OpenTrial, Row, SweepMemory
from rnnsweep.sweep.rungs import settle
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.verdicts import START


def decide(memory: SweepMemory, out: list[Command]) -> None:
    """Take all decisions that can be taken."""
    if memory.races is None or not memory.at_look or memory.stopping is not None:
        return
    in_line, fewest = set(memory.queue), memory.plan.replicas
    # ascending: what is decided on one may let the next be decided
    for number in sorted(memory.open):
        trial = memory.open[number]
        if trial.state is TrialState.PAUSED:
            continue
        if number in memory.at_look and len(trial.rows) <= fewest:
            _decide(memory, trial, out)
        if number in memory.open and (trial.attempts or number in in_line):
            fewest = min(fewest, memory.races.known(number))


def _decide(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> None:
    assert memory.races is not None
    memory.at_look.discard(trial.number)
    look, total = memory.races.look(trial.number), memory.plan.replicas
    if look is not None and look.lost:
        trial.raced_out = f"raced out with {len(trial.rows)} of {total} replicas: {look}"
        settle(memory, trial, out)
        return
    begin, racing = len(trial.rows), memory.plan.racing
    assert racing is not None
    more = [Row(replica) for replica in range(begin, min(total, begin + racing.block))]
    trial.rows += more
    trial.late += more
    out.append(PutVerdict(trial.number, len(trial.rows), START))
    trial.log(f"replicas {begin} to {len(trial.rows) - 1} are started" + (f": {look}" if look is not None else ""))
    out.append(PutTrial(trial.view()))
    enqueue(memory, trial)
