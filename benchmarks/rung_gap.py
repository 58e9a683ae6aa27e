"""What happens between two rungs of a pack, in milliseconds by phase: ``python -m benchmarks.rung_gap``.

A trainer as a worker has it, on whichever device there is; reports and files of a rung are finished beside the next,
as on a GPU. Per phase: wall time, and processor time of the thread that starts the device's work; on a GPU a phase is
waited for, so that it is charged with what it has started. What the device is there for is `training` without the last
update, which measures more; all other time is lost to it. Rungs after the second are averaged. With --updates too few,
reports wait for their files.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rnnsweep.app.config.load import load
from rnnsweep.app.worker import prelude, trainer
from rnnsweep.app.worker.checkpoint_writers import CheckpointWriters
from rnnsweep.app.worker.factory import trainer_factory
from rnnsweep.core import diagnostics, evaluation, training
from rnnsweep.core.pack import Pack
from rnnsweep.sweep.rows import Orders, RowSpec

PHASES: tuple[tuple[Any, str, str], ...] = (
    (training, "_train", "training"),
    (training, "update", "  of that, the last update"),
    (diagnostics, "states", "    of that, states"),
    (training, "_keep_profiles", "profiles"),
    (diagnostics, "spectra_of", "matrices to the host"),
    (evaluation, "evaluate", "evaluation"),
    (training, "_rows", "metrics to the host"),
    (Pack, "snapshots", "snapshots"),
    (trainer.PackTrainer, "_report_written", "reports of the rung before"),
    (CheckpointWriters, "begin", "files begun"),
    (trainer.PackTrainer, "advance", "the whole call"),
)


class Phases:
    """Times functions where they stand.

    Attributes:
        spent: phase -> wall and processor time, seconds.
    """

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}

    def watch(self, owner: Any, name: str, phase: str) -> None:
        """Put a stopwatch around a function or method."""
        work: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **named: Any) -> Any:
            _settle()
            wall, own = time.perf_counter(), time.thread_time()
            found = work(*args, **named)
            _settle()
            before = self.spent.get(phase, (0.0, 0.0))
            self.spent[phase] = before[0] + time.perf_counter() - wall, before[1] + time.thread_time() - own
            return found

        setattr(owner, name, timed)


def _settle() -> None:
    # what is found late is found by other threads, which have nothing to do with the device
    if torch.cuda.is_available() and threading.current_thread() is threading.main_thread():
        torch.cuda.synchronize()


def main() -> None:
    """Train, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rungs", type=int, default=6)
    parser.add_argument("--updates", type=int, default=1500, help="of a rung")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("words", nargs="*", help="of the config, such as task.length=10")
    given = parser.parse_args()
    own = [f"training.report_every={given.updates}", f"budget.updates={given.updates * (given.rungs + 2)}"]
    fixed = ["name=gap", "space={}", "family.hidden=100", "training.batch=10", "training.stop_solved=false"]
    prelude.load("auto")
    with tempfile.TemporaryDirectory() as folder:
        config = load(None, [*fixed, "controllers=[clip]", *own, *given.words], store=Path(folder), check_units=False)
        worker = trainer_factory(config)("w0", given.cores)
        worker.overlaps = True
        rates = [0.001 * 10 ** (number / given.rows) for number in range(given.rows)]
        total = given.updates * (given.rungs + 2)
        rows = tuple(RowSpec(n, 0, "0001", {"optimizer.lr": rate}, total, ()) for n, rate in enumerate(rates))
        _, failures = worker.advance(Orders(join=rows))
        assert not failures, failures[0]
        worker.advance(Orders())
        phases = Phases()
        for owner, name, phase in PHASES:
            phases.watch(owner, name, phase)
        for _ in range(given.rungs):
            worker.advance(Orders())
        worker.close()
    print(f"{given.rows} rows on {worker.device}, ms per rung of {given.updates} updates: wall, and the thread's own")
    for _, _, phase in PHASES:
        wall, own_time = phases.spent[phase]
        print(f"{phase:28} {1000 * wall / given.rungs:9.1f} {1000 * own_time / given.rungs:9.1f}")


if __name__ == "__main__":
    main()
