"""Ways into a running service. One so far: HTTP, for the API, the live page and scrapes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rnnsweep.app.accounts import TOKEN_FILE, first_token
from rnnsweep.service.front import Front

Door = Callable[[Front], AbstractContextManager[str]]
"""Opens a way in while the service runs; gives a line that says where it is."""


@dataclass(frozen=True)
class HttpOptions:
    """Where the service listens, as `http.serve_http` has it.

    Attributes:
        host, port: where. open: ask for no token.
        hosts: names under which others call it. data_dirs: folders whose files may be trained on by request.
        proxies: addresses whose X-Forwarded-For is believed.
    """

    host: str
    port: int
    open: bool = False
    hosts: tuple[str, ...] = ()
    data_dirs: tuple[Path, ...] = ()
    proxies: tuple[str, ...] = ()


def http_door(options: HttpOptions) -> Door:
    """The API and the page over HTTP; makes the first account of a store that has none, and shows its token once."""

    @contextmanager
    def opened(front: Front) -> Iterator[str]:
        from rnnsweep.service.http import serve_http  # FastAPI: seconds that a refused option need not wait for

        settings = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
        host, port = settings.pop("host"), settings.pop("port")
        server = serve_http(front, host, port, **settings)
        token = None if options.open else first_token(front.place)
        with server.start():
            line = f"Page and API: {server.url}"
            yield line if token is None else f"{line}\n{_shown(token, front)}"

    return opened


def _shown(token: str, front: Front) -> str:
    """A token is for somebody's eyes: no log is to keep it."""
    kept = front.place.root / TOKEN_FILE
    return f"Your token, shown this once: {token} (also in {kept})" if sys.stderr.isatty() else f"Your token: in {kept}"
