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
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

ROWS, UPDATES = 32, 3
OURS, TORCH = "ours", "torch"
GEMM, COPY = "gemm", "copy"
COPIED = 1 << 26
"""Bytes of what is copied: more than caches hold."""
T, B = 100, 10
HERE = Path(__file__).resolve().parent.parent
RESULT = HERE / "docs/results/family_speed.md"
FAMILIES = (
    "srn", "rate", "esn", "srn_feedback", "momentum_srn", "scornn", "momentum_scornn", "exprnn", "enrnn", "indrnn",
    "lstm", "gru", "momentum_lstm", "nesterov_lstm", "rmsprop_lstm", "adam_lstm", "nesterov_lstm_diff", "slstm",
    "mlstm", "cornn", "lipschitz", "antisymmetric", "lem", "mingru", "min_lstm", "lru", "unicornn", "linoss", "scurnn",
    "sbo", "lru_block", "s5",
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What an update of one row cannot do without, filters left out.

    Attributes:
        operations: of products, in the loop and of maps. bytes: of what a loop records, written once and read once.
        elementwise: instructions on one entry each, of the formulas of a step and of its way back.
    """

    operations: float
    bytes: float
    elementwise: float = 0.0

    def seconds(self, rate: float, copied: float) -> float:
        """At operations and bytes per second: what takes longer. An instruction takes the place of two operations."""
        return max((self.operations + 2 * self.elementwise) / rate, self.bytes / copied)

    def products(self, rate: float) -> float:
        """Seconds of the products alone."""
        return self.operations / rate


def work_of(program: Any, tile: Any) -> Work:
    """Of a family's loop: 6 T B operations for an entry of a matrix that each step multiplies with, 4 for w_in's."""
    import elementwise as counted

    from rnnsweep.core.recurrence.state_space import StateSpaceCell

    family, cell = program.family, program.family.cell
    values, name = program.layout.view(tile.params), type(family).__name__
    weights = family.weights(values, tile.unit_hypers("family"))
    recurrent = 0 if weights.diagonals else weights.w_rec[0].numel()
    own = {key: value[0].numel() for key, value in weights.cell.items() if value.ndim == 3}
    into = 0 if weights.w_in is None else weights.w_in[0].numel()
    written = recorded(program, tile)
    each = T * B * counted.of_step(family, weights, T)
    operations = 6 * (recurrent + sum(own.values())) + 4 * into
    if isinstance(cell, StateSpaceCell):
        # The loss is the last step's: what is behind the recurrence is asked for there alone, both ways.
        operations = 6 * own["b"] + 6 * (own["c"] + own.get("w_gate", 0)) / T + 4 * into
    if name == "Esn":  # nothing of the loop is trained, and of what it records the last state is read again
        return Work(2 * T * B * (recurrent + into), written, T * B * counted.TANH * family.hidden)
    if name == "Mlstm":
        # The loss is the last step's, whose query meets all keys and values once, and so does its error. On the way
        # back a sequence's inputs are added up, with four numbers of each head.
        operations = 2 * into + 10 * family.hidden + 8 * (1 + weights.w_in.shape[1]) * cell.heads
        each = T * B * counted.of_memory(cell.heads, family.hidden / T)
        written -= 4 * (T - 1) * B * 2 * family.hidden  # other queries and output gates are not made
        # Read again are keys, values, and what weighs them.
        return Work(T * B * operations, written + 4 * T * B * (2 * family.hidden + 2 * cell.heads), each)
    return Work(T * B * operations + map_operations(name, family, values), 2 * written, each)


def recorded(program: Any, tile: Any) -> float:
    """Bytes of a row that the loop's way there leaves behind for the way back, or to be seen."""
    import torch
    from torch.utils._pytree import tree_leaves

    (wire,), found = program.wires, []

    def spy(forward: Callable[..., Any]) -> Callable[..., Any]:
        def spied(*arguments: Any) -> Any:
            found.append(forward(*arguments))
            return found[-1]

        return spied

    names = [name for name in ("forward", "forward_last") if hasattr(wire.engine, name)]
    for name in names:
        setattr(wire.engine, name, spy(getattr(wire.engine, name)))
    tile.once_more()
    for name in names:
        delattr(wire.engine, name)
    given = ("inputs", "weights", "lengths", "start", "cell")
    parts = [value for name, value in vars(found[0]).items() if name not in given]
    leaves = [vars(part) if is_dataclass(part) else part for part in parts]
    tensors = [leaf for leaf in tree_leaves(leaves) if isinstance(leaf, torch.Tensor)]
    return sum(x.numel() * x.itemsize for x in tensors) / len(found[0].h)


def map_operations(name: str, family: Any, values: dict[str, Any]) -> float:
    """Once an update: 2 N^3 for a product or an inverse of N x N, 13 N^3 for eigenvalues and the vectors of one."""
    if name == "ExpRnn":
        from rnnsweep.core.families.exponential_map import by_products
        from rnnsweep.core.families.orthogonal_maps import skew

        squarings = float(by_products(skew(values["a_skew"])).halvings.double().mean())
        return (14 + 3 * squarings) * 2 * family.hidden**3  # five and an inverse forward, eight back
    cayley = {"Scornn": family.hidden, "MomentumScornn": family.hidden, "Scurnn": 2 * family.hidden}
    if name == "Enrnn":
        return 6 * family.n_long**3 + 13 * family.n_short**3
    return 6 * cayley.get(name, 0) ** 3  # an inverse, and two products back; complex ones as matrices of twice the size


def prepared(name: str) -> tuple[list[Callable[[], object]], Work]:
    """What one update of all rows calls, in turn, of ours and of torch's; and what it cannot do without."""
    import torch
    from speed import make_batch
    from torch_families import PROGRAMS, torch_update

    from rnnsweep.app.studies.bench import bench_config
    from rnnsweep.app.worker.device import device_of
    from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
    from rnnsweep.core.pack import Member, Pack, Streams
    from rnnsweep.core.training import tiles

    config = {**bench_config([f"family={name}"]), "engine": "cpu"}
    units = build_units(config)
    program = build_program(config, units, device_of("cpu"))
    pack, streams = Pack(program), [Streams(0, index) for index in range(ROWS)]
    rows = [(Member(s.replica, 1 << 40, row_hypers(units), s), initial_state(program, units, s)) for s in streams]
    pack.join(rows)
    cut = [tile for _, tile in tiles(pack)]

    def ours() -> None:
        for tile in cut:
            tile.once_more()

    work = work_of(program, cut[0])
    if name not in PROGRAMS:
        return [ours], work
    values = {key: value[0].clone() for key, value in program.layout.view(cut[0].params).items()}
    hypers = {key: float(value[0]) for key, value in cut[0].unit_hypers("family").items()}
    generator = torch.Generator().manual_seed(1)
    peer = torch_update(name, values, hypers, lambda: make_batch(generator, torch))
    return [ours, torch.enable_grad()(peer)], work


def work(families: list[str]) -> None:
    """Of one process: read a program and a name a line, answer with seconds per row-update, GFLOP/s for products."""
    import torch

    from rnnsweep.app.worker.device import single_threaded

    single_threaded(1)
    matrix, source, target = torch.randn(1024, 1024), torch.ones(COPIED // 4), torch.zeros(COPIED // 4)
    programs: dict[tuple[str, str], Callable[[], object]] = {
        (OURS, GEMM): lambda: torch.mm(matrix, matrix),
        (OURS, COPY): lambda: target.copy_(source),
    }
    sizes: dict[str, tuple[float, float, float]] = {}
    for name in families:
        calls, work = prepared(name)
        sizes[name] = (work.operations, work.bytes, work.elementwise)
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
        rates = {GEMM: 2 * 1024**3 / min(times), COPY: 2 * COPIED / min(times)}
        print(rates.get(name, min(times) / rows), flush=True)


def started(checkout: Path, families: list[str]) -> tuple[subprocess.Popen[str], dict[str, Work]]:
    """A process of a checkout's code, ready to be asked."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--work", "--families", *families]
    process = subprocess.Popen(
        command, env=environment, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, {name: Work(*sizes) for name, sizes in json.loads(process.stdout.readline()).items()}


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
    asks = [(process, name) for name in (GEMM, COPY, *arguments.families) for process, _ in processes]
    times: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(arguments.turns):
        for process, name in asks:
            checkout = [one for one, _ in processes].index(process)
            times.setdefault((OURS, name, checkout), []).append(asked(process, OURS, name))
            if process is newest and name in arguments.families:
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
    times: dict[tuple[str, str, int], list[float]], sizes: dict[str, Work], arguments: argparse.Namespace
) -> str:
    """The table in markdown."""
    import elementwise as counted

    last = 0 if arguments.before is None else 1
    rate, copied = (max(max(times[OURS, name, one]) for one in range(last + 1)) for name in (GEMM, COPY))
    before = ["before, ms", "faster by"] if last else []
    columns = [
        "family",
        "ms",
        *before,
        "median turn, ms",
        "floor, ms",
        "of the floor's rate",
        "products alone",
        "torch, ms",
        "torch / ours",
    ]
    lines = [
        "# Families' updates",
        "",
        f"Made by `python benchmarks/family_speed.py --write{' --before CHECKOUT' * last}`, on {processor()}.",
        "One update of one row on one core, one thread: T = 100, B = 10, H = 100, 32 rows at a time, float32; the",
        f"least processor time of {arguments.turns} turns of {UPDATES} updates. The floor is what takes longer: its",
        "operations, or to write what the loop records and to read it once at the rate of a copy, "
        f"{copied / 1e9:.0f} GB/s.",
        "Operations are 6 T B for each entry of the matrices that a step multiplies with, 4 for one of the inputs'",
        "(`esn`, which is not trained: 2; blocks: what is behind the recurrence at the last step alone; `mlstm`:",
        "the one query of the last step, there and back), at the",
        f"rate of 1024 x 1024 products there, {rate / 1e9:.0f} GFLOP/s; maps by their own (2 N^3 for a product or an",
        "inverse, 13 N^3 for eigenvalues and the vectors of one); and an instruction, in the place of two",
        "operations, for each of a step's formulas and of their way back, on each entry (a tanh is "
        f"{counted.TANH:.0f}). Filters, and a matrix memory's m,",
        "are not in it. Products alone: their share of the time, by the same rate. torch: one network, as the authors'",
        "programs have it, a loop over the steps with autograd (`mlstm`: its parallel form), or torch's module where",
        "there is one.",
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
        floor = sizes[name].seconds(rate, copied) * 1e3
        cells = [name, f"{ours:.2f}", *([f"{old:.2f}", f"{old / ours:.1f}x"] if last else [])]
        cells += [f"{sorted(turns)[len(turns) // 2] * 1e3:.2f}"]
        alone = sizes[name].products(rate) * 1e3
        cells += [f"{floor:.2f}", f"{floor / ours:.0%}", f"{alone / ours:.0%}"]
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
