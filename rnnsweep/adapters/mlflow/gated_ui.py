"""MLflow's own server behind our gate, in one process and on one port: what `rnnsweep ui` starts.

`mlflow server` has no place for a wrapped application but an entry point of an installed package; so what it does
before it starts uvicorn is done here, by its own functions.
"""

from __future__ import annotations

import os
import sys

from rnnsweep.adapters.gate import App, Receive, Scope, Send, asgi, gate_of_environment

_PROXIED = "mlflow-artifacts:/"
TRIALS, COMPARISON = "trials", "compare"
"""First parts of the short paths."""


def short_path(kind: str, experiment_id: str) -> str:
    """A path of ours that leads to the trials of a sweep or to their comparison: MLflow's own addresses fill a line."""
    return f"/{kind}/{experiment_id}"


def with_short_paths(app: App) -> App:
    """MLflow's application, where short paths lead to its own addresses."""

    async def shortened(scope: Scope, receive: Receive, send: Send) -> None:
        kind, _, experiment = str(scope.get("path", "")).strip("/").partition("/")
        if scope["type"] != "http" or kind not in (TRIALS, COMPARISON) or not experiment.isdecimal():
            await app(scope, receive, send)
            return
        from rnnsweep.adapters.mlflow.server import experiment_link  # imports MLflow: see `serve`

        place = experiment_link("", experiment, charts=kind == COMPARISON)
        await send({"type": "http.response.start", "status": 303, "headers": [(b"location", place.encode())]})
        await send({"type": "http.response.body", "body": b""})

    return shortened


def serve(host: str, port: int) -> None:
    """Serve the store that MLFLOW_BACKEND_STORE_URI names until the process is asked to end."""
    gate = gate_of_environment(port)
    uri, destination = os.environ["MLFLOW_BACKEND_STORE_URI"], os.environ.get("MLFLOW_ARTIFACTS_DESTINATION")
    # the names of mlflow.server.constants, which cannot be imported before: the package reads some of them at once
    os.environ.update(
        {
            "_MLFLOW_SERVER_FILE_STORE": uri,
            "_MLFLOW_SERVER_REGISTRY_STORE": uri,
            # new experiments of other clients get their artifacts through the server, as `mlflow server` has it
            "_MLFLOW_SERVER_ARTIFACT_ROOT": _PROXIED,
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": destination or "./mlartifacts",
            "_MLFLOW_SGI_NAME": "uvicorn",
        }
    )
    import uvicorn
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(uri, uri, _PROXIED)
    uvicorn.run(asgi(with_short_paths(app), gate), host=host, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
