"""The start of a private Ray without what it does for others: 1.6 s to the first worker where it takes 3.8 s.

`ray.init` has no switches for these, so functions of Ray are replaced for the duration of the call; what a version of
Ray names otherwise is as Ray has it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from ray._private import services, utils
from ray._private.node import Node
from ray._private.state import GlobalState

LOOK_S, PATIENCE_S = 0.02, 30.0
"""Seconds between looks for the node, and how long they go on before Ray looks by itself."""
PRESTART = "RAY_prestart_worker_first_driver"


@contextlib.contextmanager
def lean() -> Iterator[None]:
    """What starts inside this context is needed by sweeps.

    - No web server of a dashboard that is off, no autoscaler's monitor, no forwarder of logs: three Python processes, a
      second of the start and another of the end. The node's agent is the minimal one, as where Ray is installed
      without its dashboard; to look for what the other one needs takes this process a quarter of a second.
    - No worker processes in advance, one for each core, all of which a driver would have to wait for: a machine with a
      GPU and many cores runs one.
    - The node is used as soon as it is there, see `_soon`.
    """
    own = {(owner, name): getattr(owner, name) for owner, name in _INSTEAD if hasattr(owner, name)}
    for owner, name in own:
        setattr(owner, name, _INSTEAD[owner, name](own[owner, name]))
    before = os.environ.get(PRESTART)
    os.environ[PRESTART] = "0" if before is None else before
    try:
        yield
    finally:
        for (owner, name), function in own.items():
            setattr(owner, name, function)
        if before is None:
            del os.environ[PRESTART]


def _soon(get_node: Callable[..., Any]) -> Callable[..., Any]:
    """Ray's `get_node`, which looks for a node once a second, called when the node is there."""

    def found(gcs_address: str, node_id: str) -> Any:
        with contextlib.suppress(Exception):  # whatever it is: Ray looks by itself
            state, end = GlobalState(), time.monotonic() + PATIENCE_S
            state._initialize_global_state(services._get_gcs_client_options(gcs_address))
            while time.monotonic() < end and all(node["NodeID"] != node_id for node in state.node_table()):
                time.sleep(LOOK_S)
        return get_node(gcs_address, node_id)

    return found


_INSTEAD: dict[tuple[Any, str], Callable[[Any], Any]] = {
    (services, "start_api_server"): lambda own: lambda *args, **options: (None, None),  # URL and process
    (Node, "start_monitor"): lambda own: lambda node: None,
    (Node, "start_log_monitor"): lambda own: lambda node: None,
    (utils, "get_dashboard_dependency_error"): lambda own: lambda: ImportError("there is no dashboard"),
    (services, "get_node"): _soon,
}
"""Owner and name -> what takes the place of the function there, made from it."""
