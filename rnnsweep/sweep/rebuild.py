"""The machine's memory from the ledger: how a sweep begins and how `resume` goes on.

Stored reports are replayed through the same code that took them in, with the verdicts of the time, so that memory is
what it was after the last commit. Attempts of the dead driver are closed without charge; their rows get a new attempt
that restores from the newest checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rnnsweep.errors import ConfigError
from rnnsweep.sweep import machine, repeats
from rnnsweep.sweep.budget import Spent
from rnnsweep.sweep.decisions import carry_out
from rnnsweep.sweep.events import Command
from rnnsweep.sweep.objective import rung_history
from rnnsweep.sweep.placement import enqueue
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.ports import AttemptView, Ledger, PutAttempt, PutTrial, Sampler, SweepView, TrialView
from rnnsweep.sweep.racing import restored_board
from rnnsweep.sweep.records import OpenTrial, SweepMemory
from rnnsweep.sweep.restored_scheduler import restore_scheduler
from rnnsweep.sweep.restored_trial import restored_trial
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.rungs import (
    arrive,
    at_look,
    catch_up,
    complete,
    has_news,
    pruned,
    remember_best,
    revived_after,
    take_rung,
)
from rnnsweep.sweep.schedulers.base import Scheduler, SchedulerUnit
from rnnsweep.sweep.schedulers.no_scheduler import NoScheduler
from rnnsweep.sweep.segments import taken
from rnnsweep.sweep.states import RowState, TrialState
from rnnsweep.sweep.trial_requests import unpause
from rnnsweep.sweep.verdicts import PAUSE, PRUNE, START

Rungs = Mapping[int, Sequence[tuple[int, float, tuple[float, ...]]]]
"""Per trial its rungs as far as they count: (step, reduced value, replicas' values)."""


@dataclass(frozen=True)
class Reopen:
    """Finished trials that a user wants to go on.

    Attributes:
        failed: all FAILED trials try again.
        trials: these trials try again: FAILED or PAUSED, or COMPLETE with `extend`.
        extend: COMPLETE trials go on to a raised `budget.updates` (only `trials`, where given).
    """

    failed: bool = False
    trials: tuple[int, ...] = ()
    extend: bool = False

    def wants(self, view: TrialView) -> bool:
        """Whether this finished trial is to go on."""
        named = view.number in self.trials
        if view.state is TrialState.FAILED:
            return self.failed or named
        if view.same_as is not None:
            return False
        return view.state is TrialState.COMPLETE and self.extend and (named or not self.trials)

    def narrowed(self, trials: Iterable[TrialView]) -> Reopen:
        """The same without trials for which nothing is left to wish: another wish, or an earlier try, was first.

        Example:
            >>> complete = TrialView(1, TrialState.COMPLETE, {}), TrialView(2, TrialState.FAILED, {})
            >>> Reopen(trials=(1, 2)).narrowed(complete)
            Reopen(failed=False, trials=(2,), extend=False)
        """
        left = {view.number for view in trials if not view.state.finished or self.wants(view)}
        return replace(self, trials=tuple(number for number in self.trials if number in left))


@dataclass(frozen=True)
class Records:
    """What the ledger holds about a sweep; reports are those of all trials that may go on.

    Attributes:
        rungs: metrics of each trial's newest rung; only looked at where results are taken over.
    """

    sweep: SweepView | None = None
    trials: Sequence[TrialView] = ()
    attempts: Sequence[AttemptView] = ()
    reports: Mapping[int, Sequence[RowReport]] = field(default_factory=dict[int, Sequence[RowReport]])
    verdicts: Sequence[tuple[int, int, str]] = ()
    rungs: Mapping[int, Mapping[str, float]] = field(default_factory=dict[int, Mapping[str, float]])


def rebuild(
    plan: SweepPlan,
    fence: int,
    now: float,
    records: Records,
    reopen: Reopen | None = None,
    scheduler: SchedulerUnit | None = None,
) -> tuple[SweepMemory, list[Command]]:
    """Memory and first commands of a driver; without a `scheduler` a pruner judges, or nobody.

    Raises:
        ConfigError: `reopen` names a trial that does not exist or cannot go on.
    """
    memory = SweepMemory(plan, fence, now=now)
    memory.tried.search(plan)
    memory.races = restored_board(plan, records.reports)
    decides = (scheduler or NoScheduler()).start(plan)
    out: list[Command] = []
    if records.sweep is not None:
        memory.spent = Spent(records.sweep.wall_s, records.sweep.device_s, records.sweep.updates)
    wish = reopen or Reopen()
    check_reopened(wish, records.trials, plan)
    attempts = _attempts(records.attempts)
    verdicts = _verdicts(records.verdicts)
    # in their order, so that the last one, which has most, counts
    started = {trial: replicas for trial, replicas, verdict in records.verdicts if verdict == START}
    # by number: numbers only grow, so that the last one seen gives the next to ask for
    for view in sorted(records.trials, key=lambda view: view.number):
        memory.last_number, memory.next_number = view.number, view.number + 1
        memory.tried.count(repeats.key_of(memory, view.params))
        again = wish.wants(view)
        # Finished trials stay out of memory, whose size must not grow with the sweep's age; only their count and the
        # best remain.
        if view.state.finished and not again:
            memory.counts[view.state] += 1
            _remember(memory, view, records)
            continue
        tries = attempts.get(view.number, [])
        begun = started.get(view.number, plan.first_replicas)
        trial = restored_trial(plan, view, records.reports.get(view.number, ()), tries, begun)
        trial.verdicts = verdicts.get(view.number, {})
        _admit(memory, trial, tries, decides, out)
        trial.unpromoted = trial.verdicts.get(trial.rung) == PAUSE
    if decides is not None:
        restore_scheduler(memory, decides, records.trials, records.reports, records.verdicts, out)
    for trial in [memory.open[number] for number in wish.trials if number in memory.open]:
        if trial.state is TrialState.PAUSED:
            trial.reopened += 1
            unpause(memory, trial, out)
    carry_out(memory, out)
    _check_extension(wish, records.trials, memory)
    _place(memory, out)
    memory.exhausted = machine.nothing_new(memory)
    return memory, out


def _verdicts(taken: Iterable[tuple[int, int, str]]) -> dict[int, dict[int, str]]:
    """The newest verdict on each rung of each trial: a promotion stands for the pause that it has followed."""
    newest: dict[int, dict[int, str]] = {}
    for trial, rung, verdict in taken:
        if verdict != START:  # which is about no rung
            newest.setdefault(trial, {})[rung] = verdict
    return newest


def _remember(memory: SweepMemory, view: TrialView, records: Records) -> None:
    """What a finished trial leaves: the best, and results that later trials may have."""
    left = False
    if view.state is TrialState.COMPLETE:
        left = _updates_left(memory.plan, view, records.reports.get(view.number, ()))
        memory.extendable += left
        if view.same_as is None:
            remember_best(memory, view)
    # under a raised budget a new training would go on
    if not left and view.same_as is None:
        repeats.note(memory, view, records.rungs.get(view.number, {}))


def _place(memory: SweepMemory, out: list[Command]) -> None:
    """Trials that have never run, after all others are known: what they would be may have a result."""
    repeats.settle(memory, out)  # some may just have ended with reports that their driver did not live to judge
    for trial in [trial for trial in memory.open.values() if trial.attempts]:
        repeats.note_trained(memory, trial)
    for trial in [trial for trial in memory.open.values() if not trial.attempts and trial.state is TrialState.WAITING]:
        repeats.place(memory, trial, out)


def _updates_left(plan: SweepPlan, view: TrialView, reports: Iterable[RowReport]) -> bool:
    """Whether a COMPLETE trial could go on under this budget: some replica has used up what was a smaller one."""
    # cheap test first: this runs over all complete trials at every start
    if view.step >= plan.budget.updates:
        return False
    # later rungs overwrite earlier ones
    last = {report.replica: report for report in sorted(reports, key=lambda report: report.rung)}
    return any(report.state is RowState.DONE and report.step < plan.budget.updates for report in last.values())


def _check_extension(wish: Reopen, trials: Iterable[TrialView], memory: SweepMemory) -> None:
    """Refuse an extension that would train nothing."""
    complete = [view for view in trials if view.state is TrialState.COMPLETE and wish.wants(view)]
    updates = memory.plan.budget.updates
    if not complete or any(view.number in memory.open for view in complete):
        return
    longest = max(view.step for view in complete)
    hint = "Give the updates that complete trials are to go on to: --extend budget.updates=N."
    if updates <= longest:
        allowed = f"more than {longest}"
        raise ConfigError("extends no trial", key="budget.updates", value=updates, allowed=allowed, hint=hint)
    if not memory.open:
        problem = "extends no trial: every replica has solved the task or diverged"
        raise ConfigError(problem, key="budget.updates", value=updates)


def check_reopened(wish: Reopen, trials: Iterable[TrialView], plan: SweepPlan) -> None:
    """Refuse a wish for trials that do not exist or cannot go on.

    Raises:
        ConfigError: names the trial.
    """
    if wish.extend and plan.racing is not None:
        problem = "lets no trial go on in a sweep with racing.level: replicas are compared at their ends"
        raise ConfigError(problem, key="--extend")
    by_number = {view.number: view for view in trials}
    for number in wish.trials:
        if number not in by_number:
            allowed = f"0 to {max(by_number)}" if by_number else "none yet"
            raise ConfigError("no such trial", key="--trial", value=number, allowed=allowed)
        view = by_number[number]
        if view.state.finished and not wish.wants(view):
            hint = "COMPLETE trials go on with --extend." if view.state is TrialState.COMPLETE else None
            if view.same_as is not None:
                hint = f"It has the result of trial {view.same_as}, which can go on."
            raise ConfigError(
                f"trial is {view.state.value}", key="--trial", value=number, allowed="unfinished or FAILED", hint=hint
            )


def _attempts(attempts: Iterable[AttemptView]) -> dict[int, list[AttemptView]]:
    """Attempts of each trial, newest first."""
    by_trial: dict[int, list[AttemptView]] = {}
    for view in attempts:
        by_trial.setdefault(view.trial, []).append(view)
    for views in by_trial.values():
        views.sort(key=lambda view: -view.number)
    return by_trial


def _admit(
    memory: SweepMemory,
    trial: OpenTrial,
    attempts: Sequence[AttemptView],
    scheduler: Scheduler | None,
    out: list[Command],
) -> None:
    """Bring a trial back: its curves, its pending decision, and its place in line."""
    memory.open[trial.number] = trial
    memory.counts[trial.state] += 1
    before = trial.state
    if _replayed_to_its_end(memory, trial, scheduler, out):
        return
    if before.finished:
        _reopen(memory, trial)
    elif before is TrialState.RUNNING:
        _interrupt(memory, trial, attempts, out)
    else:
        if before is TrialState.WAITING and trial.attempts:
            enqueue(memory, trial)
        return  # those that have never run come when all trials are known, see `_place`
    # `_reopen` may have found nothing to train
    if trial.number in memory.open:
        enqueue(memory, trial)
        out.append(PutTrial(trial.view()))


def _replayed_to_its_end(
    memory: SweepMemory, trial: OpenTrial, scheduler: Scheduler | None, out: list[Command]
) -> bool:
    """Take in what is stored of a trial; True if it ends with it. What a scheduler still has to decide on stays so."""
    before = trial.state
    while not trial.judging:
        if _at_look(memory, trial) or not (reports := take_rung(memory, trial)):
            break
        if trial.diverged and _is_revived(trial, scheduler):
            continue
        # WAITING and finished trials have had their decisions: only a RUNNING one may owe one.
        if before is TrialState.RUNNING and _decide(memory, trial, out):
            return True
        if scheduler is not None and trial.rung not in trial.verdicts and has_news(memory.plan, reports):
            trial.judging = trial.rung
    return False


def _at_look(memory: SweepMemory, trial: OpenTrial) -> bool:
    """Whether a trial waits for replicas, or for the decision on more; its late rows come in where they did."""
    if not at_look(memory, trial):
        return False
    if trial.late and len(trial.rows) == memory.plan.first_replicas:
        trial.rows += trial.late
        catch_up(memory, trial)
        return _at_look(memory, trial)
    arrive(memory, trial)
    return True


def _is_revived(trial: OpenTrial, scheduler: Scheduler | None) -> bool:
    """Whether a trial whose replicas have all diverged goes on from another one's state, or waits to hear of one."""
    if trial.awaits or any(one.rung >= trial.rung for one in taken(trial.segments)):
        return True
    rung = revived_after(scheduler, trial)
    trial.judging = 0 if rung in trial.verdicts else rung
    return bool(rung)


def _decide(memory: SweepMemory, trial: OpenTrial, out: list[Command]) -> bool:
    """Apply the verdict on the rung just replayed; True if the trial ended with it."""
    # The stored verdict, never the pruner asked again: with today's history it might decide otherwise than what was
    # done.
    if trial.verdicts.get(trial.rung) == PRUNE:
        pruned(memory, trial, out)
        return True
    if all(row.curve.ended for row in trial.rows):
        complete(memory, trial, out)
        return True
    return False


def _reopen(memory: SweepMemory, trial: OpenTrial) -> None:
    """FAILED or COMPLETE trials wait again; one whose replicas have all ended has nowhere to go."""
    if all(row.curve.ended for row in trial.rows):
        del memory.open[trial.number]
        remember_best(memory, trial.view())
        return
    if trial.state is TrialState.COMPLETE:
        # the result so far, which the extension overwrites
        trial.extra[f"objective@{trial.step}"] = trial.values[0]
    trial.log(f"reopened after {trial.state.value}" + (f" ({trial.reason})" if trial.reason else ""))
    # the user asked for it: all retries again
    trial.charged, trial.reason = 0, ""
    trial.reopened += 1
    memory.move(trial, TrialState.WAITING)


def _interrupt(memory: SweepMemory, trial: OpenTrial, attempts: Sequence[AttemptView], out: list[Command]) -> None:
    """The attempt died with its driver: no charge."""
    # closed here, since nobody else will: the driver that owned it is dead or fenced
    out += [PutAttempt(replace(view, outcome="interrupted")) for view in attempts[:2] if not view.outcome]
    trial.reason = "interrupted: driver ended"
    trial.log(f"attempt {trial.attempts} interrupted at update {trial.step}: driver ended")
    memory.move(trial, TrialState.WAITING)


# ------------------------------------------------------------------ from the ledger


def load_sweep(
    ledger: Ledger,
    plan: SweepPlan,
    fence: int,
    now: float,
    reopen: Reopen | None,
    scheduler: SchedulerUnit | None = None,
) -> tuple[SweepMemory, list[Command], list[TrialView], Rungs, SweepView]:
    """Everything that a driver starts from.

    Returns:
        The machine's memory; its first commands; all trials as they are now; each trial's rungs as far
        as they count (step, value, replicas' values); and the sweep itself.

    Raises:
        ConfigError: the sweep is not in the ledger, or `reopen` is impossible.
    """
    sweep = ledger.sweep(plan.name)
    if sweep is None:
        known = [view.name for view in ledger.sweeps()]
        raise ConfigError("no such sweep", key="name", value=plan.name, allowed=known)
    trials = ledger.trials(plan.name)
    reports = reports_of(ledger, plan.name) if trials else {}
    # only where somebody may get them: they are a sweep's largest entries but for the reports
    newest = () if plan.repeat else ledger.newest_rungs(plan.name)
    rungs_of = {change.trial: change.data["metrics"] for change in newest if change.trial is not None}
    records = Records(sweep, trials, ledger.attempts(plan.name), reports, ledger.verdicts(plan.name), rungs_of)
    memory, commands = rebuild(plan, fence, now, records, reopen, scheduler)
    views, rungs = sampler_records(memory, trials, reports)
    return memory, commands, views, rungs, sweep


def sampler_records(
    memory: SweepMemory, trials: Iterable[TrialView], reports: Mapping[int, Sequence[RowReport]]
) -> tuple[list[TrialView], Rungs]:
    """All trials as they are now, and each one's rungs as far as they count.

    Args:
        memory: unfinished trials as they are.
        trials: all trials as the ledger has them.
        reports: trial -> its reports in the ledger.
    """
    plan = memory.plan
    # the sampler gets trials as they are after the replay, not as the dead driver left them
    views = {view.number: view for view in trials}
    views.update((number, trial.sampled()) for number, trial in memory.open.items())
    rungs: dict[int, list[tuple[int, float, tuple[float, ...]]]] = {}
    # with several objectives no pruner judges, and Optuna takes no intermediate values
    if len(plan.objectives) == 1:
        for number, all_reports in reports.items():
            # a replica's next rung may be stored while another's is missing: the sampler has not seen that one yet
            limit = memory.open[number].rung if number in memory.open else views[number].rung
            counted = (report for report in all_reports if report.rung <= limit)
            rungs[number] = rung_history(plan, counted, plan.budget.updates)
    return [views[number] for number in sorted(views)], rungs


def reports_of(ledger: Ledger, name: str) -> dict[int, list[RowReport]]:
    """All reports of a sweep by trial."""
    reports: dict[int, list[RowReport]] = {}
    for report in ledger.reports(name):
        reports.setdefault(report.trial, []).append(report)
    return reports


def restore_sampler(sampler: Sampler, views: Sequence[TrialView], rungs: Rungs) -> None:
    """Let the sampler rebuild its history; one that pairs replicas gets their values as well."""
    means = {trial: [(step, value) for step, value, _ in points] for trial, points in rungs.items()}
    each = {}
    if sampler.wants_replicas:
        each = {trial: [(step, values) for step, _, values in points] for trial, points in rungs.items()}
    sampler.restore(views, means, each)


def still_waiting(points: Sequence[Params], views: list[TrialView]) -> list[Params]:
    """Enqueued points that no trial has taken yet; each trial stands for one of them and leaves `views`.

    Example:
        >>> still_waiting([{"x": 1.0}], [])
        [{'x': 1.0}]
    """
    left: list[Params] = []
    for point in points:
        # A point may name only some keys, the rest was drawn: hence a subset test. The same point enqueued twice
        # needs two trials, so each trial is used up once.
        fitting = (v for v in views if all(v.params.get(key) == value for key, value in point.items()))
        taken = next(fitting, None)
        if taken is None:
            left.append(point)
        else:
            views.remove(taken)
    return left
