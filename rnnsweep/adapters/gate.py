"""A gate before another project's pages: who has not the link's token sees and changes nothing, whoever's browser asks.

    link with ?token=... ─► 303 to the same page without it, with a cookie ─► pages, requests of their scripts
    program              ─► Authorization: Bearer ...

Loopback is no protection: every user of the machine reaches it, and so does every page that a browser shows. So each
request is looked at before the application is, in the same process: there is no port behind the gate.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

VARIABLE = "RNNSWEEP_UI_TOKEN"
"""Environment variable that hands the token to the server: only its owner can read it, unlike a command line."""
PARAMETER = "token"
HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
"""Names under which this machine calls itself; any other one was made to point here (DNS rebinding)."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Reply:
    """What the gate answers itself.

    Attributes:
        headers: names and values, ASCII.
    """

    status: HTTPStatus
    text: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """Those of every reply besides: nothing of it is kept or handed on."""
        fixed = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
        return [*fixed, ("Referrer-Policy", "no-referrer"), *self.headers]


@dataclass(frozen=True)
class Gate:
    """Decides on one request from its head alone.

    Attributes:
        token: what the link holds; a long random word.
        cookie: name of the cookie; one per port, since browsers send a host's cookies to all of its ports.
    """

    token: str
    cookie: str

    def reply(self, method: str, target: str, headers: Mapping[str, str]) -> Reply | None:
        """The gate's own answer, or None where the application may see the request.

        Args:
            method: of the request.
            target: path and query.
            headers: by lower-case name.
        """
        host = headers.get("host", "")
        if _name(host) not in HOSTS:
            return Reply(HTTPStatus.FORBIDDEN, "This server answers to 127.0.0.1 and localhost only.\n")
        # a cookie knows no port: what another server on this machine shows must not act for the user
        if headers.get("origin", f"http://{host}") != f"http://{host}" or _embedded(headers):
            return Reply(HTTPStatus.FORBIDDEN, "Requests of other pages are refused.\n")
        path, _, query = target.partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        if method == "GET" and self._right(given.pop(PARAMETER, "")):
            return self._entered(path, given)
        if self._right(_cookie(headers.get("cookie", ""), self.cookie)) or self._right(_bearer(headers)):
            return None
        hint = "Open the link that `rnnsweep ui` has printed: it holds the token of whoever started it.\n"
        return Reply(HTTPStatus.UNAUTHORIZED, hint, (("WWW-Authenticate", "Bearer"),))

    def _entered(self, path: str, query: Mapping[str, str]) -> Reply:
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        # one slash: two would name another host
        place = "/" + path.lstrip("/") + ("?" + urlencode(query) if query else "")
        return Reply(HTTPStatus.SEE_OTHER, "", (("Location", place), ("Set-Cookie", cookie)))

    def _right(self, word: str) -> bool:
        return bool(self.token) and hmac.compare_digest(word.encode(), self.token.encode())


def gate_of_environment(port: int) -> Gate:
    """The gate with the token that the starter has put into the environment; children do not inherit it.

    Raises:
        KeyError: there is none: nothing is served without.
    """
    return Gate(os.environ.pop(VARIABLE), f"rnnsweep-{port}")


def with_token(link: str, token: str) -> str:
    """A link that the gate lets in.

    Example:
        >>> with_token("http://127.0.0.1:5000/#/experiments/1", "T"), with_token("http://127.0.0.1:5000", "T")
        ('http://127.0.0.1:5000/?token=T#/experiments/1', 'http://127.0.0.1:5000/?token=T')
    """
    parts = urlsplit(link)
    query = "&".join(filter(None, (parts.query, urlencode({PARAMETER: token}))))
    return parts._replace(path=parts.path or "/", query=query).geturl()


def asgi(app: App, gate: Gate) -> App:
    """An ASGI application behind the gate; WebSockets too."""

    async def gated(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):  # lifespan
            await app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        target = scope["raw_path"].decode("latin-1").partition("?")[0] + "?" + scope["query_string"].decode("latin-1")
        reply = gate.reply(scope.get("method", "CONNECT"), target, headers)
        if reply is None:
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            own = [(name.encode(), value.encode()) for name, value in reply.all_headers]
            await send({"type": "http.response.start", "status": reply.status.value, "headers": own})
            await send({"type": "http.response.body", "body": reply.text.encode()})

    return gated


def wsgi(app: Callable[..., Iterable[bytes]], gate: Gate) -> Callable[..., Iterable[bytes]]:
    """A WSGI application behind the gate."""

    def gated(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        target = f"{environ.get('PATH_INFO', '/')}?{environ.get('QUERY_STRING', '')}"
        reply = gate.reply(environ["REQUEST_METHOD"], target, headers)
        if reply is None:
            return app(environ, start_response)
        start_response(f"{reply.status.value} {reply.status.phrase}", reply.all_headers)
        return [reply.text.encode()]

    return gated


def _name(host: str) -> str:
    """The name in a Host header; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _embedded(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of another origin asks, and not a person who follows a link."""
    foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    return foreign and headers.get("sec-fetch-mode") != "navigate"


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _bearer(headers: Mapping[str, str]) -> str:
    kind, _, word = headers.get("authorization", "").partition(" ")
    return word.strip() if kind.lower() == "bearer" else ""
