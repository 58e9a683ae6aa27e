"""One update of one row for every family on one core, before and after a change, beside the authors' form in torch.

    python benchmarks/family_speed.py [--before CHECKOUT] [--families NAME ...] [--turns 6] [--write]

A process per checkout, all pinned to one core with one thread, take turns of some updates each; the least processor
time of a turn counts, so that what others do on the machine is felt through the caches alone. The update is that of
`benchmarks/speed.py` (T = 100, B = 10, H = 100, temporal order, momentum SGD .9, clip 1, data included), of 32 rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROWS, UPDATES = 32, 3
OURS, TORCH = "ours", "torch"
GEMM = "gemm"
HERE = Path(__file__).resolve().parent.parent
RESULT = HERE / "docs/results/family_speed.md"
FAMILIES = (
    "srn", "momentum_srn", "scornn", "momentum_scornn", "exprnn", "enrnn", "indrnn",
    "lstm", "gru", "momentum_lstm", "nesterov_lstm", "rmsprop_lstm", "adam_lstm", "nesterov_lstm_diff",
    "cornn", "lipschitz", "antisymmetric", "mingru", "lru", "unicornn", "linoss", "scurnn", "sbo",
)  # fmt: skip


DIAGONAL = ("indrnn", "lru")
"""Whose units see themselves alone: no product in their floor."""


def prepared(name: str) -> tuple[list[Callable[[], object]], int]:
    """What one update of all rows calls, in turn, of ours and of torch's; and entries of the recurrent matrix."""
    import torch
    from speed import make_batch
    from torch_families import PROGRAMS, torch_update

    from rnnsweep.app.studies.bench import bench_config
    from rnnsweep.app.worker.device import device_of
    from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
    from rnnsweep.core.controllers.base import Tally
    from rnnsweep.core.pack import Member, Pack, Streams
    from rnnsweep.core.training import tiles, update

    config = {**bench_config([f"family={name}"]), "engine": "cpu"}
    units = build_units(config)
    program = build_program(config, units, device_of("cpu"))
    pack, streams = Pack(program), [Streams(0, index) for index in range(ROWS)]
    rows = [(Member(s.replica, 1 << 40, row_hypers(units), s), initial_state(program, units, s)) for s in streams]
    pack.join(rows)
    cut, cell, hidden = [tile for _, tile in tiles(pack)], program.family.cell, program.family.hidden
    size = hidden * hidden if cell is None else cell.recurrent * cell.product
    if getattr(getattr(cell, "formulas", None), "matrix", ""):
        size += hidden * hidden  # the step's second product

    def ours() -> None:
        for tile in cut:
            update(tile, Tally())

    if name not in PROGRAMS:
        return [ours], size
    values = {key: value[0].clone() for key, value in program.layout.view(cut[0].params).items()}
    hypers = {key: float(value[0]) for key, value in cut[0].unit_hypers("family").items()}
    generator = torch.Generator().manual_seed(1)
    peer = torch_update(name, values, hypers, lambda: make_batch(generator, torch))
    return [ours, torch.enable_grad()(peer)], 0 if name in DIAGONAL else size


def work(families: list[str]) -> None:
    """Of one process: read a program and a name a line, answer with seconds per row-update, GFLOP/s for products."""
    import torch

    from rnnsweep.app.worker.device import single_threaded

    single_threaded(1)
    matrix = torch.randn(1024, 1024)
    programs: dict[tuple[str, str], Callable[[], object]] = {(OURS, GEMM): lambda: torch.mm(matrix, matrix)}
    sizes: dict[str, int] = {}
    for name in families:
        calls, sizes[name] = prepared(name)
        programs |= zip(((OURS, name), (TORCH, name)), calls, strict=False)
        for call in calls:
            call()
    print(json.dumps(sizes), flush=True)
    for line in sys.stdin:
        program, name = line.split()
        times: list[float] = []
        for _ in range(UPDATES):
            begun = time.process_time()  # of all threads: autograd's way back has one of its own
            programs.get((program, name), int)()
            times.append(time.process_time() - begun)
        rows = ROWS if program == OURS else 1
        print(2 * 1024**3 / min(times) / 1e9 if name == GEMM else min(times) / rows, flush=True)


def started(checkout: Path, families: list[str]) -> tuple[subprocess.Popen[str], dict[str, int]]:
    """A process of a checkout's code, ready to be asked."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--work", "--families", *families]
    process = subprocess.Popen(
        command, env=environment, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def asked(process: subprocess.Popen[str], program: str, name: str) -> float:
    """What a process answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{program} {name}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main() -> None:
    """Measure, print, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="root of another checkout")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.relative_to(HERE)}")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.families)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # children keep to it
    checkouts = [HERE] if arguments.before is None else [arguments.before.resolve(), HERE]
    processes = [started(checkout, arguments.families) for checkout in checkouts]
    newest = processes[-1][0]
    asks = [(process, name) for name in (GEMM, *arguments.families) for process, _ in processes]
    times: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(arguments.turns):
        for process, name in asks:
            checkout = [one for one, _ in processes].index(process)
            times.setdefault((OURS, name, checkout), []).append(asked(process, OURS, name))
            if process is newest and name != GEMM:
                times.setdefault((TORCH, name, checkout), []).append(asked(process, TORCH, name))
    for process, _ in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    text = document(times, processes[-1][1], arguments)
    print(text)
    if arguments.write:
        RESULT.write_text(text)


def document(
    times: dict[tuple[str, str, int], list[float]], sizes: dict[str, int], arguments: argparse.Namespace
) -> str:
    """The table in markdown."""
    last = 0 if arguments.before is None else 1
    rate = max(max(turns) for (_, name, _), turns in times.items() if name == GEMM)
    before = ["before, ms", "faster by"] if last else []
    columns = [
        "family",
        "ms",
        *before,
        "median turn, ms",
        "floor, ms",
        "of the floor's rate",
        "torch, ms",
        "torch / ours",
    ]
    lines = [
        "# Families' updates",
        "",
        f"Made by `python benchmarks/family_speed.py --write{' --before CHECKOUT' * last}`, on {processor()}.",
        "One update of one row on one core, one thread: T = 100, B = 10, H = 100, 32 rows at a time, float32;",
        f"the least processor time of {arguments.turns} turns of {UPDATES} updates. The floor is 6 T B operations per",
        f"entry of the recurrent matrix at the rate of 1024 x 1024 products there, {rate:.0f} GFLOP/s, without maps,",
        "filters and what is elementwise; cells without such a matrix have none. torch: one network, as the authors'",
        "programs have it, a loop over the steps with autograd, or torch's module where there is one.",
        "",
        f"Load of the machine meanwhile: {os.getloadavg()[1]:.0f}. Read a tenth as none.",
        "",
        "| " + " | ".join(columns) + " |",
        "|---" * len(columns) + "|",
    ]
    for name in arguments.families:
        turns = times[OURS, name, last]
        ours, peer = min(turns) * 1e3, min(times[TORCH, name, last]) * 1e3
        old = min(times[OURS, name, 0]) * 1e3
        floor = 6 * 100 * 10 * sizes[name] / rate / 1e6
        cells = [name, f"{ours:.2f}", *([f"{old:.2f}", f"{old / ours:.1f}x"] if last else [])]
        cells += [f"{sorted(turns)[len(turns) // 2] * 1e3:.2f}"]
        cells += [f"{floor:.2f}", f"{floor / ours:.0%}"] if floor else ["", ""]
        cells += [f"{peer:.1f}", f"{peer / ours:.0f}x"] if peer > 1e-3 else ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def processor() -> str:
    """Its name, as Linux has it."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0].partition(":")[2].strip() if names else "an unnamed processor"


if __name__ == "__main__":
    main()
