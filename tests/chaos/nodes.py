"""A Ray cluster of several nodes on this machine whose raylets, workers and head can be killed one by one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil

HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 10,  # less patience, and a busy machine loses healthy nodes
}
OWN = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Ray's processes inherit the environment of the process that starts them."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def patiently(start: Callable[[], Any]) -> Any:
    """Ray gives a node 30 s to start, which a starved machine may need more of."""
    for _ in range(4):
        with contextlib.suppress(Exception):
            return start()
    return start()


class Nodes:
    """A head without room for workers, and nodes with one core each.

    Attributes:
        address: of the head; the same after `restart`.
        variables: environment of all that runs there.
    """

    def __init__(self, count: int, variables: dict[str, str]) -> None:
        self.count, self.port, self.variables = count, free_port(), {**variables, **OWN}
        self.address = ""
        self._cluster: Any = None
        self._nodes: list[Any] = []

    def start(self) -> None:
        with environment(self.variables):
            from ray.cluster_utils import Cluster

            head = {"num_cpus": 0, "gcs_server_port": self.port, "_system_config": HEALTH, "include_dashboard": False}
            self._cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        self.address = self._cluster.address
        for _ in range(self.count):
            self.add()

    def add(self) -> None:
        """One more node."""
        with environment(self.variables):
            self._nodes.append(patiently(lambda: self._cluster.add_node(num_cpus=1, wait=False)))

    def tend(self) -> None:
        """Replace nodes that the head has given up on a starved machine."""
        for node in [node for node in self._nodes if node.all_processes["raylet"][0].process.poll() is not None]:
            self._nodes.remove(node)
            self._cluster.remove_node(node, allow_graceful=False)
            self.add()

    def workers(self) -> list[psutil.Process]:
        """Processes of rnnsweep's workers, whatever they are doing."""
        found = [process for node in self._nodes for process in family(raylet(node))]
        return [process for process in found if title(process).startswith("ray::Worker")]

    def kill_raylet(self, index: int) -> bool:
        """kill -9 of one node's raylet; a new node takes its place."""
        node = self._nodes.pop(index % len(self._nodes))
        os.kill(raylet(node), signal.SIGKILL)
        time.sleep(0.5)  # its workers end by themselves
        self._cluster.remove_node(node, allow_graceful=False)
        self.add()
        return True

    def kill_head(self) -> None:
        """kill -9 of the head with all its processes; nothing else is touched."""
        self._cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)

    def restart(self) -> None:
        """A fresh cluster at the same address."""
        self.stop()
        self.start()

    def stop(self) -> None:
        if self._cluster is None:
            return
        left = [process for node in self._nodes for process in family(raylet(node))]
        for node in [*self._nodes, self._cluster.head_node]:
            with contextlib.suppress(Exception):  # some of its processes are gone by our own doing
                node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._nodes, self._cluster = [], None


def raylet(node: Any) -> int:
    return node.all_processes["raylet"][0].process.pid


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def title(process: psutil.Process) -> str:
    try:
        line = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""
    return line[0] if line else ""
