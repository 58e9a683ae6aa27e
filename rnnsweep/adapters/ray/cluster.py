"""The Ray cluster as rnnsweep sees it: settings, the connection, and nodes with room for workers.

address=None   -> a private Ray on this machine, loopback only, token-protected, gone with its driver
address="auto" -> the cluster that this machine is a node of
address="host:port" -> the same, by the address of its head
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import secrets
import signal
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_system_temp_dir
from ray._private import ray_constants, services
from ray._private import worker as ray_worker
from ray._raylet import Config  # pyright: ignore[reportAttributeAccessIssue]
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rnnsweep.adapters.ray.lean_start import lean
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.session import ENDING

AUTO = "auto"
TOKEN_HINT = "A cluster that was started with tokens wants RAY_AUTH_MODE=token and the same token here."
LOG = logging.getLogger(__name__)
_MIB = 2**20
_STARTS = 3
_ANSWERS_S = 10.0
"""Seconds within which the head of a cluster must take a connection."""
_TRIES = 3
"""How often Ray tries to get an answer from it, 36 s each."""
_LONGEST_PARENT = 26
"""Characters: what Ray appends may make 81, and the path of a socket has 107 at most."""


@dataclass(frozen=True)
class RaySettings:
    """How many workers there are, where, and when one counts as lost. Values of ``conf/cluster/*.yaml``.

    Attributes:
        address: ``None`` starts Ray on this machine; ``auto`` or ``host:port`` joins a cluster.
        workers: upper limit on workers, >= 1; None takes all that the cluster has room for.
        cores_per_worker: CPU cores of one worker, >= 1.
        gpus_per_worker: GPUs of one worker, >= 0; ``auto`` is 1 on nodes with GPUs and 0 elsewhere. With 1 or more,
            nodes without GPUs get no workers; with 0, GPUs are hidden from the workers.
        deadline_s: a worker that returns nothing for so long is killed and lost; seconds, > 0.
        dashboard: whether a locally started Ray serves its dashboard (on loopback).
        py_paths: directories that workers put on `sys.path` before they unpickle the factory.

    Raises:
        ConfigError: a value is out of its range.
    """

    address: str | None = None
    workers: int | None = None
    cores_per_worker: int = 1
    gpus_per_worker: int | str | None = AUTO
    deadline_s: float = 600.0
    dashboard: bool = False
    py_paths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "py_paths", tuple(self.py_paths))
        if self.gpus_per_worker is None:
            object.__setattr__(self, "gpus_per_worker", AUTO)
        if self.workers is not None:
            _whole("cluster.workers", self.workers, 1, "a whole number >= 1, or null for all")
        _whole("cluster.cores_per_worker", self.cores_per_worker, 1, "a whole number >= 1")
        if self.gpus_per_worker != AUTO:
            _whole("cluster.gpus_per_worker", self.gpus_per_worker, 0, "a whole number >= 0, or auto")
        if isinstance(self.deadline_s, bool | str) or not self.deadline_s > 0:
            raise ConfigError("out of range", key="cluster.deadline_s", value=self.deadline_s, allowed="seconds > 0")
        # http:// is a dashboard and ray:// a client server: a driver joins by host:port
        if self.address is not None and "://" in self.address:
            raise ConfigError(
                "not an address that a driver can join",
                key="cluster.address",
                value=self.address,
                allowed="null (start Ray here), auto, host:port",
                hint="From outside a cluster use --submit with the address of its dashboard.",
            )


def _whole(key: str, value: object, least: int, allowed: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError("out of range", key=key, value=value, allowed=allowed)


@dataclass(frozen=True)
class Node:
    """A machine (or a raylet) that is alive.

    Attributes:
        id: Ray's node id, hexadecimal.
        label: short name that events, logs and `exclude` use: ``address:first eight digits of the id``.
        cpus, gpus: all that it offers to Ray, used or not.
    """

    id: str
    label: str
    cpus: int
    gpus: int

    def shape(self, settings: RaySettings) -> tuple[int, int, int]:
        """Workers that fit, and the cores and GPUs of each."""
        auto = 1 if self.gpus else 0
        gpus = auto if settings.gpus_per_worker == AUTO else int(settings.gpus_per_worker or 0)
        # what it has in all and not what is free: other jobs' shares come and go, and the actor just waits for its
        # place
        fit = self.cpus // settings.cores_per_worker
        return (min(fit, self.gpus // gpus) if gpus else fit), settings.cores_per_worker, gpus


def alive_nodes() -> list[Node]:
    """Nodes that the cluster counts as alive, in an order that does not depend on when it is asked."""
    nodes = []
    for entry in ray.nodes():
        if entry["Alive"]:
            label = f"{entry['NodeManagerAddress']}:{entry['NodeID'][:8]}"
            has = entry["Resources"]
            nodes.append(Node(entry["NodeID"], label, int(has.get("CPU", 0)), int(has.get("GPU", 0))))
    return sorted(nodes, key=lambda node: node.id)


def connect(settings: RaySettings) -> bool:
    """Start or join Ray; returns whether this call did it (then `disconnect` undoes it).

    A process that is connected already stays with its cluster.

    Raises:
        ConfigError: no cluster answers at the address, or this machine has fewer cores than one worker needs.
    """
    if ray.is_initialized():
        return False
    # Ray would report to its makers
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # workers hide GPUs themselves; no warning
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of being started in a thread before it heeds our level
    with _handlers_kept():
        if settings.address is None:
            _start_here(settings)
        else:
            _join(settings.address)
    return True


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep what this process does on SIGTERM, SIGINT and SIGHUP.

    Ray's core, in C++, takes SIGTERM over when it connects: the process would end at once, with a dump of its stack and
    exit code 15, and leave trials behind that nobody has asked to stop.
    """
    # As the operating system has them: Python lets the main thread alone set handlers, and Ray may start in another.
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.argtypes, get.restype = [ctypes.c_int], ctypes.c_void_p
    put.argtypes, put.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    before, known = {number: get(number) for number in ENDING}, handlers()
    try:
        yield
    finally:
        for number, handler in before.items():
            put(number, handler)
        if threading.current_thread() is threading.main_thread():
            heed_again(known)


def handlers() -> dict[signal.Signals, Any]:
    """What Python has installed for the signals that end a process; without those that are not its own."""
    installed = {number: signal.getsignal(number) for number in ENDING}
    return {number: handler for number, handler in installed.items() if handler is not None}


def heed_again(installed: Mapping[signal.Signals, Any] | None = None) -> None:
    """Install handlers again, those that Python knows by default; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in (installed or handlers()).items():
            signal.signal(number, handler)


def _protect() -> None:
    """Token authentication for a Ray of our own, unless RAY_AUTH_MODE says otherwise.

    The token is of this process alone and travels in the environment, which no other user may read: Ray would write it
    to a file in the home directory that everybody can. A token that the user named is kept.

    Ray has read the mode when it was imported; this refreshes it as Ray itself does. Not for clusters that we join:
    after a refresh, a driver with an explicit address loses every actor before it starts (Ray 2.60, measured).
    """
    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
    if mode.lower() != "token":
        return
    if not any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    Config.initialize("")


def check_token_file() -> None:
    """Refuse a token that every user of this machine can read: whoever has it runs code as the cluster's owner.

    Raises:
        ConfigError: the token file of a cluster to be joined is open to others.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    # any right of group or others
    if file.is_file() and file.stat().st_mode & 0o077:
        problem, hint = "other users can read this token", f"Close it with: chmod 600 {file}"
        raise ConfigError(problem, key="RAY_AUTH_TOKEN_PATH", value=str(file), hint=f"{hint}.")


def disconnect() -> None:
    """Leave the cluster; a Ray that `connect` started ends with all its processes."""
    ray.shutdown()


def ended_process() -> str | None:
    """What has ended of a Ray that this process has started: ``raylet`` or ``gcs_server``; None while both live.

    Asked of the operating system. To ask Ray itself would block, and once its GCS is gone, Ray ends this process after
    a minute.
    """
    node: Any = ray_worker._global_node  # None without a Ray
    if node is None:
        return None
    # its helpers may end without harm
    needed = (ray_constants.PROCESS_TYPE_GCS_SERVER, ray_constants.PROCESS_TYPE_RAYLET)
    return next((kind for kind, _ in node.dead_processes() if kind in needed), None)


def started_here() -> bool:
    """Whether Ray's processes are children of this one."""
    node: Any = ray_worker._global_node
    return node is not None and bool(node.all_processes)


def check_cores(settings: RaySettings) -> int:
    """Cores that this process may use: in a container or a Slurm step the machine has more.

    Raises:
        ConfigError: one worker needs more of them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if settings.cores_per_worker > cores:
        raise ConfigError(
            "more cores than this machine has",
            key="cluster.cores_per_worker",
            value=settings.cores_per_worker,
            allowed=f"1 to {cores}",
        )
    return cores


def _start_here(settings: RaySettings) -> None:
    cores = check_cores(settings)
    wanted = cores if settings.workers is None else min(cores, settings.workers * settings.cores_per_worker)
    _protect()
    options: dict[str, Any] = {
        "address": "local",  # not None: inside a job that would mean RAY_ADDRESS
        "num_cpus": max(wanted, 1),
        "include_dashboard": settings.dashboard,
        "dashboard_host": "127.0.0.1",
        # hardly more than the least that Ray takes: only orders and reports pass through it
        "object_store_memory": 80 * _MIB,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "_temp_dir": str(_own_folder() / "r"),
    }
    with _loopback_only(), contextlib.nullcontext() if settings.dashboard else lean():
        _init_patiently(options)


def _init_patiently(options: dict[str, Any]) -> None:
    """Start Ray; it gives its own processes 30 s for that, which a very busy machine may need more of."""
    for left in reversed(range(_STARTS)):
        try:
            ray.init(**options)
            return
        except Exception as problem:
            if not left or "timed out during startup" not in str(problem):
                raise
            LOG.warning("Ray did not start within its 30 s; trying again")
            ray.shutdown()


def _own_folder() -> Path:
    """A folder that only this user enters, for the sockets and logs of a Ray that is started here.

    Ray opens its folders to everybody (mode 0777), whatever the umask, so that users may share one Ray. Then another
    user may move the folder of our session away and put sockets of his own in its place, even where the session itself
    is closed.
    """
    parent = Path(get_default_system_temp_dir())
    parent = parent if len(str(parent)) <= _LONGEST_PARENT else Path("/tmp")
    folder = parent / f"ray-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    status = folder.lstat()  # not stat: a link may be anybody's
    closed = stat.S_ISDIR(status.st_mode) and not stat.S_IMODE(status.st_mode) & 0o077
    # somebody else may have been here first, to own the folder
    return folder if closed and status.st_uid == os.geteuid() else Path(tempfile.mkdtemp(prefix="ray-", dir=parent))


def _join(address: str) -> None:
    check_token_file()
    try:
        _reach(address)
        with _few_tries():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    # Ray raises each of them for an address at which nobody answers, depending on how far it got
    except (ConnectionError, RuntimeError, ValueError) as problem:
        raise ConfigError(
            f"no Ray cluster answers here ({str(problem).splitlines()[0]})",
            key="cluster.address",
            value=address,
            allowed="null (start Ray here), auto (on a node of the cluster), host:port of its head",
            hint=TOKEN_HINT,
        ) from problem


def _reach(address: str) -> None:
    """Open a connection to the head and close it: Ray would try for 12 minutes where nobody listens.

    Raises:
        ConnectionError: nobody does.
    """
    head = services.canonicalize_bootstrap_address(address) or ""  # "auto": what Ray finds; none is for Ray to say
    host, _, port = head.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS_S).close()
    except (OSError, OverflowError) as problem:
        raise ConnectionError(f"{head}: {problem}") from problem


@contextlib.contextmanager
def _few_tries() -> Iterator[None]:
    """Have Ray give up a head that takes connections and says nothing after 2 minutes; by itself it takes 12."""
    before = ray_constants.NUM_REDIS_GET_RETRIES
    ray_constants.NUM_REDIS_GET_RETRIES = _TRIES
    try:
        yield
    finally:
        ray_constants.NUM_REDIS_GET_RETRIES = before


@contextlib.contextmanager
def _loopback_only() -> Iterator[None]:
    """Make every server of a Ray that starts inside this context listen on 127.0.0.1.

    Ray on Linux replaces a given loopback address by the machine's own, and then listens on all interfaces. The switch
    that keeps it on loopback is the one for systems where it refuses clusters; Ray reads it at import, hence both.
    """
    name = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    before, was = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = was
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def kill_process(node_id: str, pid: int, born: float) -> None:
    """Send SIGKILL to a process of a node, unless its number has gone to another process meanwhile.

    `ray.kill` asks the process itself, which a stopped or stuck one never hears.
    """
    # num_cpus=0 below: the node is full, with the very worker that is to go
    on_that_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    ray.remote(_kill).options(num_cpus=0, max_retries=0, scheduling_strategy=on_that_node).remote(pid, born)


def _kill(pid: int, born: float) -> bool:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        # both times come from that machine; they are rounded to clock ticks
        if abs(process.create_time() - born) < 1.0:
            process.kill()
            return True
    return False
