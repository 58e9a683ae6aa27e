"""Updates without the host: the first is run, the second recorded as one graph, the others replayed.

On a GPU an update is hundreds of kernels, and starting them one by one takes longer than they run. A graph starts them
all at once, with the addresses that they had when it was recorded. Hence what an update must keep to, and what
`Unit.asks_host` says is not kept: no number is read, no shape depends on data, and what lasts is written in place.
`host_graph` does the same on the CPU, where calls take longer than the kernels of small networks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from rnnsweep.core import host_graph
from rnnsweep.core.host_graph import Work


def cuda_graph(work: Work) -> Work:
    """Do work that this device has done before; what is returned does it again, with one launch.

    Where something in it asks the host, a warning says so, and it is called each time.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            # The graph writes into what it made: the result lives as long as the graph does.
            made = work()
    except RuntimeError as error:
        # Nothing was done while recording: it is only slower from here on.
        warnings.warn(f"updates are not replayed: {str(error).splitlines()[0]}", RuntimeWarning, stacklevel=3)
        work()
        return work

    def replay() -> object:
        graph.replay()
        return made

    replay()
    return replay


def recorder(device: torch.device) -> Callable[[Work], Work]:
    """How work on this device is recorded."""
    return cuda_graph if device.type == "cuda" else host_graph.record


class Repeated:
    """Work that is done many times on the same tensors.

    Args:
        work: what is done; its result is thrown away.
        record: does it, and gives what does it again: `cuda_graph`, `host_graph.record`; None: it is called each time.
    """

    def __init__(self, work: Work, record: Callable[[Work], Work] | None) -> None:
        self._work, self._record = work, record
        self._begun = False

    def __call__(self) -> None:
        """Do it once more."""
        if self._begun and self._record is not None:
            record, self._record = self._record, None
            self._work = record(self._work)
            return
        # The first time it is only called: compilers and libraries set themselves up, and what lasts comes to be.
        self._begun = True
        self._work()
