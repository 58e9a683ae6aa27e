"""Gated cells side by side on one machine: rnnsweep's packs, and torch.nn.LSTM and GRU with autograd.

The update is that of `benchmarks/speed.py` (T = 100, B = 10, temporal order, momentum SGD .9, clip 1, data generation
included), with the gated families over widths. Every program runs in one process per core with one thread each, all
starting together; rows are those of all processes together, and time per row-update is wall time over all rows' updates.
Programs take turns; the best turn of each counts. The floor is the 6 T B H x gates operations with the recurrent matrix
at the machine's rate for 1024 x 1024 products.

    python benchmarks/gated.py            prints the table; with --write also into docs/results/gated.md
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from speed import CLASSES, INPUTS, B, T, header, make_batch, table, timed

from rnnsweep.app.bench import bench_config, measure, together

WIDTHS = (16, 32, 64, 100, 128)
GATES = {"lstm": 4, "gru": 3}
PACKS = (2, 16, 64)
"""Rows in all processes together."""
RESULT = Path(__file__).parent.parent / "docs/results/gated.md"
NOTES = "\n## "


def torch_rows(barrier, family: str, hidden: int, updates: int) -> float:
    """torch.nn.LSTM or GRU, one network per process."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(os.getpid())
    rnn = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[family](INPUTS, hidden)
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

    return timed(barrier, step, updates)


def compare(family: str, hidden: int, cores: int, repeats: int) -> dict[str, float]:
    """ms per row-update of every program, and the GEMM rate, best of some turns."""
    config = bench_config([f"family={family}", f"family.hidden={hidden}"])
    found: dict[str, list[float]] = {}
    rate = 0.0
    for _ in range(repeats):
        seconds = max(together(torch_rows, [(family, hidden, 60)] * cores)) / cores
        found.setdefault("torch", []).append(seconds * 1e3)
        for rows in PACKS:
            (item,) = measure(config, ["cpu"], [rows], cores, max(5, 200 // rows))
            assert item["engine"] == "cpu", item["note"]
            found.setdefault(f"fused, {rows} rows", []).append(item["ms_per_row_update"])
            rate = max(rate, item["gemm_gflops"])
        (item,) = measure(config, ["reference"], [PACKS[-1]], cores, 3)
        found.setdefault("step by step", []).append(item["ms_per_row_update"])
    return {name: min(values) for name, values in found.items()} | {"rate": rate}


def line(family: str, hidden: int, found: dict[str, float]) -> list[str]:
    """One row of the table."""
    floor = 6 * T * B * hidden * GATES[family] * hidden / found["rate"] / 1e6
    best = found[f"fused, {PACKS[-1]} rows"]
    shown = [found["torch"], found["step by step"], *(found[f"fused, {rows} rows"] for rows in PACKS), floor]
    ratio = f"{found['torch'] / best:.1f}x"
    return [family, str(hidden), *(f"{value:.3f}" for value in shown), f"{floor / best:.0%}", ratio]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/results/gated.md")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each program")
    parser.add_argument("--only", nargs="*", type=int, default=WIDTHS, help="widths")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    head = ["family", "H", "torch.nn", f"step by step, {PACKS[-1]} rows"]
    head += [*(f"fused, {rows} rows" for rows in PACKS), "floor", "share of GEMM rate", "faster than torch.nn"]
    rows = []
    for family in GATES:
        for hidden in options.only:
            rows.append(line(family, hidden, compare(family, hidden, cores, options.repeats)))
            print(" ".join(rows[-1]), f"load {os.getloadavg()[0]:.1f}", flush=True)
    machine = header(cores).rsplit("Machine: ", 1)[1]
    about = (__doc__ or "").split("\n\n")[1]
    made = f"Made by `python benchmarks/gated.py --write`, best of {options.repeats} turns."
    text = f"# Gated cells\n\n{made}\n\n{about}\n\nMachine: {machine}\n{table(head, rows)}\n"
    print(text)
    if options.write:
        notes = RESULT.read_text().partition(NOTES) if RESULT.exists() else ("", "", "")
        RESULT.write_text(text + notes[1] + notes[2])


if __name__ == "__main__":
    main()
