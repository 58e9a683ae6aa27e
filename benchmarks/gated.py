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
    python benchmarks/gated.py --regularised    H = 100 with regularisers; into a page of its own

With regularisers torch's side is torch.nn.LSTM(num_layers=2, dropout=.3) for dropout between layers; for what is inside
the loop there is no module in torch, and a loop over torch.nn.functional's operations stands for it, as in the sources.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speed import CLASSES, INPUTS, B, T, bench_pack, header, make_batch, table

from rnnsweep.app.studies.bench import bench_config, together

WIDTHS = (16, 32, 64, 100, 128)
GATES = {"lstm": 4, "gru": 3}
PACKS = (1, 8, 32)
"""Rows per process."""
GEMM = 1024
TURN = 0.1
"""Seconds that a turn should take at least, at 40 GFLOP/s."""
REGULARISED = {"dropout": ("family.dropout=0.3",), "zoneout": ("family.zoneout=0.1", "family.zoneout_cell=0.3"),
    "layer norm": ("family.layer_norm=true",)}  # fmt: skip
"""What is measured of regularisers: its name -> keys; dropout of two layers, the others of one."""
RESULTS = Path(__file__).parent.parent / "docs/results"
NOTES = "\n## "

Program = tuple[Callable[[], object], int, float]
"""What a call does, rows that it updates, its number of operations."""


class StepLstm:
    """An LSTM step by step in torch: with layer norm (Ba et al. 2016), or with zoneout (Krueger et al. 2017)."""

    def __init__(self, hidden: int, arm: str) -> None:
        import torch

        self.hidden, self.arm, bound = hidden, arm, hidden**-0.5
        sizes = ((INPUTS, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,))
        self.w_in, self.w_rec, self.b = (torch.empty(*size).uniform_(-bound, bound).requires_grad_() for size in sizes)
        norms = (4 * hidden, 4 * hidden, hidden, hidden) if arm == "layer norm" else ()
        self.norms = [torch.ones(size).requires_grad_() for size in norms]

    def parameters(self):
        """All that is trained."""
        return [self.w_in, self.w_rec, self.b, *self.norms]

    def __call__(self, inputs):
        """States [T, B, H], as torch.nn.LSTM returns them."""
        import torch
        from torch.nn.functional import layer_norm

        H, drives = self.hidden, inputs @ self.w_in
        h = c = inputs.new_zeros(inputs.shape[1], H)
        if self.arm == "layer norm":
            gain, gain_in, cell_gain, cell_bias = self.norms
            drives = layer_norm(drives, (4 * H,), gain_in)
        drives = drives + self.b
        states = []
        for t in range(len(inputs)):
            a = h @ self.w_rec
            a = layer_norm(a, (4 * H,), gain) if self.arm == "layer norm" else a
            i, f, g, o = (a + drives[t]).chunk(4, -1)
            new = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            shown = layer_norm(new, (H,), cell_gain, cell_bias) if self.arm == "layer norm" else new
            state = torch.sigmoid(o) * torch.tanh(shown)
            if self.arm == "zoneout":
                state = torch.where(torch.rand_like(h) < 0.1, h, state)
                new = torch.where(torch.rand_like(c) < 0.3, c, new)
            h, c = state, new
            states.append(h)
        return torch.stack(states), None


def torch_program(family: str, hidden: int, layers: int, arm: str = "") -> Callable[[], None]:
    """One update of one torch.nn.LSTM or GRU, or of what stands for it."""
    import torch

    generator = torch.Generator().manual_seed(os.getpid())
    if arm in ("layer norm", "zoneout"):
        rnn: Any = StepLstm(hidden, arm)
    else:
        rate = 0.3 if arm == "dropout" else 0.0
        rnn = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[family](INPUTS, hidden, num_layers=layers, dropout=rate)
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


def pack_program(family: str, hidden: int, layers: int, engine: str, rows: int, arm: str = "") -> Callable[[], None]:
    """One update of every row of a pack."""
    from rnnsweep.core.controllers.base import Tally
    from rnnsweep.core.training import tiles, update

    sizes = [f"family.hidden={hidden}", f"family.layers={layers}", *REGULARISED.get(arm, ())]
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


def programs(family: str, hidden: int, layers: int, arm: str = "") -> dict[str, Program]:
    """All that take turns."""
    import torch

    torch.set_num_threads(1)
    matrix = torch.randn(GEMM, GEMM)
    operations = operations_of(family, hidden, layers)
    found: dict[str, Program] = {"gemm": (lambda: torch.mm(matrix, matrix), 1, 2.0 * GEMM**3)}
    found["torch"] = torch_program(family, hidden, layers, arm), 1, operations
    found["step by step"] = (
        pack_program(family, hidden, layers, "reference", PACKS[-1], arm),
        PACKS[-1],
        operations * PACKS[-1],
    )
    for rows in PACKS:
        step = pack_program(family, hidden, layers, "cpu", rows, arm)
        found[f"fused {rows}"] = step, rows, operations * rows
    return found


def job(
    barrier, family: str, hidden: int, layers: int, turns: int, arm: str = ""
) -> dict[str, list[tuple[float, float]]]:
    """Per program and turn: processor seconds per row, and the share of its core that this process had."""
    chosen = programs(family, hidden, layers, arm)
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


def compare(
    family: str, hidden: int, layers: int, cores: int, turns: int, arm: str = ""
) -> tuple[dict[str, float], float]:
    """ms per row-update of every program (of the product, for `gemm`) in its best turn, and the smallest share."""
    each = together(job, [(family, hidden, layers, turns, arm)] * cores)
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
    parser.add_argument("--regularised", action="store_true", help="with regularisers, H = 100")
    parser.add_argument("--turns", type=int, default=6, help="turns of each program")
    parser.add_argument("--only", nargs="*", type=int, default=WIDTHS, help="widths")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    head = ["family", "H", "torch.nn", f"step by step, {cores * PACKS[-1]} rows"]
    head += [*(f"fused, {cores * rows} rows" for rows in PACKS), "floor"]
    head += ["share of GEMM rate", "faster than torch.nn", "share of core"]
    rows = []
    if options.regularised:
        cases = [("lstm", 100, 2 if arm == "dropout" else 1, arm) for arm in REGULARISED]
    else:
        cases = [(family, hidden, options.layers, "") for family in GATES for hidden in options.only]
    for family, hidden, layers, arm in cases:
        found = line(family, hidden, layers, *compare(family, hidden, layers, cores, options.turns, arm))
        found[0] = f"{family}, {layers} layer{'s' * (layers > 1)}, {arm}" if arm else family
        rows.append(found)
        print(" ".join(rows[-1]), f"load {os.getloadavg()[0]:.1f}", flush=True)
    machine = header(cores).rsplit("Machine: ", 1)[1]
    parts = (__doc__ or "").split("\n\n")
    about = parts[1] + ("\n\n" + parts[3].strip() if options.regularised else "")
    which, title, name = "", "Gated cells", "gated.md"
    if options.regularised:
        which, title, name = "--regularised ", "Regularised loops", "regularised.md"
    elif options.layers > 1:
        which, title, name = f"--layers {options.layers} ", f"Gated cells, {options.layers} layers", "layers.md"
    command = f"python benchmarks/gated.py {which}--write"
    result, made = RESULTS / name, f"Made by `{command}`, {options.turns} turns."
    text = f"# {title}\n\n{made}\n\n{about}\n\nMachine: {machine}\nms per row-update:\n\n{table(head, rows)}\n"
    print(text)
    if options.write:
        notes = result.read_text().partition(NOTES) if result.exists() else ("", "", "")
        result.write_text(text + notes[1] + notes[2])


if __name__ == "__main__":
    main()
