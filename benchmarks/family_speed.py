"""One update of one row for every family, before and after a change, on one core.

    python benchmarks/family_speed.py [--before CHECKOUT] [--families NAME ...] [--turns 6] [--write]

A process per checkout, all pinned to one core with one thread, take turns of some updates each; the least processor
time of a turn counts, so that what others do on the machine is felt through the caches alone. The update is that of
`benchmarks/speed.py` (T = 100, B = 10, H = 100, temporal order, momentum SGD .9, clip 1, data included), of 8 rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROWS, UPDATES = 8, 3
HERE = Path(__file__).resolve().parent.parent
RESULT = HERE / "docs/results/family_speed.md"
FAMILIES = (
    "srn", "momentum_srn", "scornn", "momentum_scornn", "exprnn", "enrnn",
    "lstm", "momentum_lstm", "nesterov_lstm", "rmsprop_lstm", "adam_lstm", "nesterov_lstm_diff",
)  # fmt: skip


def work(families: list[str]) -> None:
    """Of one process: read a name a line, answer with seconds per row-update, and GFLOP/s for ``gemm``."""
    import torch

    from rnnsweep.app.studies.bench import bench_config
    from rnnsweep.app.worker.device import device_of, single_threaded
    from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
    from rnnsweep.core.controllers.base import Tally
    from rnnsweep.core.pack import Member, Pack, Streams
    from rnnsweep.core.training import tiles, update

    single_threaded(1)
    cut, sizes = {}, {}
    for name in families:
        config = {**bench_config([f"family={name}"]), "engine": "cpu"}
        units = build_units(config)
        program = build_program(config, units, device_of("cpu"))
        pack, streams = Pack(program), [Streams(0, index) for index in range(ROWS)]
        rows = [(Member(s.replica, 1 << 40, row_hypers(units), s), initial_state(program, units, s)) for s in streams]
        pack.join(rows)
        cut[name], cell = [tile for _, tile in tiles(pack)], program.family.cell
        hidden = program.family.hidden
        sizes[name] = hidden * hidden if cell is None else cell.recurrent * cell.product
        for _ in range(UPDATES):
            for tile in cut[name]:
                update(tile, Tally())
    matrix = torch.randn(1024, 1024)
    print(json.dumps(sizes), flush=True)
    for line in sys.stdin:
        name, times = line.strip(), []
        for _ in range(UPDATES):
            started = time.thread_time()
            if name == "gemm":
                torch.mm(matrix, matrix)
            else:
                for tile in cut[name]:
                    update(tile, Tally())
            times.append(time.thread_time() - started)
        print(2 * 1024**3 / min(times) / 1e9 if name == "gemm" else min(times) / ROWS, flush=True)


def started(checkout: Path, families: list[str]) -> tuple[subprocess.Popen[str], dict[str, int]]:
    """A process of a checkout's code, ready to be asked."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--work", "--families", *families]
    process = subprocess.Popen(
        command, env=environment, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def asked(process: subprocess.Popen[str], name: str) -> float:
    """What a process answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(name + "\n")
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
    found = {name: [[] for _ in processes] for name in ("gemm", *arguments.families)}
    for _ in range(arguments.turns):
        for name, answers in found.items():
            for (process, _), own in zip(processes, answers, strict=True):
                own.append(asked(process, name))
    for process, _ in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    text = document(found, processes[-1][1], arguments.turns)
    print(text)
    if arguments.write:
        RESULT.write_text(text)


def document(found: dict[str, list[list[float]]], sizes: dict[str, int], turns: int) -> str:
    """The table in markdown."""
    rate = max(max(own) for own in found.pop("gemm"))
    two = len(next(iter(found.values()))) == 2
    columns = ["family", *(["before, ms", "after, ms", "faster by"] if two else ["ms"]), "median turn, ms", "floor, ms"]
    lines = [
        "# Families' updates",
        "",
        f"Made by `python benchmarks/family_speed.py --write{' --before CHECKOUT' * two}`; before: the code without",
        "[decision 38](../decisions/0038-maps-and-filters.md).",
        "One update of one row on one core, one thread: T = 100, B = 10, H = 100, 8 rows at a time, float32; the least",
        f"processor time of {turns} turns of {UPDATES} updates. The floor is 6 T B operations per entry of the",
        f"recurrent matrix at the rate of 1024 x 1024 products there, {rate:.0f} GFLOP/s, without maps and filters.",
        "",
        f"Load of the machine meanwhile, with others at work: {os.getloadavg()[1]:.0f}. Read a tenth as none.",
        "",
        "| " + " | ".join(columns) + " |",
        "|---" * len(columns) + "|",
    ]
    for name, answers in found.items():
        best = [min(own) * 1e3 for own in answers]
        middle = sorted(answers[-1])[len(answers[-1]) // 2] * 1e3
        floor = 6 * 100 * 10 * sizes[name] / rate / 1e6
        faster = [f"{best[0] / best[1]:.1f}x"] if two else []
        cells = [name, *(f"{value:.2f}" for value in best), *faster, f"{middle:.2f}", f"{floor:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
