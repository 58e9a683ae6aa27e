"""What lives in a Ray worker process: one trainer, called one rung at a time."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rnnsweep.sweep.ports import Trainer
from rnnsweep.sweep.rows import Orders, RowFailure, RowReport, WorkerInfo

Prelude = Callable[[], None]
"""What a worker does before it is known what it will train."""


@dataclass(frozen=True)
class WorkerSpec:
    """Where a worker stands and what it may use.

    Attributes:
        worker: unique id.
        node: the node's label.
        cores: CPU cores, >= 1.
        gpus: GPUs that Ray has made visible, >= 0.
        py_paths: directories to import from, before all others.
    """

    worker: str
    node: str
    cores: int
    gpus: int
    py_paths: Sequence[str] = ()


class WorkerActor:
    """The actor's class; Ray runs its methods one after the other on one thread, in the order of the calls.

    Only `halt` and `news` come in between, on threads of their own: Ray cannot take back a call that waits in a busy
    worker, and what a rung waits for is to be known before it is over.

    The constructor only prepares the process, so that `hello` answers before anything heavy is imported and a trainer
    that hangs while it is built can be found and killed.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._trainer: Trainer | None = None
        self._halted = False
        self._rungs, self._news, self._told = 0, threading.Condition(), (False, 0, 0)
        # before any numeric library is imported: they read these variables once
        prepare_process(spec)
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="raylet watch", daemon=True).start()

    def hello(self) -> tuple[int, float]:
        """Process number and birth time (seconds since the epoch): what a hard kill needs."""
        import psutil

        return os.getpid(), psutil.Process().create_time()

    def prepare(self, prelude: bytes) -> None:
        """Do what can be done before it is known what will be trained, as imports; `build` meets what goes wrong."""
        from ray import cloudpickle

        with contextlib.suppress(Exception):
            # from the driver, as in `build`: who may call this actor runs code on the cluster in any case
            cloudpickle.loads(prelude)()

    def build(self, factory: bytes) -> WorkerInfo:
        """Unpickle the factory (from the driver, within one cluster) and build the trainer."""
        from ray import cloudpickle

        trainer: Trainer = cloudpickle.loads(factory)(self._spec.worker, self._spec.cores)
        trainer.watch(self._note)
        self._trainer = trainer
        # the driver's names: losses and exclusions go by them
        return replace(trainer.describe(), worker=self._spec.worker, node=self._spec.node)

    def advance(self, orders: Orders) -> tuple[list[RowReport], list[RowFailure]]:
        """One rung, see `Trainer.advance`; what it raises ends the worker. Once halted, what is left to report."""
        assert self._trainer is not None  # build comes first in the queue
        if self._halted:
            return self._trainer.settle()
        self._rungs += 1
        reports, failures = self._trainer.advance(orders)
        if self._halted:  # meanwhile: no further call may come
            late, lost = self._trainer.settle()
            reports, failures = [*reports, *late], [*failures, *lost]
        return reports, failures

    def halt(self) -> None:
        """Begin no more rungs; the one in progress ends."""
        self._halted = True

    def news(self, known: tuple[bool, int, int]) -> tuple[bool, int, int]:
        """What was told last, once that is not what the caller knows: it waits till then.

        Returns:
            Whether loops are being compiled; how many rungs were begun by then; row-updates done of the last of them.
        """
        with self._news:
            self._news.wait_for(lambda: self._told != known)
            return self._told

    def _note(self, compiling: bool, updates: int) -> None:
        with self._news:
            self._told = compiling, self._rungs, updates
            self._news.notify_all()

    def ping(self) -> None:
        """Answer: the process lives and is idle."""

    def close(self, last: Orders) -> None:
        """Obey the last orders, where they leave no row to train, and free the device."""
        if self._trainer is not None:
            if not last.empty:
                self._trainer.advance(last)
            self._trainer.close()


def prepare_process(spec: WorkerSpec) -> None:
    """Set the environment that numeric libraries read when they are imported, and the import path.

    One thread per library call (rows are the parallelism, and results must not depend on the thread count); numba's
    loops over rows take all cores of the worker. A worker without GPUs sees none, whatever the node has.
    """
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    os.environ["NUMBA_NUM_THREADS"] = str(spec.cores)
    if spec.gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # in front: a worker must import what the driver has checked, not an older copy that is installed
    sys.path[:0] = [path for path in spec.py_paths if path not in sys.path]


def _end_with_parent(parent: int) -> None:
    """End the process when its raylet is gone: Ray would leave it behind, with its device."""
    while os.getppid() == parent:
        time.sleep(0.5)
    # not sys.exit, which in a thread ends only the thread
    os._exit(1)
