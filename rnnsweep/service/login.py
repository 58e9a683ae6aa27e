"""The way in for browsers: a form that takes a token, and a cookie instead of it."""

from __future__ import annotations

import time
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from rnnsweep.adapters.ledger.access_tables import Account, AuditEntry
from rnnsweep.errors import printable
from rnnsweep.service.access import NOBODY, SESSION_S, Access
from rnnsweep.service.access_layer import COOKIE, LOGIN, LOGOUT

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>rnnsweep: log in</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;padding:0 1rem}}
input,button{{font:inherit;padding:.4rem .6rem;width:100%;box-sizing:border-box;margin:.3rem 0}}</style></head>
<body><main><h1>rnnsweep</h1><form method="post" action="{action}">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<input type="hidden" name="next" value="{next}"><button>Log in</button></form>
<p role="alert">{note}</p>
<p>The token was printed when the service was first started; <code>rnnsweep token USER</code> makes others.</p>
</main></body></html>
"""


def login_router(access: Access) -> APIRouter:
    """Pages ``/login`` and ``/logout``."""
    router = APIRouter(include_in_schema=False)

    @router.get(LOGIN)
    def form(next: str = "/") -> Response:
        return _form(next)

    @router.post(LOGIN)
    async def enter(request: Request) -> Response:
        text = (await request.body()).decode("utf-8", "replace")
        given = dict(parse_qsl(text, max_num_fields=10)) if text.count("&") < 10 else {}
        token = given.get("token", "").strip()
        session = await to_thread.run_sync(access.log_in, token)
        account = (access.account(token) if session else None) or NOBODY
        await _note(access, request, account)
        if session is None:
            return _form(given.get("next", "/"), "That is no token of this service.", 401)
        reply = RedirectResponse(own_path(given.get("next", "/")), 303)
        reply.set_cookie(
            COOKIE,
            session,
            max_age=int(SESSION_S),
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.headers.get("origin", "").startswith("https:"),
        )
        return reply

    @router.post(LOGOUT)
    async def leave(request: Request) -> Response:
        await to_thread.run_sync(access.log_out, request.cookies.get(COOKIE, ""))
        reply = RedirectResponse(LOGIN, 303)
        reply.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return reply

    return router


async def _note(access: Access, request: Request, account: Account) -> None:
    remote = request.client.host if request.client else ""
    outcome, detail = ("done", "logged in") if account.user else ("refused", "wrong token")
    role = account.role.value if account.user else ""
    entry = AuditEntry(time.time(), account.user, role, remote, "POST", LOGIN, outcome, detail)
    await to_thread.run_sync(access.audit.add, entry)


def _form(next: str, note: str = "", status: int = 200) -> Response:
    csp = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    page = _PAGE.format(action=LOGIN, next=escape(own_path(next)), note=escape(note))
    headers: dict[str, Any] = {"Content-Security-Policy": csp}
    return HTMLResponse(page, status, headers)


def own_path(path: str) -> str:
    r"""A path of this service: whatever else somebody put into a link becomes its first page.

    Example:
        >>> [own_path(path) for path in ("/sweeps/a?b=c", "//evil.org", "/\\evil.org", "https://evil.org", "")]
        ['/sweeps/a?b=c', '/', '/', '/', '/']
    """
    fine = path.startswith("/") and not path.startswith(("//", "/\\")) and path == printable(path) and path.isascii()
    return path if fine else "/"
