"""A real HTTP server on this machine that takes webhooks, and fails as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What came, and what is answered.

    Attributes:
        got: bodies of the requests that were answered with 2xx. asked: ids of all requests.
        answers: statuses of the next answers, 200 when they are used up. refuse: event -> status that it always gets.
        delay: seconds before each answer. headers: sent with each answer.
    """

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.asked: list[str] = []
        self.paths: list[str] = []
        self.answers: list[int] = []
        self.refuse: dict[str, int] = {}
        self.delay = 0.0
        self.headers: dict[str, str] = {}
        self.url = ""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Serve until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.asked.append(self.headers["Idempotency-Key"])
            receiver.paths.append(self.path)
            time.sleep(receiver.delay)
            status = receiver.answers.pop(0) if receiver.answers else 200
            status = receiver.refuse.get(content.get("event", ""), status)
            if 200 <= status < 300:
                receiver.got.append(content)
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook/SECRET"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
