"""Gated cells side by side on one machine: rnnsweep's packs, and torch.nn.LSTM and GRU with autograd.

The update is that of `benchmarks/speed.py` (T = 100, B = 10, temporal order, momentum SGD .9, clip 1, data generation
included), with the gated families over widths. One process per core with one thread each, all at work together; rows
are those of all processes. Programs take turns of a tenth of a second and more. Time is the processor time of a turn,
which is its wall time where nobody else works, over all rows' updates; the best turn of a process counts, and of the
processes the slowest. "Share of core" is processor time over wall time of the most disturbed of these turns. The floor
is the 6 T B H x gates operations with each recurrent matrix, and with those between layers, at the rate of 1024 x 1024
products, measured in turn with the rest.

    python benchmarks/gated.py               prints the table; with --write also into docs/results/gated.md
    python benchmarks/gated.py --layers 2    of networks with two layers; into docs/results/layers.md
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from speed import CLASSES, INPUTS, B, T, bench_pack, header, make_batch, table

from rnnsweep.app.studies.bench import bench_config, together

WIDTHS = (16, 32, 64, 100, 128)
GATES = {"lstm": 4, "gru": 3}
PACKS = (1, 8, 32)
"""Rows per process."""
GEMM = 1024
TURN = 0.1
"""Seconds that a turn should take at least, at 40 GFLOP/s."""
RESULTS = Path(__file__).parent.parent / "docs/results"
NOTES = "\n## "

Program = tuple[Callable[[], object], int, float]
"""What a call does, rows that it updates, its number of operations."""


def torch_program(family: str, hidden: int, layers: int) -> Callable[[], None]:
    """One update of one torch.nn.LSTM or GRU."""
    import torch

    generator = torch.Generator().manual_seed(os.getpid())
    rnn = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[family](INPUTS, hidden, num_layers=layers)
    out = torch.nn.Linear(hidden, CLASSES)
    params = [*rnn.parameters(), *out.parameters()]
    optimizer = torch.optim.SGD(params, 0.01, momentum=0.9)

    def step() -> None:
        inputs, targets = make_batch(generator, torch)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(out(rnn(inputs)[0][-1]), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()

    return step


def pack_program(family: str, hidden: int, layers: int, engine: str, rows: int) -> Callable[[], None]:
    """One update of every row of a pack."""
    from rnnsweep.core.controllers.base import Tally
    from rnnsweep.core.training import tiles, update

    sizes = [f"family.hidden={hidden}", f"family.layers={layers}"]
    pack = bench_pack(bench_config([f"family={family}", *sizes, f"engine={engine}"]), rows)
    assert pack.program.engine.name == engine, pack.program.engine_note
    cut = [(tile, Tally()) for _, tile in tiles(pack)]

    def step() -> None:
        for tile, tally in cut:
            update(tile, tally)

    return step


def operations_of(family: str, hidden: int, layers: int) -> float:
    """Of the products with recurrent matrices, and with those between layers."""
    return 6.0 * T * B * hidden * GATES[family] * hidden * (2 * layers - 1)


def programs(family: str, hidden: int, layers: int) -> dict[str, Program]:
    """All that take turns."""
    import torch

    torch.set_num_threads(1)
    matrix = torch.randn(GEMM, GEMM)
    operations = operations_of(family, hidden, layers)
    found: dict[str, Program] = {"gemm": (lambda: torch.mm(matrix, matrix), 1, 2.0 * GEMM**3)}
    found["torch"] = torch_program(family, hidden, layers), 1, operations
    found["step by step"] = (
        pack_program(family, hidden, layers, "reference", PACKS[-1]),
        PACKS[-1],
        operations * PACKS[-1],
    )
    for rows in PACKS:
        found[f"fused {rows}"] = pack_program(family, hidden, layers, "cpu", rows), rows, operations * rows
    return found


def job(barrier, family: str, hidden: int, layers: int, turns: int) -> dict[str, list[tuple[float, float]]]:
    """Per program and turn: processor seconds per row, and the share of its core that this process had."""
    chosen = programs(family, hidden, layers)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    for step, _, _ in chosen.values():
        step()
        step()
    for _ in range(turns):
        for name, (step, rows, operations) in chosen.items():
            count = math.ceil(TURN * 40e9 / operations)
            barrier.wait()
            started, used = time.perf_counter(), time.process_time()
            for _ in range(count):
                step()
            seconds, worked = time.perf_counter() - started, time.process_time() - used
            found[name].append((worked / count / rows, worked / seconds))
    return found


def compare(family: str, hidden: int, layers: int, cores: int, turns: int) -> tuple[dict[str, float], float]:
    """ms per row-update of every program (of the product, for `gemm`) in its best turn, and the smallest share."""
    each = together(job, [(family, hidden, layers, turns)] * cores)
    best, share = {}, 1.0
    for name in each[0]:
        chosen = [min(process[name]) for process in each]
        best[name] = max(seconds for seconds, _ in chosen) / cores * 1e3
        share = min(share, *(worked for _, worked in chosen))
    return best, share


def line(family: str, hidden: int, layers: int, found: dict[str, float], share: float) -> list[str]:
    """One row of the table."""
    rate = 2.0 * GEMM**3 / found["gemm"]
    floor = operations_of(family, hidden, layers) / rate
    best = found[f"fused {PACKS[-1]}"]
    shown = [found["torch"], found["step by step"], *(found[f"fused {rows}"] for rows in PACKS), floor]
    ratio = f"{found['torch'] / best:.1f}x"
    return [family, str(hidden), *(f"{value:.3f}" for value in shown), f"{floor / best:.0%}", ratio, f"{share:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/results/gated.md, or layers.md")
    parser.add_argument("--layers", type=int, default=1, help="layers of every network")
    parser.add_argument("--turns", type=int, default=6, help="turns of each program")
    parser.add_argument("--only", nargs="*", type=int, default=WIDTHS, help="widths")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    head = ["family", "H", "torch.nn", f"step by step, {cores * PACKS[-1]} rows"]
    head += [*(f"fused, {cores * rows} rows" for rows in PACKS), "floor"]
    head += ["share of GEMM rate", "faster than torch.nn", "share of core"]
    rows = []
    for family in GATES:
        for hidden in options.only:
            rows.append(
                line(family, hidden, options.layers, *compare(family, hidden, options.layers, cores, options.turns))
            )
            print(" ".join(rows[-1]), f"load {os.getloadavg()[0]:.1f}", flush=True)
    machine = header(cores).rsplit("Machine: ", 1)[1]
    about = (__doc__ or "").split("\n\n")[1]
    one = options.layers == 1
    command = f"python benchmarks/gated.py {'' if one else f'--layers {options.layers} '}--write"
    title, name = ("Gated cells", "gated.md") if one else (f"Gated cells, {options.layers} layers", "layers.md")
    result, made = RESULTS / name, f"Made by `{command}`, {options.turns} turns."
    text = f"# {title}\n\n{made}\n\n{about}\n\nMachine: {machine}\nms per row-update:\n\n{table(head, rows)}\n"
    print(text)
    if options.write:
        notes = result.read_text().partition(NOTES) if result.exists() else ("", "", "")
        result.write_text(text + notes[1] + notes[2])


if __name__ == "__main__":
    main()
