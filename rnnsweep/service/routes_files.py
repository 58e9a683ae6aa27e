"""Files of a sweep: logs, artifacts, the report."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse

from rnnsweep.app.results.log_lines import LogLines
from rnnsweep.app.results.sweep import Sweep
from rnnsweep.app.results.sweep_folders import sweep_folders
from rnnsweep.app.stores import reading_sweep
from rnnsweep.errors import ConfigError, printable
from rnnsweep.service.access import OwnFront
from rnnsweep.service.bodies import Name
from rnnsweep.service.problems import RefusedError
from rnnsweep.service.replies import plain_json
from rnnsweep.service.routes_sweeps import opened
from rnnsweep.service.safe_files import MOST, open_below, parts_of, plain_files

CHUNK = 1 << 18
SANDBOX = "sandbox allow-scripts allow-downloads; default-src 'unsafe-inline' data: blob:; frame-ancestors 'none'"
"""The report's own scripts draw its figures; as a page of no origin they reach neither cookies nor the API."""
PATIENCE_S = 60.0


class ReportDesk:
    """Draws reports, one at a time: the figures' library knows no threads. One that is up to date is not drawn anew."""

    def __init__(self, waiting: int = 4) -> None:
        self._lock, self._places = threading.Lock(), threading.BoundedSemaphore(waiting)
        self._drawn: dict[str, int] = {}

    def page(self, sweep: Sweep) -> Path:
        """The page of a sweep as it stands.

        Raises:
            RefusedError: too many wait for theirs.
        """
        busy = RefusedError("other reports are being drawn", 429, {"Retry-After": "10"})
        if not self._places.acquire(blocking=False):
            raise busy
        try:
            if not self._lock.acquire(timeout=PATIENCE_S):
                raise busy
            try:
                return self._current(sweep)
            finally:
                self._lock.release()
        finally:
            self._places.release()

    def _current(self, sweep: Sweep) -> Path:
        path = sweep.place.root / "reports" / sweep.name / "index.html"
        before = self._drawn.get(sweep.name, 0)
        newest = before
        while changes := sweep.log(newest):
            newest = changes[-1].seq
        if newest > before or not path.is_file():
            path = sweep.report()
            self._drawn[sweep.name] = newest
        return path


def files_router(front: OwnFront) -> APIRouter:
    """Routes below ``/sweeps/{name}`` whose replies are files."""
    router, desk = APIRouter(tags=["files"]), ReportDesk()

    @router.get("/sweeps/{name}/logs", response_class=PlainTextResponse)
    def logs(name: Name) -> StreamingResponse:
        """What happened, oldest first, as `rnnsweep logs SWEEP`; times are UTC."""
        return StreamingResponse(_log_text(opened(front, name)), media_type="text/plain; charset=utf-8")

    @router.get("/sweeps/{name}/report", response_class=HTMLResponse)
    def report(name: Name) -> Response:
        """The report as one self-contained page, as `rnnsweep report SWEEP` writes it; drawn anew where need be."""
        page = desk.page(opened(front, name))
        return Response(page.read_bytes(), headers={"Content-Security-Policy": SANDBOX}, media_type="text/html")

    @router.get("/sweeps/{name}/artifacts")
    def artifacts(name: Name) -> Response:
        """Files of the sweep in the store: checkpoints, report, MLflow artifacts; path and bytes of each."""
        opened(front, name)
        root = front.place.root
        files = (one for folder in _folders(front, name) for one in plain_files(root, folder))
        return plain_json([{"path": path, "bytes": size} for path, size in islice(files, MOST)])

    @router.get("/sweeps/{name}/artifacts/{path:path}", response_class=StreamingResponse)
    def artifact(request: Request, name: Name, path: Annotated[str, InPath(max_length=1000)]) -> Response:
        """One of these files."""
        opened(front, name)
        try:
            parts = parts_of(path)
        except ConfigError:
            request.state.refused = True  # nobody types such a path by mistake
            raise
        return _download(front, name, path, parts)

    return router


def _folders(front: OwnFront, name: str) -> list[Path]:
    with reading_sweep(front.place, name) as (_, view):
        return sweep_folders(front.place, view)


def _download(front: OwnFront, name: str, path: str, parts: tuple[str, ...]) -> Response:
    root = front.place.root
    allowed = [folder.relative_to(root).parts for folder in _folders(front, name)]
    missing = ConfigError(f"sweep '{name}' has no such artifact", key="ARTIFACT", value=path, allowed="those listed")
    if not any(len(parts) > len(folder) and parts[: len(folder)] == folder for folder in allowed):
        raise missing
    try:
        file = open_below(root, parts)
    except (OSError, ValueError):
        raise missing from None
    size = os.fstat(file).st_size
    quoted = printable(parts[-1]).encode("ascii", "replace").decode().replace('"', "'")
    headers = {"Content-Disposition": f'attachment; filename="{quoted}"', "Content-Length": str(size)}
    headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return StreamingResponse(_chunks(file, size), headers=headers, media_type="application/octet-stream")


def _chunks(file: int, size: int) -> Iterator[bytes]:
    """The first `size` bytes: a file that grows meanwhile must not break the length that was said."""
    with os.fdopen(file, "rb") as stream:
        while size > 0 and (chunk := stream.read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk


def _log_text(sweep: Sweep) -> Iterator[str]:
    lines, seen = LogLines(), 0
    while changes := sweep.log(seen):
        for change in changes:
            when = datetime.fromtimestamp(change.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
            yield "".join(f"{when}  {printable(text)}\n" for text in lines.of(change))
            seen = change.seq
