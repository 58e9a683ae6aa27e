"""Who asks, and what that account may see and steer; decided in one place for the API and the page.

request ─► access_layer: host, origin, token, rate, role, audit ─► route ─► OwnFront: whose sweep is it? ─► Front
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnsweep.adapters.ledger.access_tables import Account, AccountBook, AuditLog, Role, token_hash
from rnnsweep.app.config.edits import as_space
from rnnsweep.app.stores import StorePlace, reading
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.service import vetting
from rnnsweep.service.front import Front, PoolWorker, QueuedSweep, Submission
from rnnsweep.service.limits import Limits
from rnnsweep.service.problems import RefusedError
from rnnsweep.sweep.rebuild import Reopen

REFRESH_S = 2.0
"""Seconds after which a token that was withdrawn elsewhere no longer counts."""
SESSION_S = 30 * 86400.0
"""Seconds that a browser's login lasts."""
NOBODY = Account("", Role.READER)
LOCAL = Account("local", Role.OPERATOR, every=True)
"""Whoever reaches a service that asks for no token."""
OTHERS = "(others)"

current: ContextVar[Account] = ContextVar("current", default=NOBODY)
"""The account of the request that is served; threads that serve it inherit it."""


class Access:
    """Recognises accounts by their tokens.

    Attributes:
        audit: where requests are written down.
        hosts: names, beside this machine's own, under which the service may be called.
        limits: how much one caller may have.
        open: no token is asked for; whoever reaches the service may do everything.
        data_dirs: folders whose files may be trained on by request.
    """

    def __init__(
        self,
        book: AccountBook,
        audit: AuditLog,
        *,
        hosts: Sequence[str] = (),
        limits: Limits | None = None,
        open: bool = False,
        data_dirs: Sequence[Path] = (),
    ) -> None:
        self._book, self.audit = book, audit
        self.hosts, self.limits, self.open = frozenset(host.lower() for host in hosts), limits or Limits(), open
        self.data_dirs = tuple(data_dirs)
        self._holders: Mapping[str, Account] = {}
        self._read_at = -REFRESH_S
        self._lock = threading.Lock()

    def account(self, token: str, now: Callable[[], float] = time.monotonic) -> Account | None:
        """Whose token it is, None where it is nobody's.

        Raises:
            StoreError: the ledger is away, and what is remembered is too old.
        """
        if self.open:
            return LOCAL
        with self._lock:
            if now() - self._read_at >= REFRESH_S:
                self._holders, self._read_at = self._book.holders(), now()
            return self._holders.get(token_hash(token)) if token else None

    def remembered(self, token: str, now: Callable[[], float] = time.monotonic) -> Account | None:
        """As `account`, but only from memory: never waits. None also where the ledger has to be asked."""
        if self.open:
            return LOCAL
        return self._holders.get(token_hash(token)) if token and now() - self._read_at < REFRESH_S else None

    def forget(self) -> None:
        """Read the accounts anew at the next request."""
        with self._lock:
            self._read_at = -REFRESH_S

    def log_in(self, token: str) -> str | None:
        """A token for a browser's cookie, None where `token` is nobody's."""
        account = self.account(token)
        if account is None:
            return None
        session = self._book.issue(account.user, SESSION_S) if not self.open else "open"
        self.forget()
        return session

    def log_out(self, session: str) -> None:
        """Make a browser's cookie worthless."""
        self._book.withdraw(session)
        self.forget()


@dataclass(frozen=True)
class OwnFront:
    """A `Front` that shows and lets steer what the `current` account may; everything else is refused.

    Attributes:
        front: the service.
        data_dirs: see `Access`.
    """

    front: Front
    data_dirs: Sequence[Path] = ()
    _known: set[str] = field(default_factory=set[str], init=False, repr=False, compare=False)

    @property
    def place(self) -> StorePlace:
        """The store."""
        return self.front.place

    @property
    def config_dirs(self) -> Sequence[Path]:
        """The users' own units and sweeps."""
        return self.front.config_dirs

    def queue(self) -> list[QueuedSweep]:
        """The account's own sweeps, or everybody's."""
        account = current.get()
        return [line for line in self.front.queue() if account.every or line.user == account.user]

    def workers(self) -> list[PoolWorker]:
        """The pool; rows of others are counted and not named."""
        workers = self.front.workers()
        if current.get().every:
            return workers
        own = {line.name for line in self.queue()}
        return [replace(worker, rows=_own_rows(worker.rows, own)) for worker in workers]

    def names(self) -> list[str]:
        """Sweeps of the store and of the queue that the account may see, oldest first."""
        queued = [line.name for line in self.queue()]
        if not current.get().every:
            return queued
        stored = self._stored()
        return [*stored, *(name for name in queued if name not in stored)]

    def check(self, name: str) -> None:
        """Let nobody touch a sweep of somebody else.

        Raises:
            ConfigError: there is no such sweep; names those that the account may see.
            RefusedError: it is somebody else's.
        """
        if any(line.name == name for line in self.queue()) or (current.get().every and self._has(name)):
            return
        names = self.names()
        if self._has(name) or any(line.name == name for line in self.front.queue()):
            raise RefusedError(f"sweep '{name}' belongs to another user")
        allowed = names or "none yet: start one with 'rnnsweep launch'"
        raise ConfigError("no such sweep", key="SWEEP", value=name, allowed=allowed, hint=nearest(name, names))

    def surely_sees(self, name: str) -> bool:
        """Whether `check` is known to pass without a look at queue or store: never waits."""
        return current.get().every and name in self._known

    def submit(self, submission: Submission) -> str:
        """As `Front.submit`, in the account's name and within what may be asked over the network."""
        account = _operator()
        vetting.check_sweep(submission.sweep)
        typed = vetting.check_overrides(submission.overrides, self.data_dirs)
        teacher = vetting.warm_start(typed)
        if teacher is not None:
            self.check(teacher)
        if not account.every and (submission.weight > 1.0 or submission.priority > 0):
            raise RefusedError("weight above 1 and priority above 0 are given by operators of all sweeps")
        return self.front.submit(replace(submission, user=account.user))

    def stop(self, name: str, reason: str) -> None:
        """As `Front.stop`."""
        self._steered(name).stop(name, reason)

    def pause(self, name: str, reason: str) -> None:
        """As `Front.pause`."""
        self._steered(name).pause(name, reason)

    def resume(self, name: str, overrides: Sequence[str] = (), reopen: Reopen | None = None) -> None:
        """As `Front.resume`."""
        front = self._steered(name)
        vetting.check_overrides(overrides, self.data_dirs)
        front.resume(name, overrides, reopen)

    def request(self, name: str, kind: str, data: Mapping[str, Any]) -> None:
        """As `Front.request`."""
        front = self._steered(name)
        vetting.check_text(data, kind)
        if kind == "edit":  # overrides, which reach further than numbers do
            vetting.check_overrides([as_space(text) for text in data["overrides"]], self.data_dirs)
        front.request(name, kind, data)

    def _steered(self, name: str) -> Front:
        _operator()
        self.check(name)
        return self.front

    def _has(self, name: str) -> bool:
        """Whether the store has the sweep; none ever leaves it, so those that are known need no look."""
        if name not in self._known:
            self._known.update(self._stored())
        return name in self._known

    def _stored(self) -> list[str]:
        with reading(self.place) as ledger:
            return [view.name for view in ledger.sweeps()] if ledger else []


def _operator() -> Account:
    account = current.get()
    if account.role is not Role.OPERATOR:
        raise RefusedError("a reader's token cannot change anything; ask for an operator's")
    return account


def _own_rows(rows: Mapping[str, int], own: set[str]) -> dict[str, int]:
    kept = {name: count for name, count in rows.items() if name in own}
    others = sum(count for name, count in rows.items() if name not in own)
    return {**kept, OTHERS: others} if others else kept
