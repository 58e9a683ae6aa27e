"""Looks at every request before a route does: where it comes from, whose it is, how much it wants, and writes it down.

In the application's own process, as its outermost layer: there is no port behind it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from anyio import to_thread
from starlette.responses import RedirectResponse, Response

from rnnsweep.adapters.gate import HOSTS, App, Receive, Scope, Send
from rnnsweep.adapters.ledger.access_tables import Account, AuditEntry, Role
from rnnsweep.app.api import harmless
from rnnsweep.errors import RnnsweepError, printable
from rnnsweep.service.access import NOBODY, Access, current
from rnnsweep.service.limits import Buckets
from rnnsweep.service.problems import RefusedError, problem, problem_of

log = logging.getLogger(__name__)
API = "/api/v1"
LOGIN, LOGOUT = "/login", "/logout"
PUBLIC = (f"{API}/health", LOGIN)
"""Paths that need no token: whether the service lives, and where a token is given."""
COOKIE = "rnnsweep"
_SAFE = ("GET", "HEAD", "OPTIONS")
_REFUSED = (401, 403, 408, 413, 429)
_FIXED = (
    (b"x-content-type-options", b"nosniff"),
    # not no-referrer: a browser would send the login form as from nowhere, with the origin null, which is refused
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"),
)
"""Headers of every reply that does not set them itself."""


@dataclass
class _Visit:
    """One request on its way.

    Attributes:
        headers: by lower-case name; of repeated ones the last.
        status: of the reply, 0 while there is none.
    """

    scope: Scope
    account: Account = NOBODY
    headers: dict[str, str] = field(default_factory=dict[str, str])
    status: int = 0

    def __post_init__(self) -> None:
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]
        }

    @property
    def method(self) -> str:
        return self.scope["method"]

    @property
    def path(self) -> str:
        return self.scope["path"]

    @property
    def remote(self) -> str:
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def changes(self) -> bool:
        return self.method not in _SAFE

    def cookie(self) -> str:
        try:
            found = SimpleCookie(self.headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return ""
        return "" if found is None else found.value

    def token(self) -> str:
        """A program's, else a browser's."""
        kind, _, word = self.headers.get("authorization", "").partition(" ")
        return word.strip() if kind.lower() == "bearer" else self.cookie()

    def entry(self, outcome: str, detail: str) -> AuditEntry:
        """The request as it is written down."""
        path, words = printable(self.path), printable(harmless(detail))
        role = self.account.role.value if self.account.user else ""
        return AuditEntry(time.time(), self.account.user, role, self.remote, self.method, path, outcome, words)


class AccessLayer:
    """An ASGI application behind `Access`.

    What it lets through finds the account in ``request.state``: ``user``, ``role`` (``reader`` or ``operator``),
    ``every`` (whether it sees everybody's sweeps); and in `access.current`. A route may leave a line for the audit in
    ``request.state.said``, and a reason in ``request.state.problem``.
    """

    def __init__(self, app: App, access: Access, now: Callable[[], float] = time.monotonic) -> None:
        self._app, self._access = app, access
        limits = access.limits
        self._all = Buckets(limits.rate, limits.burst, now)
        self._changes = Buckets(limits.changes, limits.changes_burst, now)
        self._wrong = Buckets(limits.wrong, limits.wrong_burst, now)
        # one note a minute of an address that is sent away again and again: it must not fill the ledger
        self._notes = Buckets(1 / 60, 1.0, now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._serve(_Visit(scope), receive, send)

    async def _serve(self, visit: _Visit, receive: Receive, send: Send) -> None:
        sending = _with_headers(visit, send)
        try:
            self._check_origin(visit)
            await self._recognise(visit)
            self._check_rate(visit)
            if visit.changes and visit.path not in (LOGIN, LOGOUT) and visit.account.role is not Role.OPERATOR:
                raise RefusedError("a reader's token cannot change anything; ask for an operator's")
            body = await self._body(visit, receive)
        except _Elsewhere as elsewhere:
            await elsewhere.reply(visit.scope, receive, sending)
            return
        except RnnsweepError as error:
            if await self._note(visit, str(error), error):
                await problem_of(error)(visit.scope, receive, sending)
            else:
                await problem(503, "the store is away: what is refused cannot be written down", 1)(
                    visit.scope, receive, sending
                )
            return
        state = visit.scope.setdefault("state", {})
        state |= {"user": visit.account.user, "role": visit.account.role.value, "every": visit.account.every}
        current.set(visit.account)
        await self._audited(visit, _replay(body, receive), sending)

    # ------------------------------------------------------------------ is it let in?

    def _check_origin(self, visit: _Visit) -> None:
        host = visit.headers.get("host", "")
        name = _name(host)
        if name not in HOSTS and name not in self._access.hosts and not _is_address(name):
            names = ", ".join(sorted({*HOSTS, *self._access.hosts}))
            raise RefusedError(
                f"the service does not answer to the host name '{printable(name)[:100]}'; allowed: {names}"
            )
        origin = visit.headers.get("origin")
        site = visit.headers.get("sec-fetch-site")
        foreign = site in ("cross-site", "same-site") and visit.headers.get("sec-fetch-mode") != "navigate"
        # a cookie knows no port: what another server on this machine shows must not act for the user
        if foreign or (origin is not None and _netloc(origin) != host.lower()):
            raise RefusedError("requests of other pages are refused")

    async def _recognise(self, visit: _Visit) -> None:
        token = visit.token()
        found = self._access.remembered(token) or await to_thread.run_sync(self._access.account, token)
        if found is not None:
            visit.account = found
        elif visit.path not in PUBLIC:
            wait = self._wrong.wait(visit.remote)
            if wait:
                raise _too_many("too many requests without a right token", wait)
            if not token and visit.method == "GET" and "text/html" in visit.headers.get("accept", ""):
                raise _Elsewhere(RedirectResponse(f"{LOGIN}?next={quote(visit.path)}", 303))
            reason = "wrong token" if token else "no token"
            hint = "send 'Authorization: Bearer TOKEN'; RNNSWEEP_TOKEN tells it to rnnsweep's own commands"
            raise RefusedError(f"{reason}: {hint}", 401, {"WWW-Authenticate": "Bearer"})

    def _check_rate(self, visit: _Visit) -> None:
        name = visit.account.user or f"address {visit.remote}"
        wait = self._all.wait(name)
        if not wait and visit.changes:
            # who guesses at the login is as patient as who guesses at the API
            wait = (self._wrong if visit.path == LOGIN else self._changes).wait(name)
        if wait:
            raise _too_many("too many requests", wait)

    async def _body(self, visit: _Visit, receive: Receive) -> bytes:
        """The whole body: bounded, so that it can be held, and read here, so that no route waits for a slow sender."""
        limits = self._access.limits
        length = visit.headers.get("content-length", "0")
        if not re.fullmatch(r"\d{1,18}", length) or int(length) > limits.body:
            raise _too_large(limits.body)
        try:
            async with asyncio.timeout(limits.body_s):
                return await _whole(receive, limits.body)
        except TimeoutError:
            raise RefusedError("the request's body came too slowly", 408) from None

    # ------------------------------------------------------------------ what is written down

    async def _audited(self, visit: _Visit, receive: Receive, send: Send) -> None:
        """Serve it; one that is to change something stands in the ledger before it does, and says then how it ended."""
        # whoever logs in is nobody before, and a health check changes nothing
        noted = visit.changes and visit.path not in (LOGIN, LOGOUT)
        number = 0
        if noted:
            try:
                number = await to_thread.run_sync(self._access.audit.add, visit.entry("begun", ""))
            except RnnsweepError as error:
                await problem_of(error)(visit.scope, receive, send)
                return
        try:
            await self._app(visit.scope, receive, send)
        finally:
            # the login writes down itself who has come
            if noted or (visit.path != LOGIN and (visit.status in _REFUSED or "refused" in visit.scope["state"])):
                await self._end(visit, number)

    async def _end(self, visit: _Visit, number: int) -> None:
        state: dict[str, Any] = visit.scope["state"]
        done = 200 <= visit.status < 400
        outcome = "done" if done else "failed" if visit.status >= 500 or not visit.status else "refused"
        words = state.get("said", "") if done else state.get("problem", "")
        entry = visit.entry(outcome, f"{visit.status} {words}".strip())
        try:
            if number:
                await to_thread.run_sync(self._access.audit.end, number, entry.outcome, entry.detail)
            else:
                await to_thread.run_sync(self._access.audit.add, entry)
        except RnnsweepError as error:  # it stands there as begun; the reply has left
            log.warning("audit: %s", error)

    async def _note(self, visit: _Visit, reason: str, error: RnnsweepError) -> bool:
        """Write down a request that was sent away; False where the ledger does not take it."""
        status = error.status if isinstance(error, RefusedError) else 503
        if status == 429 and self._notes.wait(visit.account.user or visit.remote):
            return True
        try:
            await to_thread.run_sync(self._access.audit.add, visit.entry("refused", f"{status} {reason}"))
        except RnnsweepError as away:
            log.warning("audit: %s", away)
            return False
        return True


class _Elsewhere(Exception):
    """The visitor is led to another page."""

    def __init__(self, reply: Response) -> None:
        self.reply = reply
        super().__init__()


def _too_many(reason: str, wait: float) -> RefusedError:
    return RefusedError(f"{reason}; again in {wait:.1f} s", 429, {"Retry-After": str(int(wait) + 1)})


def _too_large(most: int) -> RefusedError:
    return RefusedError(f"the request's body is too large; allowed: {most} bytes", 413)


async def _whole(receive: Receive, most: int) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":  # whoever asked is gone
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise _too_large(most)
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """What a route receives: the body at once, then what comes after it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return waiting.pop() if waiting else await receive()

    return replay


def _with_headers(visit: _Visit, send: Send) -> Send:
    """Notes the status of the reply, and adds the headers that every reply has."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            visit.status = message["status"]
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            message = {**message, "headers": [*given, *(one for one in _FIXED if one[0] not in names)]}
        await send(message)

    return sending


def _netloc(origin: str) -> str:
    """Host and port of an origin; empty where it is none, as the word null is."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    """The name in a Host header; empty where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    """Whether a host is an IP address: no name was made to point here (DNS rebinding) where there is no name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
