"""The MLflow store and its UI: prepare the database once, serve it on loopback, link into it."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import shutil
import socket
import sqlite3
import sys
import time
import urllib.parse
import urllib.request
from contextlib import closing
from pathlib import Path

import psutil

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.dependent import DependentProcess
from rnnsweep.adapters.gate import VARIABLE
from rnnsweep.adapters.mlflow.library import (
    DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH,
    VERSION,
    MlflowClient,
    SqlAlchemyStore,
)
from rnnsweep.adapters.mlflow.store import store_errors
from rnnsweep.adapters.mlflow.ui_view import VIEW
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.user_cache import cache_folder, keep

WORKFLOW = {"workflowType": "machine_learning"}
"""The UI's half for training; without it a fresh browser opens on the one for language-model applications."""


def prepare(uri: str) -> None:
    """Create the store, before anyone else connects.

    Two processes that connect to a new SQLite store at once race its migrations, so a file lock keeps them apart; a
    process that is killed in them leaves a draft, never half a store; and the write-ahead log is switched on, so that
    the UI can read while the tracker writes. Servers are only greeted.

    Raises:
        StoreError: the store cannot be reached.
    """
    path = sqlite.path_of(uri)
    if path is None:
        with store_errors():
            MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
        return
    with store_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{path}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.is_file():
                _create(path)
            MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
            sqlite.write_ahead(path)


def _create(path: Path) -> None:
    """A store with all its tables, under its name only when it is complete."""
    draft = path.with_name(f"{path.name}.draft")
    for left in (draft, draft.with_name(f"{draft.name}-journal")):
        left.unlink(missing_ok=True)
    folder = cache_folder("mlflow")
    kept = folder and folder / f"{VERSION}.db"
    if kept is None or not _copied(kept, draft):
        draft.unlink(missing_ok=True)
        SqlAlchemyStore(sqlite.url_of(draft), DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).engine.dispose()
        if kept is not None:
            # for stores to come; where there is no room, they will be made as this one was
            keep(kept, draft.read_bytes())
    draft.replace(path)


def _copied(kept: Path, draft: Path) -> bool:
    """Whether a store is made of the tables that were kept: to make them anew takes MLflow's migrations a second."""
    now, place = int(time.time() * 1000), Path(DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).absolute() / "0"
    try:
        shutil.copyfile(kept, draft)
        with closing(sqlite3.connect(draft)) as tables, tables:
            # of the experiment that is there from the beginning: when, and below which directory, it was made
            tables.execute(
                "UPDATE experiments SET creation_time = ?, last_update_time = ?, artifact_location = ?",
                (now, now, str(place)),
            )
            return tables.execute("PRAGMA quick_check").fetchone() == ("ok",)
    except (OSError, sqlite3.Error):  # there is none yet, or it is no database
        return False


def ui_command(uri: str, host: str = "127.0.0.1", port: int = 5000) -> list[str]:
    """The command that serves the UI of a store; the store's URL travels in `ui_environment`, not for all to see.

    Raises:
        ConfigError: the store is a server already, or the host is not this machine alone.
    """
    if uri.startswith(("http://", "https://")):
        raise ConfigError("is served already", key="store.mlflow", value=uri, allowed="open it in a browser")
    if not _loopback(host):
        raise ConfigError(
            "needs authentication", key="host", value=host, allowed="127.0.0.1; else run an MLflow server"
        )
    return [sys.executable, "-m", "rnnsweep.adapters.mlflow.gated_ui", host, str(port)]


def ui_environment(uri: str, token: str = "") -> dict[str, str]:
    """This process's environment, the store's URL and the gate's token; no telemetry, no runners of model jobs.

    The runners are eight processes that only MLflow's other half uses; their start (17 s of processor time) is what
    the first visitor would wait for.
    """
    switches = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return {**os.environ, **switches, "MLFLOW_BACKEND_STORE_URI": uri, VARIABLE: token}


def serve(
    uri: str, host: str = "127.0.0.1", port: int = 5000, timeout: float = 60.0, *, token: str
) -> DependentProcess:
    """Start the UI and wait until it answers; the caller ends the process (`terminate`, then `wait`), or dies.

    The port should be free (`free_port`): another server that answers there is not taken for ours. Who opens it needs
    the token (`gate.with_token`); a program sends it as MLFLOW_TRACKING_TOKEN.

    Raises:
        StoreError: it does not come up within `timeout` seconds.
    """
    command = ui_command(uri, host, port)
    prepare(uri)
    process = DependentProcess(command, ui_environment(uri, token))
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        # in this order: another server must not be shown the token
        if _listens(process.pid, port) and _answers(f"http://{host}:{port}/health", token):
            return process
        time.sleep(0.2)
    process.terminate()
    process.wait()
    raise StoreError("MLflow UI", f"does not answer at {host}:{port}; is the port in use?")


def free_port(wanted: int, host: str = "127.0.0.1") -> int:
    """The wanted port, or the next one that nobody listens on.

    Raises:
        StoreError: a hundred ports are taken.
    """
    for port in range(wanted, min(wanted + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise StoreError("MLflow UI", f"no port is free from {wanted} on; choose another with --port")


def _listens(leader: int, port: int) -> bool:
    """Whether the process or one that it started listens on the port."""
    try:
        above = psutil.Process(leader)
        family = [above, *above.children(recursive=True)]
        sockets = [connection for process in family for connection in process.net_connections(kind="tcp")]
    except psutil.Error:  # one of them has just ended
        return False
    return any(connection.status == psutil.CONN_LISTEN and connection.laddr.port == port for connection in sockets)


def experiment_link(base_url: str, experiment_id: str, *, charts: bool = False) -> str:
    """Link to a sweep's trials in the view that the tracker stored: their columns, the best first; or to their charts.

    Example:
        >>> experiment_link("http://127.0.0.1:5000", "1")
        'http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=rnnsweep'
    """
    wanted = {**WORKFLOW, "viewStateShareKey": VIEW, **({"compareRunsMode": "CHART"} if charts else {})}
    return f"{base_url.rstrip('/')}/#/experiments/{experiment_id}/runs?{urllib.parse.urlencode(wanted)}"


def run_link(base_url: str, experiment_id: str, run_id: str) -> str:
    """Link to one run's page."""
    return f"{base_url.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}?{urllib.parse.urlencode(WORKFLOW)}"


def comparison_link(base_url: str, experiment_id: str, run_ids: list[str]) -> str:
    """Link to the UI's comparison of some runs.

    Example:
        >>> comparison_link("http://127.0.0.1:5000/", "1", ["a", "b"]).partition("&workflow")[0]
        'http://127.0.0.1:5000/#/compare-runs?runs=%5B%22a%22%2C%22b%22%5D&experiments=%5B%221%22%5D'
    """
    runs = urllib.parse.quote(json.dumps(run_ids, separators=(",", ":")), safe="")
    experiments = urllib.parse.quote(json.dumps([experiment_id]), safe="")
    tail = urllib.parse.urlencode(WORKFLOW)
    return f"{base_url.rstrip('/')}/#/compare-runs?runs={runs}&experiments={experiments}&{tail}"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answers(url: str, token: str) -> bool:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False
