"""Executes the machine's commands: everything durable first, then what it allows.

One `Turn` collects the commands of many events: its writes go to the ledger in one transaction, its orders reach the
workers after that. The sampler is asked in between; it lives in memory, so nothing has taken effect if the process
dies before the transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rnnsweep.sweep import machine
from rnnsweep.sweep.events import (
    Ask,
    Asked,
    Command,
    Event,
    Exclude,
    Join,
    Judge,
    Judged,
    Leave,
    Note,
    Progressed,
    Tell,
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
    Write,
)
from rnnsweep.sweep.records import SweepMemory
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec, Withdrawal

ASKS = 64
"""Asks per turn: between two turns reports are taken in, so a slow sampler cannot keep workers' results waiting."""


@dataclass(slots=True)
class Draft:
    """Orders for one worker, in the making. Leaving comes before joining."""

    join: list[RowSpec] = field(default_factory=list)
    leave: list[Withdrawal] = field(default_factory=list)
    decided: dict[tuple[int, int], int] = field(default_factory=dict)
    acknowledged: dict[tuple[int, int], int] = field(default_factory=dict)

    def withdraw(self, gone: Withdrawal) -> None:
        """Add a withdrawal, or cancel a join of this very turn."""
        kept = [spec for spec in self.join if (spec.row, spec.token) != ((gone.trial, gone.replica), gone.token)]
        if len(kept) == len(self.join):
            self.leave.append(gone)
        self.join = kept

    def orders(self) -> Orders:
        """The finished message."""
        return Orders(tuple(self.join), tuple(self.leave), self.decided, self.acknowledged)


class Turn:
    """Steps the machine and carries out what it says.

    Attributes:
        memory: the machine's memory.
        asks: asks left over for the next turn.
    """

    def __init__(self, memory: SweepMemory, sampler: Sampler, executor: Executor) -> None:
        self.memory = memory
        self.asks: deque[Ask] = deque()
        self._sampler, self._executor = sampler, executor
        self._writes: list[Write] = []
        self._drafts: dict[str, Draft] = {}
        self._excluded: list[str] = []
        self._events: deque[Event] = deque()
        self._verdicts: list[Judged] = []

    def take(self, events: Iterable[Event]) -> None:
        """Step through the events and through the sampler's answers to what they caused."""
        self._events.extend(events)
        asked = 0
        while self._events or (self.asks and asked < ASKS):
            if self._events:
                _, commands = machine.step(self.memory, self._events.popleft())
                self.obey(commands)
                self._events.extendleft(reversed(self._verdicts))  # before anything that was heard later
                self._verdicts.clear()
            else:
                number = self.asks.popleft().number
                params = None if self.memory.exhausted else self._sampler.ask(number)
                self._events.append(Asked(number, params))
                asked += 1

    def obey(self, commands: Sequence[Command]) -> None:
        """Sort commands: the sampler's at once, writes and orders at the end of the turn."""
        for command in commands:
            match command:  # the most frequent first
                case Progressed():
                    self._order(command)
                case PutReports() | PutRung() | PutVerdict() | PutTrial() | PutAttempt() | PutSweep():
                    self._writes.append(command)
                case Join() | Leave() | Exclude():
                    self._order(command)
                case _:
                    self._consult(command)

    def _consult(self, command: Note | Judge | Ask | Tell) -> None:
        match command:
            case Note():
                self._note(command)
            case Judge():
                prune = self._sampler.prune(command.trial, command.step)
                self._verdicts.append(Judged(command.trial, command.rung, prune))
            case Ask():
                self.asks.append(command)
            case Tell():
                self._sampler.tell(command.view)

    def _note(self, note: Note) -> None:
        self._sampler.report(note.trial, note.step, note.value)
        if getattr(self._sampler, "wants_replicas", False):  # only pruners that pair replicas
            self._sampler.report_replicas(note.trial, note.step, note.replicas)  # type: ignore[attr-defined]

    def _order(self, command: Join | Leave | Progressed | Exclude) -> None:
        if isinstance(command, Exclude):
            self._excluded.append(command.node)
            return
        draft = self._drafts.setdefault(command.worker, Draft())
        match command:
            case Join():
                draft.join.append(command.spec)
            case Leave():
                draft.withdraw(command.withdrawal)
            case Progressed():
                if command.acknowledged is not None:
                    draft.acknowledged[command.row] = command.acknowledged
                if command.decided is not None:
                    draft.decided[command.row] = command.decided

    def finish(self, commit: Callable[[Sequence[Write]], None]) -> None:
        """Make the writes durable, then let the orders go."""
        writes, self._writes = merged(self._writes), []
        if writes:
            commit(writes)
        drafts, self._drafts = self._drafts, {}
        excluded, self._excluded = self._excluded, []
        for node in excluded:
            self._executor.exclude(node)
        for worker, draft in drafts.items():
            self._executor.order(worker, draft.orders())


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
        result.append(write)
    if reports:
        result.append(PutReports(tuple(reports)))
    return result
