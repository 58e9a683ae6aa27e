"""Executes the machine's commands: everything durable first, then what it allows.

A `CommandBatch` collects the commands of many events: its writes go to the ledger in one transaction, its orders reach
the workers after that. The sampler is asked in between; it lives in memory, so nothing has taken effect if the process
dies before the transaction.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rnnsweep.sweep import machine
from rnnsweep.sweep.events import (
    Asked,
    AskPruner,
    AskSampler,
    Command,
    Event,
    Exclude,
    Join,
    Judged,
    Leave,
    Prepare,
    Progressed,
    ReportRung,
    TellSampler,
)
from rnnsweep.sweep.ports import (
    Executor,
    PutAttempt,
    PutReports,
    PutRung,
    PutSweep,
    PutTrial,
    PutVerdict,
    Sampler,
    WorkerJoined,
    Write,
)
from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec, Withdrawal

ASKS = 64
"""Asks per batch: between two batches reports are taken in, so a slow sampler cannot keep workers' results waiting."""
IDLE_S = 1.0
"""While nothing trains, no results can wait: asks go on for so long, since rows that begin together train together."""


@dataclass(slots=True)
class OrdersBuilder:
    """Orders for one worker, in the making. Leaving comes before joining."""

    join: list[RowSpec] = field(default_factory=list[RowSpec])
    take: list[RowSpec] = field(default_factory=list[RowSpec])
    leave: list[Withdrawal] = field(default_factory=list[Withdrawal])
    decided: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    acknowledged: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])

    def withdraw(self, gone: Withdrawal) -> None:
        """Add a withdrawal, or cancel a join of this very batch."""
        # Orders let rows leave before others join; a join that is followed by its own withdrawal would come out the
        # wrong way round, so both cancel here.
        self.take = [spec for spec in self.take if spec.key != gone.key]
        kept = [spec for spec in self.join if (spec.row, spec.token) != ((gone.trial, gone.replica), gone.token)]
        if len(kept) == len(self.join):
            self.leave.append(gone)
        self.join = kept

    def orders(self) -> Orders:
        """The finished message."""
        return Orders(tuple(self.join), tuple(self.leave), self.decided, self.acknowledged, take=tuple(self.take))


class CommandBatch:
    """Steps the machine, collects what it says, and carries it out.

    Attributes:
        memory: the machine's memory.
        asks: asks left over for the next batch.
    """

    def __init__(self, memory: SweepMemory, sampler: Sampler, executor: Executor) -> None:
        self.memory = memory
        self.asks: deque[AskSampler] = deque()
        self._sampler, self._executor = sampler, executor
        self._writes: list[Write] = []
        self._builders: dict[str, OrdersBuilder] = {}
        self._excluded: list[str] = []
        self._events: deque[Event] = deque()
        self._verdicts: list[Judged] = []

    def take(self, events: Iterable[Event]) -> None:
        """Step through the events and through the sampler's answers to what they caused."""
        # Events go first and asks wait: each result that is in before an ask is one that the sampler's model can use.
        self._events.extend(events)
        asked = 0
        end = time.monotonic() + (0.0 if any(worker.rows for worker in self.memory.workers.values()) else IDLE_S)
        while self._events or (self.asks and (asked < ASKS or time.monotonic() < end)):
            if self._events:
                self.execute(machine.step(self.memory, *self._next()))
                self._events.extendleft(reversed(self._verdicts))  # before anything that was heard later
                self._verdicts.clear()
            else:
                number = self.asks.popleft().number
                # asked even when exhausted: every `AskSampler` must be answered, `memory.asking` counts them down
                params = None if self.memory.exhausted else self._sampler.ask(number)
                self._events.append(Asked(number, params, self._sampler.origin))
                asked += 1

    def _next(self) -> list[Event]:
        """The oldest event, with those that are to be taken in the same step."""
        together = [self._events.popleft()]
        while isinstance(together[0], WorkerJoined) and self._events and isinstance(self._events[0], WorkerJoined):
            together.append(self._events.popleft())
        return together

    def execute(self, commands: Sequence[Command]) -> None:
        """Sort commands: the sampler's at once, writes and orders at the end of the batch."""
        for command in commands:
            match command:  # the most frequent first
                case Progressed():
                    self._order(command)
                case PutReports() | PutRung() | PutVerdict() | PutTrial() | PutAttempt() | PutSweep():
                    self._writes.append(command)
                case Join() | Leave() | Prepare() | Exclude():
                    self._order(command)
                case _:
                    self._consult(command)

    def _consult(self, command: ReportRung | AskPruner | AskSampler | TellSampler) -> None:
        match command:
            case ReportRung():
                self._report(command)
            case AskPruner():
                prune = self._sampler.prune(command.trial, command.step)
                # As an event, not by calling the machine: the machine is in the middle of handing out this event's
                # commands.
                self._verdicts.append(Judged(command.trial, command.rung, prune))
            case AskSampler():
                # put off: proposing may be slow, and `take` lets all reports that are in go first
                self.asks.append(command)
            case TellSampler():
                self._sampler.tell(command.view)

    def _report(self, rung: ReportRung) -> None:
        self._sampler.report(rung.trial, rung.step, rung.value)
        if self._sampler.wants_replicas:
            self._sampler.report_replicas(rung.trial, rung.step, rung.replicas)

    def _order(self, command: Join | Leave | Prepare | Progressed | Exclude) -> None:
        if isinstance(command, Exclude):
            self._excluded.append(command.node)
            return
        builder = self._builders.setdefault(command.worker, OrdersBuilder())
        match command:
            case Join():
                builder.join.append(command.spec)
            case Prepare():
                builder.take.append(command.spec)
            case Leave():
                builder.withdraw(command.withdrawal)
            case Progressed():
                if command.acknowledged is not None:
                    builder.acknowledged[command.row] = command.acknowledged
                if command.decided is not None:
                    builder.decided[command.row] = command.decided

    def finish(self, commit: Callable[[Sequence[Write]], None]) -> None:
        """Make the writes durable, then let the orders go."""
        writes, self._writes = merged(self._writes), []
        if writes:
            commit(writes)
        # Workers hear of a decision only once it is durable: were the driver killed in between, its successor would
        # have to guess what they were told. The other way round nothing is lost, they just repeat their reports.
        builders, self._builders = self._builders, {}
        excluded, self._excluded = self._excluded, []
        for node in excluded:
            self._executor.exclude(node)
        for worker, builder in builders.items():
            self._executor.order(worker, builder.orders())


def merged(writes: Sequence[Write]) -> list[Write]:
    """The same writes, with neighbouring row reports in one."""
    result: list[Write] = []
    reports: list[RowReport] = []
    for write in writes:
        if isinstance(write, PutReports):
            reports.extend(write.reports)
            continue
        if reports:
            result.append(PutReports(tuple(reports)))
            reports = []
        # Only neighbours are merged, so that no write overtakes another.
        result.append(write)
    if reports:
        result.append(PutReports(tuple(reports)))
    return result
