"""The one process that decides: collects events, steps the machine, carries out its commands through the ports.

    boot ─► round ─► round ─► ... ─► close            each round: poll, step, ask and judge, commit, order

Whatever a round decides is in the ledger before any worker hears of it. A driver that another one has replaced stops
without another write.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rnnsweep.errors import ConfigError, FencedError, StoreError
from rnnsweep.sweep import edit_requests, edits, machine
from rnnsweep.sweep.clock import Clock, SystemClock
from rnnsweep.sweep.command_batch import CommandBatch
from rnnsweep.sweep.edit_requests import EditRequests, with_entry
from rnnsweep.sweep.events import BudgetChanged, Closed, Enqueued, Event, StopAsked, Tick
from rnnsweep.sweep.lock_keeper import LockKeeper
from rnnsweep.sweep.mirroring import MirrorThread, drain
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.ports import (
    Executor,
    Ledger,
    Mirror,
    PutSweep,
    RungTrained,
    Sampler,
    SweepView,
    TrialView,
    WorkerJoined,
    WorkerLost,
    WorkerNews,
    Write,
)
from rnnsweep.sweep.progress import Progress, Rate, progress
from rnnsweep.sweep.rebuild import (
    Reopen,
    load_sweep,
    restore_sampler,
    still_waiting,
)
from rnnsweep.sweep.rows import WorkerInfo
from rnnsweep.sweep.schedulers.base import SchedulerUnit
from rnnsweep.sweep.session import Outcome, Pace, signals
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.trial_requests import KINDS, event_of, outstanding, refusal

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Driver:
    """Runs a sweep that exists in the ledger and whose lock `fence` holds, to its end or to a stop.

    The lock is given back at the end of `run`. SIGINT and SIGTERM once: let rungs in progress end, write, mark as
    INTERRUPTED; twice: now.

    Attributes:
        plan: what to do; on resume with the raised budget.
        fence: the token that `ledger.acquire` returned.
        reopen: finished trials that are to go on.
        scheduler: decides at rungs; None where a pruner does, or nobody.
        observer: called with the progress.
        on_result: called with how the session ended, before mirrors are waited for.
        on_wait: told what is waited for after that.
    """

    plan: SweepPlan
    ledger: Ledger
    sampler: Sampler
    executor: Executor
    mirrors: Sequence[Mirror] = ()
    clock: Clock = field(default_factory=SystemClock)
    fence: int = 0
    reopen: Reopen | None = None
    scheduler: SchedulerUnit | None = None
    observer: Callable[[Progress], None] | None = None
    on_result: Callable[[Outcome], None] = field(default=lambda _: None)
    on_wait: Callable[[str], None] = field(default=log.info)
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        self._interrupts = 0
        self._started = False
        self._batch: CommandBatch | None = None
        self._tails: list[MirrorThread] = []
        self._due: dict[str, float] = {}
        self._rate = Rate()
        self._repeats = 0.0
        self._compiling: set[str] = set()
        self._within: dict[str, int] = {}
        self._leaving = False
        self.executor.watch(self._hear)
        self._config: Mapping[str, Any] = self.plan.config
        self._edits = EditRequests(self.plan, self.ledger, self.sampler)

    # ------------------------------------------------------------------ from outside

    def run(self) -> Outcome:
        """Work until the sweep ends, is stopped or is lost to another driver; `ConfigError`: `reopen` is impossible."""
        self._keeper = LockKeeper(self.ledger, self.plan.name, self.fence, self.pace.renew)
        self._tails = [MirrorThread(self.ledger, self.plan.name, mirror, self.clock) for mirror in self.mirrors]
        self._keeper.start()
        try:
            with signals(self._leave):
                with signals(self.interrupt):
                    outcome = self._session()
                for tail in self._tails:
                    tail.hurry()  # they write beside what `on_result` does
                try:
                    self.on_result(outcome)  # before mirrors are waited for: they may be slow or away
                except KeyboardInterrupt:
                    self._leaving = True
                finally:
                    at_once = outcome.at_once or self._leaving or self._interrupts > 1
                    outcome = self._drained(replace(outcome, at_once=at_once))
                return outcome
        finally:
            for tail in self._tails:
                tail.stop(0.0 if self._interrupts > 1 else 5.0)
            self._keeper.stop()
            self._give_lock_back()

    def interrupt(self) -> int:
        """Like Ctrl-C once; callable from any thread. Returns how often that was."""
        self._interrupts += 1
        self._leaving = self._leaving or self._interrupts > 1
        if self._interrupts == 1:
            log.warning("stopping after this rung; Ctrl-C again: now")
        return self._interrupts

    def _leave(self) -> int:
        """Ctrl-C when the session is over: whoever asks wants to be gone."""
        self._leaving = True
        return 2

    # ------------------------------------------------------------------ one session

    def _session(self) -> Outcome:
        try:
            self._boot()
            while not machine.ended(self._memory):
                self._one_round()
                # asked, not only caught: Python swallows what a handler raises while it is in a callback of C code, as
                # in imports and compilers
                if self._interrupts > 1:
                    raise KeyboardInterrupt
            return self._close()
        except FencedError as error:
            self._stop_workers(graceful=False)
            return Outcome(SweepState.INTERRUPTED, 4, str(error))
        except StoreError as error:
            self._stop_workers(graceful=False)
            return Outcome(SweepState.FAILED, 1, str(error))
        except KeyboardInterrupt:
            outcome = self._abort(SweepState.INTERRUPTED, "interrupted twice: stopped at once", 3)
            return replace(outcome, at_once=True)
        except Exception as error:
            self._abort(SweepState.FAILED, f"{type(error).__name__}: {error}", 1)
            raise

    def _boot(self) -> None:
        self._start = self.clock.monotonic()
        memory, commands, views, rungs, view = load_sweep(
            self.ledger, self.plan, self.fence, self.clock.now(), self.reopen, self.scheduler
        )
        self._before, self._view, self._repeats = memory.spent.wall_s, view, memory.tried.repeats
        if memory.extendable:
            text = "complete trials that end before budget.updates=%d: %d; with --extend they go on"
            log.warning(text, self.plan.budget.updates, memory.extendable)
        self._config = {**self._config, **{key: view.config.get(key, []) for key in ("processors", edits.KEY)}}
        for tail in self._tails:
            tail.start()
        self._batch = CommandBatch(memory, self.sampler, self.executor)
        self._memory = memory
        restore_sampler(self.sampler, views, rungs)
        self._put_sweep(SweepState.RUNNING, "")
        self._batch.execute(commands)
        # points that users gave come before anything that the first tick asks for
        self._batch.take([*self._requests_of_before(views), *self._requests(), self._tick()])
        self._batch.finish(self._commit)
        if not machine.ended(memory):
            self._started = True
            self.executor.start()

    def _one_round(self) -> None:
        assert self._batch is not None
        self._keeper.check()
        wait = 0.0 if self._batch.asks else self.pace.poll
        polled = self.executor.poll(wait)
        for event in polled:
            if isinstance(event, WorkerJoined):
                self._recognise(event.info)
            elif isinstance(event, RungTrained):
                self._rate.heard(event.worker)
            if isinstance(event, RungTrained | WorkerLost):
                self._within.pop(event.worker, None)  # its reports say the same, or it is lost
        events: list[Event] = [self._tick(), *polled, *self._requests()]
        if self._interrupts:
            events.append(StopAsked(SweepState.INTERRUPTED, "interrupted"))
        self._batch.take(events)
        self._warn_of_repeats()
        if self._is_due("note", self.pace.note):
            self._put_sweep(SweepState.RUNNING, "")
        self._batch.finish(self._commit)
        self._observe(self.pace.observe)

    def _close(self) -> Outcome:
        """Let workers finish their rung, take their last reports in, write how it ended."""
        assert self._batch is not None
        if self._stop_workers(graceful=True):
            while events := self.executor.poll(0.0):
                self._batch.take(events)
        self._batch.take([self._tick(), Closed()])
        state, reason = self._memory.stopping or (SweepState.INTERRUPTED, "")
        self._put_sweep(state, reason)
        self._batch.finish(self._commit)
        self._observe(0.0)
        return Outcome(state, self._exit_code(state), reason)

    def _exit_code(self, state: SweepState) -> int:
        if state is SweepState.COMPLETE:
            return 1 if self._memory.counts[TrialState.FAILED] else 0
        return 1 if state is SweepState.FAILED else 3

    def _abort(self, state: SweepState, reason: str, exit_code: int) -> Outcome:
        """Stop at once; what was not committed is done again by `resume`."""
        self._stop_workers(graceful=False)
        if self._batch is not None:
            view = self._sweep_view(state, reason)
            try:
                self.ledger.commit(self.plan.name, self.fence, [PutSweep(view)])
            except StoreError as error:
                log.warning("the end of the sweep could not be noted: %s", error)
        return Outcome(state, exit_code, reason)

    # ------------------------------------------------------------------ what a round needs

    def _tick(self) -> Tick:
        return Tick(self.clock.now(), self._before + self.clock.monotonic() - self._start)

    def _is_due(self, what: str, period: float) -> bool:
        now = self.clock.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + period
        return True

    def _requests(self) -> Iterator[Event]:
        if not self._is_due("inbox", self.pace.inbox):
            return
        try:
            requests = self.ledger.take_requests(self.plan.name, self.fence)
        except FencedError:
            raise
        except StoreError:
            return  # it will be asked again; what matters is whether commits get through
        for request, data in requests:
            yield from self._events_of(request, data)

    def _events_of(self, request: str, data: Mapping[str, Any]) -> Iterator[Event]:
        if request == "stop":
            yield from self._stop_request(data)
        elif request == "budget":
            yield from self._budget_request(data)
        elif request == "enqueue":
            yield from self._enqueue_request(data["points"])
        elif request == edits.KIND:
            yield from self._edit_request(data)
        elif request in KINDS:
            yield from self._trial_request(request, data)

    def _stop_request(self, data: Mapping[str, Any]) -> Iterator[Event]:
        """A stop is meant for one driver: who resumes after that one has died wants the sweep to go on."""
        if data.get("fence", self.fence) == self.fence:
            yield StopAsked(SweepState.STOPPED, str(data.get("reason", "stopped by request")))

    def _requests_of_before(self, views: Sequence[TrialView]) -> Iterator[Event]:
        """Points that were enqueued in earlier sessions and that no trial has taken; what has come of no request."""
        taken = [view for view in views if view.enqueued and view.number >= len(self.plan.enqueue)]
        requests = self.ledger.taken_requests(self.plan.name)
        undone = list(edit_requests.outstanding(self._config, requests))
        for request, data in requests:
            if request == "enqueue":
                if points := self._edits.fitting(still_waiting(data["points"], taken)):
                    yield from self._enqueue_request(points)
            elif data in undone:
                yield from self._edit_request(data)
        yield from outstanding(self._memory, requests)

    def _trial_request(self, kind: str, data: Mapping[str, Any]) -> Iterator[Event]:
        request = event_of(kind, data)
        # whoever posted it was told what was wrong then; meanwhile the trial may have ended
        if (why := refusal(self._memory, request)) is not None:
            log.warning("request refused: %s", why)
        yield request

    def _warn_of_repeats(self) -> None:
        """Once, when the sampler has begun to propose points of a space in which every point has been tried."""
        if self._memory.tried.repeats > self._repeats and self._memory.plan.repeat:
            self._repeats = math.inf
            text = "every point of the search space has been tried (%d in all): further trials repeat them"
            log.warning(text, self._memory.tried.cells)

    def _recognise(self, info: WorkerInfo) -> None:
        """Remember the types of processors that have trained for this sweep; rows are equal to the bit on one only."""
        known = list(self._config.get("processors", ()))
        if info.processor in known:
            return
        if known:
            text = "%s is a %s, this sweep has trained on %s: the last bits of results may differ"
            log.warning(text, info.worker, info.processor, ", ".join(known))
        self._config = {**self._config, "processors": [*known, info.processor]}
        self._put_sweep(SweepState.RUNNING, "")

    def _budget_request(self, data: Mapping[str, Any]) -> Iterator[Event]:
        try:
            machine.budget.change(self._memory.plan.budget, data)
        except ConfigError as error:
            log.warning("request refused: %s", error)
            return
        self._config = {**self._config, "budget": {**self._config.get("budget", {}), **data}}
        yield BudgetChanged(dict(data))

    def _edit_request(self, data: Mapping[str, Any]) -> Iterator[Event]:
        assert self._batch is not None
        self._batch.finish(self._commit)
        entry, event = self._edits.carry_out(data, self._memory, self.clock.now())
        # committed with the edit's first effect, or with its refusal
        self._config = with_entry(self._config, entry)
        self._put_sweep(SweepState.RUNNING, "")
        if event is not None:
            yield event

    def _enqueue_request(self, points: Sequence[Params]) -> Iterator[Event]:
        try:
            self.sampler.enqueue(points)
        except ConfigError as error:
            log.warning("request refused: %s", error)
            return
        yield Enqueued(len(points))

    def _sweep_view(self, state: SweepState, reason: str) -> SweepView:
        spent, now = self._memory.spent, self.clock.now()
        return replace(
            self._view,
            state=state,
            config=self._config,
            overrides=self.plan.overrides,
            updated=now,
            wall_s=self._tick().wall_s,
            device_s=spent.device_s,
            updates=spent.updates,
            reason=reason,
        )

    def _put_sweep(self, state: SweepState, reason: str) -> None:
        assert self._batch is not None
        self._batch.execute([PutSweep(self._sweep_view(state, reason))])

    def _commit(self, writes: Sequence[Write]) -> None:
        """Commit, and wait for a ledger that is away for a moment: a database locked, a server restarting."""
        deadline, pause = self.clock.monotonic() + self.pace.store, 0.1
        while True:
            self._keeper.check()
            try:
                return self.ledger.commit(self.plan.name, self.fence, writes)
            except FencedError:
                raise
            except StoreError as error:
                if self.clock.monotonic() >= deadline:
                    raise
                log.warning("the ledger is away, trying again: %s", error)
                self.clock.sleep(pause)
                pause = min(2.0, 2 * pause)

    def _hear(self, news: WorkerNews) -> None:
        """Show at once who compiles, and how far a long rung is: the round may last as long as that."""
        (self._compiling.add if news.compiling else self._compiling.discard)(news.worker)
        if news.updates:
            self._within[news.worker] = news.updates
            self._rate.heard(news.worker)
        self._observe(0.0)

    def _observe(self, period: float) -> None:
        if self.observer is not None and (period == 0.0 or self._is_due("observe", period)):
            busy = [name for name, worker in self._memory.workers.items() if worker.rows]
            within = sum(self._within.values())
            rate = self._rate.add(self.clock.monotonic(), self._memory.spent.updates + within, busy)
            try:
                self.observer(progress(self._memory, rate, bool(self._compiling), within))
            except OSError as error:  # the terminal was closed: no reason to end a sweep
                self.observer = None
                log.info("the progress can be shown no longer: %s", error)

    # ------------------------------------------------------------------ the ends

    def _stop_workers(self, graceful: bool) -> bool:
        """True if there were workers to stop."""
        started, self._started = self._started, False
        self._compiling.clear()
        self._within.clear()
        if started:
            self.executor.stop(graceful)
        return started

    def _drained(self, outcome: Outcome) -> Outcome:
        """The outcome after the mirrors have caught up, or have not."""
        # with exit 4 they are the new driver's by now; and where the ledger could not be read, none has begun
        if outcome.exit_code == 4 or not all(tail.started for tail in self._tails):
            return outcome
        if outcome.at_once:
            return replace(outcome, behind=tuple(tail.name for tail in self._tails if not tail.written()))
        behind = drain(self._tails, self.clock, (self.pace.drain, self.pace.away), self.on_wait, lambda: self._leaving)
        refused = [
            f"{tail.name}: {'the sweep' if trial is None else f'trial {trial}'}: {reason}"
            for tail in self._tails
            for trial, reason in tail.refused
        ]
        code = 1 if refused and outcome.exit_code == 0 else outcome.exit_code
        return replace(outcome, exit_code=code, behind=tuple(behind), refused=tuple(refused))

    def _give_lock_back(self) -> None:
        try:
            self.ledger.release(self.plan.name, self.fence)
        except StoreError as error:
            log.info("the lock will run out by itself: %s", error)
