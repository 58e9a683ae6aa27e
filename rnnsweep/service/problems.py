"""Errors of the API: problem+json (RFC 9457) with the line that the command line would print, and its parts."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from rnnsweep.app.api import harmless
from rnnsweep.errors import ConfigError, LockedError, RnnsweepError, StoreError, printable

log = logging.getLogger(__name__)
MEDIA = "application/problem+json"
_TITLES = {
    400: "Wrong input",
    401: "Who are you?",
    403: "Not allowed",
    404: "Not there",
    405: "Not that way",
    408: "Too slow",
    409: "Not now",
    413: "Too large",
    422: "Wrong input",
    429: "Too many requests",
    500: "A fault of the service",
    503: "The store is away",
}


class RefusedError(RnnsweepError):
    """A request that this account, or nobody over the network, may make.

    Attributes:
        status: of HTTP.
        headers: for the reply.
    """

    exit_code = 2

    def __init__(self, reason: str, status: int = 403, headers: Mapping[str, str] | None = None) -> None:
        self.reason, self.status, self.headers = reason, status, dict(headers or {})
        super().__init__(reason)


def status_of(error: RnnsweepError) -> int:
    """The HTTP status of an error of ours."""
    match error:
        case RefusedError():
            return error.status
        case ConfigError():
            if "no such" in error.problem and error.key in ("SWEEP", "TRIAL", "ARTIFACT"):
                return 404
            return 409 if error.problem.startswith("the store has a sweep of this name") else 400
        case StoreError():
            return 503
        case LockedError():
            return 409
    return 409  # it would do at another time: no complete trial yet


def problem(status: int, detail: str, exit_code: int = 2, **more: Any) -> Response:
    """A reply with one problem."""
    body = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    # ASCII with escapes: what somebody typed may hold characters that no encoding has
    text = json.dumps({**body, "exit_code": exit_code, **more}, allow_nan=False)
    return Response(text.encode("ascii"), status, media_type=MEDIA)


def problem_of(error: RnnsweepError) -> Response:
    """The reply for an error of ours: the command line's message, and its parts for clients that raise it again."""
    reply = problem(status_of(error), harmless(str(error)), error.exit_code, **_parts(error))
    if isinstance(error, RefusedError):
        reply.headers.update(error.headers)
    return reply


def _parts(error: RnnsweepError) -> dict[str, Any]:
    if isinstance(error, StoreError):
        return {"error": "StoreError", "store": error.store, "reason": harmless(error.reason)}
    if isinstance(error, LockedError):
        return {"error": "LockedError", "sweep": error.sweep, "holder": error.holder}
    if not isinstance(error, ConfigError):
        return {"error": "RnnsweepError"}
    names = ("problem", "key", "value", "allowed", "file", "hint")
    return {"error": "ConfigError", **{name: _plain(getattr(error, name)) for name in names}}


def _plain(value: Any) -> Any:
    """What JSON has a word for; all else as a text, which reads the same in a message made of it."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, Sequence):
        return [harmless(str(item)) for item in value]
    return harmless(str(value))


def validation_line(errors: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with a request's form, the first of its faults, in the form of all other errors."""
    first = errors[0]
    place = [str(part) for part in first["loc"]]
    key = ".".join(place[1:]) or place[0]
    text = str(first["msg"])
    return printable(f"{key}: {text[:1].lower()}{text[1:]}")


def install(app: FastAPI) -> None:
    """Let every error of an application leave as a problem."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, RnnsweepError)
        request.state.problem = harmless(str(error))
        return problem_of(error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        request.state.problem = validation_line(error.errors())
        return problem(422, request.state.problem)

    async def general(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        request.state.problem = str(error.detail)
        reply = problem(error.status_code, str(error.detail))
        reply.headers.update(error.headers or {})
        return reply

    async def bug(request: Request, error: Exception) -> Response:
        request.state.problem = f"bug: {type(error).__name__}"
        log.error("request failed", exc_info=error)
        return problem(500, "a fault of the service; its log says more", 1)

    app.add_exception_handler(RnnsweepError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, general)
    app.add_exception_handler(Exception, bug)
