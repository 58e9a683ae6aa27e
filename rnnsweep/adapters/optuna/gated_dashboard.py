"""optuna-dashboard behind our gate, in one process and on one port: what `rnnsweep ui --optuna` starts."""

from __future__ import annotations

import sys
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from rnnsweep.adapters.gate import gate_of_environment, wsgi


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the first request's line holds the token."""
        del format, args


def serve(url: str, host: str, port: int) -> None:
    """Serve the studies of a database until the process is asked to end."""
    gate = gate_of_environment(port)
    from optuna_dashboard import wsgi as dashboard  # the extra `dashboard`

    with make_server(host, port, wsgi(dashboard(url), gate), _Server, _Silent) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
