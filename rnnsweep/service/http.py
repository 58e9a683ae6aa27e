"""The service over HTTP: the API under ``/api/v1``, the way in for browsers, the live page, and metrics."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from anyio import to_thread
from fastapi import Depends, FastAPI, Request

from rnnsweep.adapters.ledger.access_tables import AccountBook, AuditLog, make_tables
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.stores import StorePlace, kept_open
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.service import problems
from rnnsweep.service.access import Access, OwnFront
from rnnsweep.service.access_layer import API, AccessLayer
from rnnsweep.service.front import Front
from rnnsweep.service.limits import Limits
from rnnsweep.service.login import login_router
from rnnsweep.service.metrics import metrics_router
from rnnsweep.service.page.router import page_router
from rnnsweep.service.routes_events import events_router
from rnnsweep.service.routes_files import files_router
from rnnsweep.service.routes_pool import pool_router
from rnnsweep.service.routes_steering import steering_router
from rnnsweep.service.routes_sweeps import sweeps_router
from rnnsweep.version import __version__

log = logging.getLogger(__name__)
LOOPBACK, PORT = "127.0.0.1", 8788
GRACE_S = 3
"""Seconds that requests in progress may take when the service ends."""
_PROBLEM = {"content": {problems.MEDIA: {"schema": {"type": "object"}}}}
_REPLIES: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused; nothing was written. `detail` is the command line's message.", **_PROBLEM},
    "503": {"description": "The store is away.", **_PROBLEM},
}


def build_app(front: Front, access: Access, closing: threading.Event | None = None) -> FastAPI:
    """The application: routes that see what the account may see, behind the layer that says whose request it is.

    Args:
        front: the service.
        access: its accounts.
        closing: set when the service ends; event streams end with it.
    """
    own = OwnFront(front, access.data_dirs)

    async def check_sweep(request: Request) -> None:
        name = request.path_params.get("name")
        if name is not None and not own.surely_sees(name):
            await to_thread.run_sync(own.check, name)

    app = FastAPI(
        title="rnnsweep",
        version=__version__,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # their scripts come from other servers
        redoc_url=None,
        # every route with a sweep's name in its path, the page's included
        dependencies=[Depends(check_sweep)],
    )
    problems.install(app)
    routers = [sweeps_router(own), steering_router(own), files_router(own), pool_router(own, access)]
    for router in [*routers, events_router(own, access, closing or threading.Event())]:
        app.include_router(router, prefix=API, responses=_REPLIES)
    app.include_router(login_router(access))
    app.include_router(page_router(own), include_in_schema=False)
    app.include_router(metrics_router(own), include_in_schema=False)
    app.add_middleware(AccessLayer, access=access)
    return app


@dataclass
class HttpServer:
    """A running server.

    Attributes:
        url: where it listens.
    """

    url: str
    _server: uvicorn.Server = field(repr=False)
    _socket: socket.socket = field(repr=False)
    _closing: threading.Event = field(repr=False)
    _resources: ExitStack = field(repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    def run(self) -> None:
        """Serve until `stop` is called, or a signal comes where this is the main thread."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._closing.set()
            self._resources.close()

    def start(self) -> HttpServer:
        """Serve in a thread; returns when requests are taken."""
        self._thread = threading.Thread(target=self.run, name="rnnsweep-http", daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise StoreError("service", f"{self.url}: the HTTP server did not start; its log says why")
            self._thread.join(0.01)
        return self

    def stop(self) -> None:
        """End the streams, let requests in progress end, and close the port."""
        self._closing.set()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(GRACE_S + 5)

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def serve_http(  # noqa: PLR0913 - what an administrator decides, by keyword only
    front: Front,
    host: str = LOOPBACK,
    port: int = PORT,
    *,
    hosts: Sequence[str] = (),
    limits: Limits | None = None,
    open: bool = False,
    data_dirs: Sequence[Path] = (),
    proxies: Sequence[str] = (),
) -> HttpServer:
    """A server that has its port and takes no request yet: `HttpServer.start` in a thread, `HttpServer.run` here.

    Args:
        front: the service.
        host: address to listen at; loopback alone is reached from this machine only.
        port: 0 takes a free one.
        hosts: names under which others call it, as a TLS proxy's.
        limits: how much one caller may have.
        open: ask for no token; on loopback only.
        data_dirs: folders whose files may be trained on by request.
        proxies: addresses of proxies whose X-Forwarded-For is believed.

    Raises:
        ConfigError: the port is taken, the host is none, or `open` with a host that others reach.
        StoreError: the ledger is away.
    """
    if open and not _is_loopback(host):
        raise ConfigError("without a token others could steer it", key="--host", value=host, allowed="127.0.0.1, ::1")
    taken = _listen(host, port)
    resources, ending = ExitStack(), threading.Event()
    try:
        access = _access(front.place, resources, hosts=hosts, limits=limits, open=open, data_dirs=data_dirs)
        app = build_app(front, access, ending)
    except BaseException:
        resources.close()
        taken.close()
        raise
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # the audit says what counts; a log of every look would hold names of sweeps
        server_header=False,
        proxy_headers=bool(proxies),  # believed of nobody else: whoever reaches the port could claim any address
        forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=512,
        h11_max_incomplete_event_size=1 << 16,
    )
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{taken.getsockname()[1]}"
    return HttpServer(url, uvicorn.Server(config), taken, ending, resources)


def _access(place: StorePlace, resources: ExitStack, **settings: Any) -> Access:
    """Accounts and audit of a store, over connections of their own: audit must not wait for who reads."""
    resources.enter_context(kept_open(place))
    ledger = resources.enter_context(closing(open_ledger(place.ledger)))
    make_tables(ledger.database)
    return Access(AccountBook(ledger.database), AuditLog(ledger.database), **settings)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
        taken.listen(512)  # from now on a second service is refused
    except OSError as error:
        taken.close()
        reason = error.strerror or str(error)
        key = "--port" if "in use" in reason or "ermission" in reason else "--host"
        value = port if key == "--port" else host
        raise ConfigError(f"cannot listen there: {reason}", key=key, value=value, allowed="a free port") from None
    except OverflowError:
        taken.close()
        raise ConfigError("is no port", key="--port", value=port, allowed="0 to 65535") from None
    return taken


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
