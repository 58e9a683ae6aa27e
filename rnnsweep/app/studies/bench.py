"""Speed of a row-update on this machine, beside the machine's own matrix-product rate.

One worker process per core, each with one thread, as a sweep runs on CPU cores; on a GPU one process. All start
together, and the slowest one counts. Updates are those of a rung, but for its last: on a GPU they are replayed.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from rnnsweep.core.pack import Pack
    from rnnsweep.core.program import Program

_GEMM = {"cpu": 1024, "cuda": 8192}
"""Sizes of the products that give the rate of a device."""
_WARM_UPDATES = 3


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        config: full config of a point. rows: in all. updates: of each row.
    """

    config: Mapping[str, Any]
    rows: int
    updates: int


def measure(
    config: Mapping[str, Any], engines: Sequence[str], rows: Sequence[int], processes: int | None, updates: int
) -> Iterator[dict[str, Any]]:
    """Time per row-update over engines and widths, each as soon as it is known.

    Args:
        config: full config of a point (`app.point.resolve_point`); its engine is replaced.
        engines: names to try. rows: widths, in all processes together.
        processes: how many at once; None: one per core, on a GPU one.
        updates: timed updates per row.

    Yields:
        Dictionaries with engine, device, rows, T, B, H, ms_per_row_update, gemm_gflops (of all processes together, same
        device and dtype), share_of_gemm (of 6 T B operations per entry of the recurrent matrix, H x H or H x gates, per
        row-update; None for a user's own step), note (why an engine fell back, as for cells without fused loops).
    """
    rates: dict[str, float] = {}
    for engine in engines:
        kind = _device(engine).type
        at_once = processes or (1 if kind == "cuda" else os.cpu_count() or 1)
        if kind not in rates:
            rates[kind] = sum(together(_gemm, [(config["dtype"], kind)] * at_once))
        for width in rows:
            parts = _split(width, at_once)
            jobs = [(Case({**config, "engine": engine}, part, updates),) for part in parts]
            timings = together(_train, jobs)
            seconds = max(item["seconds"] for item in timings)
            yield _result(timings[0], width, seconds / updates / width, rates[kind])


def _device(engine: str) -> torch.device:
    """Where an engine's rows are trained."""
    from rnnsweep.app.worker.device import device_of

    return device_of("cpu" if engine == "cpu" else "auto")


def _result(first: Mapping[str, Any], width: int, seconds: float, rate: float) -> dict[str, Any]:
    operations = first["operations"]
    return {
        "engine": first["engine"],
        "device": first["device"],
        "rows": width,
        "T": first["T"],
        "B": first["B"],
        "H": first["H"],
        "ms_per_row_update": seconds * 1e3,
        "gemm_gflops": rate,
        "share_of_gemm": None if operations is None else operations / seconds / rate / 1e9,
        "note": first["note"],
    }


def _split(rows: int, processes: int) -> list[int]:
    parts = [rows // processes + (index < rows % processes) for index in range(processes)]
    return [part for part in parts if part]


def together(work: Any, jobs: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run a job per process, all timed parts starting at once; results in order.

    Raises:
        RuntimeError: a process ended without a result.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(jobs))
    queues = [context.SimpleQueue() for _ in jobs]
    processes = [
        context.Process(target=_call, args=(work, barrier, queue, job)) for queue, job in zip(queues, jobs, strict=True)
    ]
    with _one_thread_for_children():
        for process in processes:
            process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a measuring process failed; its traceback is above")
    return [queue.get() for queue in queues]


@contextmanager
def _one_thread_for_children() -> Iterator[None]:
    """What processes inherit from here; afterwards this one's environment is as it was.

    numba reads its own again at every compilation, and refuses another number of threads than it has started.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _call(work: Any, barrier: Barrier, queue: Any, job: tuple[Any, ...]) -> None:
    try:
        queue.put(work(barrier, *job))
    except BaseException:
        barrier.abort()
        raise


def _gemm(barrier: Barrier, dtype: str, kind: str) -> float:
    """Products of large square matrices, on a CPU by one thread, GFLOP/s, best of 5."""
    import torch

    torch.set_num_threads(1)
    size = _GEMM[kind]
    matrix = torch.randn(size, size, dtype=getattr(torch, dtype), device=kind)
    torch.mm(matrix, matrix)
    wait_for(matrix.device)
    barrier.wait()
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(4):
            torch.mm(matrix, matrix)
        wait_for(matrix.device)
        best = min(best, (time.perf_counter() - started) / 4)
    return 2 * size**3 / best / 1e9


def wait_for(device: torch.device) -> None:
    """Until a device has done what it was asked for."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def pack_for(config: Mapping[str, Any], rows: int, device: torch.device, distinct: int | None = None) -> Pack:
    """Rows of a point, ready to train; data are their own.

    Args:
        config: full config of a point. device: where they are.
        distinct: make so many initial states and take them in turn, which saves time at thousands of rows.
    """
    from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
    from rnnsweep.core.pack import Member, Pack, Streams

    units = build_units(config)
    program = build_program(config, units, device)
    pack, hypers = Pack(program), row_hypers(units)
    states = [initial_state(program, units, Streams(0, index)) for index in range(min(rows, distinct or rows))]
    pack.join([(Member(i, 1 << 40, hypers, Streams(0, i)), states[i % len(states)]) for i in range(rows)])
    return pack


def operations_of(program: Program) -> int | None:
    """Of one row-update: 6 T B for each entry of the recurrent matrix; None for a user's own step."""
    from rnnsweep.core.recurrence.own_cell import OwnCell

    cell, hidden = program.family.cell, program.family.hidden
    if isinstance(cell, OwnCell):  # nobody but the user knows its products
        return None
    matrix = hidden * hidden if cell is None else cell.recurrent * cell.product
    return 6 * program.task.max_length * program.batch * matrix


def _train(barrier: Barrier, case: Case) -> dict[str, Any]:
    """Updates of a pack, data generation included, evaluation and checkpoints not."""
    from rnnsweep.app.worker.device import single_threaded
    from rnnsweep.core.tile import tiles

    single_threaded(1)
    pack = pack_for(case.config, case.rows, _device(case.config["engine"]))
    program, cut = pack.program, [tile for _, tile in tiles(pack)]
    for tile in cut:
        tile.tally.clear()
        # where updates are replayed, the first is called and the second recorded
        for _ in range(_WARM_UPDATES):
            tile.once_more()
    wait_for(program.device)
    barrier.wait()
    started = time.perf_counter()
    for tile in cut:
        for _ in range(case.updates):
            tile.once_more()
    wait_for(program.device)
    seconds = time.perf_counter() - started
    sizes = {"T": program.task.max_length, "B": program.batch, "H": program.family.hidden}
    names = {"engine": program.engine.name, "device": str(program.device), "note": program.engine_note}
    return {"seconds": seconds, "operations": operations_of(program), **sizes, **names}


def bench_config(overrides: Sequence[str], *, check_units: bool = True) -> dict[str, Any]:
    """The point that is measured: temporal order, T = 100, B = 10, H = 100, momentum SGD, clip 1; with overrides.

    Args:
        overrides: Hydra's grammar. check_units: as for `load`; without, neither Optuna nor a database is needed.
    """
    from pathlib import Path

    from rnnsweep.app.config.load import load

    unit = [
        "task=temporal_order",
        "task.length=100",
        "family.hidden=100",
        "training.batch=10",
        "optimizer.momentum=0.9",
        "controllers=[clip]",
        "space={}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        return load(None, [*unit, *overrides], store=Path(folder), check_units=check_units).resolved
