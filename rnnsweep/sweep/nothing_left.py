"""Whether a finished sweep leaves a driver anything to do. Only looks: nothing is taken, written or started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rnnsweep.sweep import machine
from rnnsweep.sweep.events import Asked, AskSampler, Command, Enqueued, Tick
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Ledger, Sampler, SweepView, TrialView
from rnnsweep.sweep.rebuild import Reopen, load_sweep, restore_sampler, still_waiting
from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.schedulers.base import SchedulerUnit
from rnnsweep.sweep.states import SweepState, TrialState


@dataclass(frozen=True)
class Idle:
    """A sweep that a driver would end at once, as it stands.

    Attributes:
        view: the sweep as its ledger has it.
        reason: why nothing is left to do.
        failed: number of failed trials, which only a wish would bring back.
    """

    view: SweepView
    reason: str
    failed: int


def idle(
    ledger: Ledger,
    plan: SweepPlan,
    reopen: Reopen | None,
    sampler: Callable[[], Sampler],
    scheduler: SchedulerUnit | None = None,
) -> Idle | None:
    """How a driver would end that finds nothing to do; None where it has something to do, or might.

    It is what a driver would find out by itself, from the same records by the same steps.

    Args:
        ledger: only read.
        plan: of the sweep, with the budget that is to hold.
        reopen: finished trials that are to go on.
        sampler: gives a fresh one, where only it can tell whether its space is used up.
        scheduler: decides at rungs; None where a pruner does, or nobody.

    Raises:
        ConfigError: the sweep is not in the ledger, or `reopen` is impossible.
    """
    view = ledger.sweep(plan.name)
    if view is None or view.state not in (SweepState.COMPLETE, SweepState.FAILED):
        return None
    # whoever drives it has the last word, and requests that wait are work
    if ledger.driven(plan.name) or ledger.requests_wait(plan.name):
        return None
    memory, commands, views, rungs, _ = load_sweep(ledger, plan, 0, view.updated, reopen, scheduler)
    if commands or memory.open:
        return None
    waiting = _points_that_wait(ledger, plan, views)
    asks: Sequence[Command] = machine.step(memory, Enqueued(waiting)) if waiting else ()
    asks = [*asks, *machine.step(memory, Tick(view.updated, view.wall_s))]
    if not machine.ended(memory) and asks and not waiting:
        asked = sampler()
        restore_sampler(asked, views, rungs)
        _ask_in_vain(memory, asks, asked)
    if memory.stopping is None or memory.stopping[0] is not view.state:
        return None
    return Idle(view, memory.stopping[1], memory.counts[TrialState.FAILED])


def _points_that_wait(ledger: Ledger, plan: SweepPlan, views: Sequence[TrialView]) -> int:
    """Points that users gave in earlier sessions and that no trial has taken."""
    taken = [view for view in views if view.enqueued and view.number >= len(plan.enqueue)]
    requests = ledger.taken_requests(plan.name)
    return sum(len(still_waiting(data["points"], taken)) for request, data in requests if request == "enqueue")


def _ask_in_vain(memory: SweepMemory, asks: Sequence[Command], sampler: Sampler) -> None:
    """Give the sampler's answers to the machine as long as they are that its space is used up."""
    for command in asks:
        if not isinstance(command, AskSampler) or sampler.ask(command.number) is not None:
            return
        machine.step(memory, Asked(command.number, None))
