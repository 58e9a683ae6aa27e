"""A sweep's journal as it grows: server-sent events, resumed at the last one that a client has seen."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from rnnsweep.adapters.gate import Receive, Scope, Send
from rnnsweep.app.results.sweep import Sweep
from rnnsweep.service.access import Access, OwnFront
from rnnsweep.service.access_layer import COOKIE
from rnnsweep.service.bodies import Name
from rnnsweep.service.limits import Streams
from rnnsweep.service.replies import dumped, journal_entry
from rnnsweep.service.routes_sweeps import opened

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
POLL_S = 0.5
QUIET_S = 15.0
"""Seconds after which a line says that the service lives; proxies close what is silent."""
Seen = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, lt=1 << 62)]
After = Annotated[int | None, Query(ge=0, lt=1 << 62, description="As Last-Event-ID, which wins.")]


class _Stream(StreamingResponse):
    """A reply that gives its place back however it ends: also where the client was gone before its first line."""

    def __init__(self, lines: AsyncIterator[str], give_back: Callable[[], None]) -> None:
        super().__init__(lines, media_type="text/event-stream", headers=HEADERS)
        self._give_back = give_back

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._give_back()


def events_router(front: OwnFront, access: Access, closing: threading.Event) -> APIRouter:
    """The route of events.

    Args:
        front: of the account that asks.
        access: says whether its token still counts.
        closing: set when the service ends: streams end with it.
    """
    router, streams = APIRouter(tags=["sweeps"]), Streams(access.limits)

    @router.get("/sweeps/{name}/events", response_class=StreamingResponse)
    async def events(
        request: Request, name: Name, last_event_id: Seen = None, after: After = None
    ) -> StreamingResponse:
        """Entries of the journal as server-sent events: `id` is the entry's number, `event` its kind.

        Without a number it begins at the journal's first entry. A client that comes back sends the last id that it
        has seen and misses none. The stream ends after `stream_s` seconds, or with the token; clients come back.
        """
        seen = last_event_id if last_event_id is not None else after or 0
        sweep = await to_thread.run_sync(opened, front, name)
        last = time.monotonic() + access.limits.stream_s

        def ends() -> bool:
            return closing.is_set() or time.monotonic() > last or not _counts(request, access)

        # its place is taken before the reply begins, so that it can be refused, and given back when it ends
        return _Stream(_lines(sweep, seen, ends), streams.take(request.state.user))

    return router


def _counts(request: Request, access: Access) -> bool:
    """Whether the token that opened the stream is still somebody's."""
    kind, _, word = request.headers.get("authorization", "").partition(" ")
    token = word.strip() if kind.lower() == "bearer" else request.cookies.get(COOKIE, "")
    return access.account(token) is not None


async def _lines(sweep: Sweep, seen: int, ends: Callable[[], bool]) -> AsyncIterator[str]:
    """Events after `seen`, as they are written; `ends` is asked between looks."""
    yield "retry: 1000\n\n"
    spoken = time.monotonic()
    while True:
        changes = await to_thread.run_sync(sweep.log, seen)
        for change in changes:
            seen = change.seq
            yield f"id: {seen}\nevent: {change.kind}\ndata: {dumped(journal_entry(change))}\n\n"
        now = time.monotonic()
        if changes:
            spoken = now
        elif now - spoken > QUIET_S:
            yield ": still here\n\n"
            spoken = now
        if await to_thread.run_sync(ends):
            return
        if not changes:
            await asyncio.sleep(POLL_S)
