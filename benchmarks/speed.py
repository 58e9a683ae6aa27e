"""Side by side on one machine: rnnsweep, torch.nn.RNN with autograd, JAX scan (per process, and vmapped over rows).

The measured unit: one update of one row, T = 100, B = 10, H = 100, SRN tanh, momentum SGD .9, clip 1, temporal order,
data generation included. Every program runs in one process per core with one thread each, all starting together; time
per row-update is wall time over all rows' updates.

    python benchmarks/speed.py            prints the tables and, with --write, docs/results/speed.md
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rnnsweep.app.studies.bench import bench_config, measure, together

T, B, H, INPUTS, CLASSES = 100, 10, 100, 6, 4
OPERATIONS = 6 * T * B * H * H
RESULT = Path(__file__).parent.parent / "docs/results/speed.md"


def make_batch(generator, torch, device="cpu"):
    """Temporal order in plain torch, vectorised: what a user would write."""
    how = {"generator": generator, "device": device}
    symbols = torch.randint(2, 6, (T, B), **how)
    n = T // 10
    first = torch.randint(0, n, (B,), **how) + n
    second = torch.randint(0, n, (B,), **how) + T // 2
    bits = torch.randint(0, 2, (2, B), **how)
    lane = torch.arange(B, device=device)
    symbols[first, lane], symbols[second, lane] = bits[0], bits[1]
    return torch.nn.functional.one_hot(symbols, INPUTS).float(), bits[0] + 2 * bits[1]


def torch_rows(barrier, updates: int) -> float:
    """torch.nn.RNN, one network per process."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(os.getpid())
    rnn, out = torch.nn.RNN(INPUTS, H), torch.nn.Linear(H, CLASSES)
    params = [*rnn.parameters(), *out.parameters()]
    optimizer = torch.optim.SGD(params, 0.01, momentum=0.9)

    def step() -> None:
        inputs, targets = make_batch(generator, torch)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(out(rnn(inputs)[1][0]), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()

    return timed(barrier, step, updates)


def jax_rows(barrier, updates: int, rows: int) -> float:
    """`jax_step` on one thread."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return timed(barrier, jax_step(rows), updates)


def jax_step(rows: int) -> Callable[[], None]:
    """An update by a jit-compiled scan; with rows > 1, vmapped over networks."""
    import jax
    import jax.numpy as jnp

    def init(key):
        keys = jax.random.split(key, 3)
        shapes = {"w": (H, H), "u": (INPUTS, H), "o": (H, CLASSES)}
        params = {n: 0.1 * jax.random.normal(k, s) for (n, s), k in zip(shapes.items(), keys, strict=True)}
        return params | {"b": jnp.zeros(H), "c": jnp.zeros(CLASSES)}

    def batch(key):
        k = jax.random.split(key, 4)
        n, lane = T // 10, jnp.arange(B)
        symbols = jax.random.randint(k[0], (T, B), 2, 6)
        first, second = jax.random.randint(k[1], (B,), n, 2 * n), jax.random.randint(k[2], (B,), T // 2, T // 2 + n)
        bits = jax.random.randint(k[3], (2, B), 0, 2)
        symbols = symbols.at[first, lane].set(bits[0]).at[second, lane].set(bits[1])
        return jax.nn.one_hot(symbols, INPUTS), bits[0] + 2 * bits[1]

    def loss(params, inputs, targets):
        def cell(h, u):
            return jnp.tanh(h @ params["w"] + u @ params["u"] + params["b"]), None

        h, _ = jax.lax.scan(cell, jnp.zeros((B, H)), inputs)
        logits = jax.nn.log_softmax(h @ params["o"] + params["c"])
        return -jnp.take_along_axis(logits, targets[:, None], 1).mean()

    def update(params, velocity, key):
        key, now = jax.random.split(key)
        gradients = jax.grad(loss)(params, *batch(now))
        norm = jnp.sqrt(sum((g * g).sum() for g in jax.tree.leaves(gradients)))
        scale = jnp.minimum(1.0, 1.0 / norm)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + scale * g, velocity, gradients)
        return jax.tree.map(lambda p, v: p - 0.01 * v, params, velocity), velocity, key

    keys = jax.random.split(jax.random.PRNGKey(os.getpid()), rows)
    state = [jax.vmap(init)(keys), None, keys]
    state[1] = jax.tree.map(jnp.zeros_like, state[0])
    program = jax.vmap(update)
    if rows == 1:
        state = [jax.tree.map(lambda x: x[0], part) for part in state]
        program = update
    program = jax.jit(program, donate_argnums=(0, 1))

    def step() -> None:
        state[:] = program(*state)
        jax.block_until_ready(state[0]["w"])

    return step


def packed_torch_rows(barrier, updates: int, rows: int) -> float:
    """Batched products over rows with autograd: the obvious way to pack."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(os.getpid())
    shapes = {"w": (rows, H, H), "u": (rows, INPUTS, H), "o": (rows, H, CLASSES), "b": (rows, 1, H)}
    params = {n: (0.1 * torch.randn(s, generator=generator)).requires_grad_() for n, s in shapes.items()}
    optimizer = torch.optim.SGD(params.values(), 0.01, momentum=0.9)

    def step() -> None:
        batches = [make_batch(generator, torch) for _ in range(rows)]
        inputs, targets = torch.stack([b[0] for b in batches]), torch.stack([b[1] for b in batches])
        optimizer.zero_grad()
        drive = (inputs.flatten(1, 2) @ params["u"] + params["b"]).unflatten(1, (T, B))
        h = torch.zeros(rows, B, H)
        for t in range(T):
            h = torch.tanh(h @ params["w"] + drive[:, t])
        logits = h @ params["o"]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").div(B).backward()
        grads = [p.grad for p in params.values()]
        norm = sum(g.flatten(1).square().sum(1) for g in grads).sqrt()
        scale = torch.where(norm > 1, 1 / norm, torch.ones_like(norm))
        for g in grads:
            g.mul_(scale[:, None, None])
        optimizer.step()

    return timed(barrier, step, updates)


def timed(barrier, step, updates: int) -> float:
    """Seconds per call after a warm-up, all processes starting together."""
    for _ in range(5):
        step()
    barrier.wait()
    started = time.perf_counter()
    for _ in range(updates):
        step()
    return (time.perf_counter() - started) / updates


def peers(cores: int) -> list[tuple[str, float]]:
    """(name, ms per row-update) of the other programs."""
    found = [("torch.nn.RNN, one process per core", max(together(torch_rows, [(200,)] * cores)) / cores)]
    found.append(
        ("torch, 32 rows packed by bmm per core", max(together(packed_torch_rows, [(10, 32)] * cores)) / cores / 32)
    )
    if importlib.util.find_spec("jax"):
        found.append(("JAX scan, one process per core", max(together(jax_rows, [(400, 1)] * cores)) / cores))
        found.append(
            ("JAX scan vmapped over 32 rows per core", max(together(jax_rows, [(30, 32)] * cores)) / cores / 32)
        )
    else:
        print("JAX is not installed (pip install rnnsweep[jax]): its rows are left out")
    return [(name, seconds * 1e3) for name, seconds in found]


VARIANTS = [
    ("plain update", []),
    ("with Omega", ["controllers=[clip,omega]", "controllers.omega.weight=2"]),
    ("with sampling", ["controllers=[clip,sampling]", "controllers.sampling.q_max=1", "controllers.sampling.q_min=-1"]),
    (
        "with both",
        [
            *("controllers=[clip,omega,sampling]", "controllers.omega.weight=2"),
            *("controllers.sampling.q_max=1", "controllers.sampling.q_min=-1"),
        ],
    ),
]
ACTIVATIONS = ("sigmoid", "relu", "leaky_relu", "elu", "identity", "modrelu", "oplu")
SHAPES = [[f"family.activation={name}"] for name in ACTIVATIONS]
SHAPES += [[f"task.length={length}"] for length in (20, 50, 200, 1000)]
SHAPES += [[f"family.hidden={hidden}"] for hidden in (16, 32, 50, 64, 128, 256, 512)]
SHAPES += [[f"training.batch={batch}"] for batch in (1, 5, 20, 50)]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def repeated(
    overrides: list[str], engine: str, widths: list[int], cores: int, repeats: int = 3
) -> list[dict[str, Any]]:
    """Each width's median of some runs, each of about 3200 row-updates of the unit's size or as long."""
    config, found = bench_config(overrides), []
    shape = config["task"]["length"] / 100 * config["family"]["hidden"] / 100 * config["training"]["batch"] / 10
    work = 3200 / max(1, shape) / (5 if engine == "reference" else 1)
    for width in widths:
        runs = [next(measure(config, [engine], [width], cores, max(10, round(work / width)))) for _ in range(repeats)]
        found.append(sorted(runs, key=lambda run: run["ms_per_row_update"])[repeats // 2])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/results/speed.md")
    parser.add_argument("--quick", action="store_true", help="widths and peers only")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    parts = [header(cores)]
    ours = repeated([], "cpu", [8, 16, 32, 64, 128, 256, 512], cores)
    ours += repeated([], "reference", [8, 64], cores)
    best = min(item["ms_per_row_update"] for item in ours)
    rate = ours[0]["gemm_gflops"]
    floor = OPERATIONS / rate / 1e6
    parts.append(
        f"Floor: {OPERATIONS / 1e6:.0f} MFLOP at {rate:.0f} GFLOP/s (all cores, 1024 x 1024) = {floor:.3f} ms.\n"
    )
    parts.append("## Widths and engines\n")
    parts.append(
        table(
            ["engine", "rows", "ms per row-update", "share of GEMM rate"],
            [[i["engine"], str(i["rows"]), f"{i['ms_per_row_update']:.3f}", f"{i['share_of_gemm']:.0%}"] for i in ours],
        )
    )
    parts.append("\n## Peers\n")
    parts.append(
        table(
            ["program", "ms per row-update", "rnnsweep is faster by"],
            [[name, f"{ms:.3f}", f"{ms / best:.1f}x"] for name, ms in peers(cores)],
        )
    )
    if not options.quick:
        parts += more(cores)
    text = "\n".join(parts) + "\n"
    print(text)
    if options.write:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(text)


def more(cores: int) -> list[str]:
    """Controllers' cost, other shapes."""
    rows, plain = [], None
    for name, overrides in VARIANTS:
        ms = repeated(overrides, "cpu", [64], cores)[0]["ms_per_row_update"]
        plain = ms if plain is None else plain
        rows.append([name, f"{ms:.3f}", f"{ms / plain:.2f}"])
    parts = ["\n## Cost of controllers (64 rows)\n", table(["update", "ms per row-update", "relative"], rows)]
    rows = []
    for overrides in SHAPES:
        item = repeated(overrides, "cpu", [16], cores, repeats=1)[0]
        rows.append(
            [
                " ".join(overrides),
                item["engine"] + (f" ({item['note']})" if item["note"] else ""),
                f"{item['ms_per_row_update']:.3f}",
                f"{item['share_of_gemm']:.0%}",
            ]
        )
    return [
        *parts,
        *shares(cores),
        "\n## Other shapes (16 rows)\n",
        table(["change", "engine", "ms per row-update", "share of GEMM rate"], rows),
    ]


def shares(cores: int) -> list[str]:
    """What data and evaluation cost beside the update, and memory per row beside the memory model."""
    found = together(share_job, [(bench_config([]),)] * cores)
    data, evaluation = (max(item[name] for item in found) for name in ("data", "evaluation"))
    memory = together(memory_job, [(bench_config([]),)])[0]
    return [
        "\n## Data, evaluation, memory (64 rows per process)\n",
        f"- data generation: {data:.1%} of an update",
        f"- evaluation at the default sizes and periods: {evaluation:.1%} of a rung's updates",
        f"- memory: {memory['measured']:.0f} KB per row measured (growth of the resident set from 64 to 512 rows), "
        f"{memory['model']:.0f} KB by the memory model",
    ]


def bench_pack(config, rows: int):
    """A pack of fresh rows."""
    from rnnsweep.app.worker.device import device_of, single_threaded
    from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
    from rnnsweep.core.pack import Member, Pack, Streams

    single_threaded(1)
    units = build_units(config)
    program = build_program(config, units, device_of("cpu"))
    pack, hypers = Pack(program), row_hypers(units)
    streams = [Streams(0, index) for index in range(rows)]
    pack.join([(Member(s.replica, 1 << 40, hypers, s), initial_state(program, units, s)) for s in streams])
    return pack


def share_job(barrier, config) -> dict[str, float]:
    """Times of data generation and evaluation over those of updates."""
    from rnnsweep.core.controllers.base import Tally
    from rnnsweep.core.evaluation import evaluate
    from rnnsweep.core.training import tiles, train_batch, update

    (_, tile), *_ = tiles(bench_pack(config, 64))
    works = {
        "update": lambda: update(tile, Tally()),
        "data": lambda: train_batch(tile),
        "evaluation": lambda: evaluate(tile, tile.keys["eval"]),
    }
    for work in works.values():
        work()
    barrier.wait()
    took = {}
    for name, work in works.items():
        times = []
        for _ in range(20):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        took[name] = sorted(times)[len(times) // 2]
    training = config["training"]
    rung = took["update"] * training["report_every"] * training["eval_every"]
    return {"data": took["data"] / took["update"], "evaluation": took["evaluation"] / rung}


def memory_job(barrier, config) -> dict[str, float]:
    """Growth of the resident set per row, KB, beside the model's."""
    import psutil

    from rnnsweep.app.worker.device import row_bytes
    from rnnsweep.core.training import train_rung

    barrier.wait()
    sizes = []
    for rows in (64, 512):
        pack = bench_pack(config, rows)
        train_rung(pack, 3, 1)
        sizes.append(psutil.Process().memory_info().rss)
    return {"measured": (sizes[1] - sizes[0]) / 448 / 1024, "model": row_bytes(pack.program) / 1024}


def header(cores: int) -> str:
    """Machine and versions."""
    import torch

    from rnnsweep.app.worker.device import device_name

    versions = {n: importlib.metadata.version(n) for n in ("torch", "numba", "numpy")}
    if importlib.util.find_spec("jax"):
        versions["jax"] = importlib.metadata.version("jax")
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    machine = f"{device_name(torch.device('cpu'))}, {cores} cores, Python {platform.python_version()}, {listed}"
    return (
        "# Speed\n\nMade by `python benchmarks/speed.py --write`. One update of one row: T = 100, B = 10, H = 100, SRN "
        f"tanh, momentum SGD .9, clip 1, data generation included.\n\nMachine: {machine}.\n"
    )


if __name__ == "__main__":
    main()
