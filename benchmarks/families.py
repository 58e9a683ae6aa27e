"""Learning of every family on a short task, orthogonal families on copying, momentum on digits, feedback on a wave.

    python benchmarks/families.py [--only NAME ...]     prints and keeps; with --write also docs/results/families.md

One pack per case, one thread. Nothing is tuned per seed; settings stand in the table.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent.parent / "docs/results/families.md"
STORE = RESULT.with_suffix(".jsonl")
SHORT = [
    "task=temporal_order",
    "task.length=30",
    "family.hidden=32",
    "init=glorot",
    "optimizer=adam",
    "optimizer.lr=0.005",
]
COPYING = ["task=copying", "task.length=100", "family.hidden=64", "training.eval_size=100"]
DIGITS = ["task=sequential_digits", "task.permute=true", "family.hidden=64", "init=glorot", "optimizer=rmsprop"]
WAVE = [
    *("task=periodic_output", "family.hidden=50", "init=glorot", "optimizer=adam", "optimizer.lr=0.001"),
    *("training.batch=1", "training.eval_size=1"),
]
FORCED = ("learner=teacher_forcing",)


@dataclass(frozen=True)
class Case:
    """One table row: overrides, own ones of the row, seeds, updates per rung, rungs, and the metric that is shown."""

    table: str
    name: str
    overrides: tuple[str, ...]
    own: tuple[str, ...] = ()
    rows: int = 4
    every: int = 100
    rungs: int = 20
    metric: str = "valid/error"


def cases() -> list[Case]:
    """All of them."""
    from rnnsweep.app.config.load import search_path

    plain = ("init=orthogonal", "optimizer.lr=0.002", "+controllers=clip", "controllers.clip.threshold=1")
    special = {
        "esn": (
            *("learner=ridge", "dtype=float64", "training.batch=200"),
            *("family.hidden=200", "family.rho=0.99", "family.input_scale=0.01"),
        ),
        "sbo": ("family.eta=0.1", "family.mu=0.9"),
        "cornn": ("family.dt=0.3", "optimizer.lr=0.02"),
        "lipschitz": ("family.step=0.3", "optimizer.lr=0.01"),
        "srn": plain,
        "momentum_srn": plain,
        "nesterov_lstm_diff": ("family.restart=2",),
        "nesterov_lstm": ("family.restart=2",),
    }
    found = [
        Case("short", name, (*SHORT, f"family={name}"), special.get(name, ()))
        for name in search_path().options("family")
        if name != "srn_feedback"  # has nothing to feed back where there is no target at every step: see the wave
    ]
    for name in ("srn", "scornn", "exprnn", "momentum_scornn"):
        optimizer = ("optimizer=grouped", "optimizer.main=rmsprop", "init=cayley")
        found.append(Case("copying", name, (*COPYING, f"family={name}", *optimizer), (), 2, 100, 20, "valid/loss"))
    for name, own in (("lstm", ()), ("momentum_lstm", ("family.mu=0.6", "family.s=1.0"))):
        found.append(Case("digits", name, (*DIGITS, f"family={name}", "training.batch=50"), own, 3, 100, 30))
    for name, own in (
        ("srn", ()),
        ("srn_feedback", ()),
        ("srn_feedback, forced", FORCED),
        ("srn_feedback, less and less forced", (*FORCED, "learner.schedule=linear", "learner.span=1000")),
    ):
        family = f"family={name.partition(',')[0]}"
        found.append(Case("wave", name, (*WAVE, family), own, 4, 100, 20, "valid/loss"))
    return found


def run(case: Case) -> dict[str, Any]:
    """Train all rows of a case; the curve is the mean of the metric over rows, rung by rung."""
    import torch

    from rnnsweep.app.config.load import load
    from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
    from rnnsweep.core.pack import Member, Pack, Streams
    from rnnsweep.core.training import train_rung
    from rnnsweep.core.types import RowStatus

    torch.set_num_threads(1)
    total = case.every * case.rungs
    fixed = ["name=families", f"budget.updates={total}", f"training.report_every={case.every}", "space={}"]
    with tempfile.TemporaryDirectory() as folder:
        config = load(None, [*fixed, *case.overrides, *case.own], store=Path(folder)).resolved
    units = build_units(config)
    program = build_program(config, units, torch.device("cpu"))
    pack, streams = Pack(program), [Streams(0, index) for index in range(case.rows)]
    states = [initial_state(program, units, stream) for stream in streams]
    hypers = row_hypers(units)
    pack.join([(Member(i, total, hypers, s), state) for i, (s, state) in enumerate(zip(streams, states, strict=True))])
    started, last, curve = time.perf_counter(), [math.nan] * case.rows, []
    for _ in range(case.rungs):
        for index, metrics in enumerate(train_rung(pack, case.every, 1)):
            last[index] = metrics.get(case.metric, last[index])
        curve.append(sum(last) / len(last))
        if not bool((pack.status == RowStatus.ACTIVE).any()):
            break
    return {
        "table": case.table,
        "name": case.name,
        "own": case.own,
        "curve": curve,
        "solved_at": [int(value) if value >= 0 else None for value in pack.solved_at],
        "seconds": time.perf_counter() - started,
        "engine": program.engine.name,
        "every": case.every,
        "final": last,
    }


def main() -> None:
    """Run, print, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of families")
    parser.add_argument("--table", nargs="*", help="short, copying, digits, wave")
    parser.add_argument(
        "--write", action="store_true", help="write docs/results/families.md from all that has been run"
    )
    arguments = parser.parse_args()
    chosen = [c for c in cases() if not arguments.only or c.name in arguments.only]
    for case in [c for c in chosen if not arguments.table or c.table in arguments.table]:
        found = run(case)
        print(json.dumps(found), flush=True)
        with STORE.open("a") as file:
            file.write(json.dumps(found) + "\n")
    if arguments.write:
        newest = {(r["table"], r["name"]): r for r in map(json.loads, STORE.read_text().splitlines())}
        STORE.write_text("".join(json.dumps(newest[key]) + "\n" for key in sorted(newest)))
        RESULT.write_text(document(newest))


def document(found: dict[tuple[str, str], dict[str, Any]]) -> str:
    """The tables in markdown."""
    digits = _digits(found) if any(table == "digits" for table, _ in found) else []
    return "\n".join([*_head(), *_short(found), *_copying(found), *digits, "", *_wave(found)])


def _head() -> list[str]:
    return [
        "# What the families learn",
        "",
        "`python benchmarks/families.py --write`. Two shared CPU cores, one thread, beside other jobs: read seconds as",
        "upper ends. Settings are in the script; nothing was tuned per seed. Curves are the mean over",
        "seeds of the measure after each further part of the budget, from the first rung to the last.",
        "Each family's newest run is kept in [families.jsonl](families.jsonl).",
        "",
    ]


def _short(found: dict) -> list[str]:
    from rnnsweep.sweep.censoring import censored_median

    rows = [r for (table, _), r in found.items() if table == "short"]
    lines = ["## Temporal order, T = 30, at most 2000 updates, 4 seeds", ""]
    lines += [
        "32 units, batch 20, Adam 0.005, Glorot weights, other settings at their defaults, but for the last column.",
        "",
    ]
    lines += ["| family | solved | median updates | seconds | error: chance 0.75 … | own settings |"]
    lines += ["|---|---|---|---|---|---|"]
    for r in sorted(rows, key=lambda r: r["name"]):
        done = [value for value in r["solved_at"] if value is not None]
        middle = censored_median(done, len(r["solved_at"]))
        median = "–" if middle is None else middle
        lines.append(
            f"| {r['name']} | {len(done)}/{len(r['solved_at'])} | {median} | {r['seconds']:.0f} | {_curve(r)} "
            f"| {_own(r)} |"
        )
    return [*lines, ""]


def _copying(found: dict) -> list[str]:
    base = 10 * math.log(8) / 120
    lines = [f"## Copying, T = 100 (120 steps), 64 units; loss in nats per step, memoryless baseline {base:.3f}", ""]
    lines += ["| family | updates | loss per seed | seconds | mean loss |", "|---|---|---|---|---|"]
    for (table, name), r in found.items():
        if table == "copying":
            final = ", ".join(f"{value:.4f}" for value in r["final"])
            lines.append(f"| {name} | {len(r['curve']) * r['every']} | {final} | {r['seconds']:.0f} | {_curve(r)} |")
    return [*lines, ""]


def _digits(found: dict) -> list[str]:
    lines = ["## Permuted 8 x 8 digits, 64 steps, 64 units, RMSprop 0.001, batch 50, 3 seeds", ""]
    lines += ["| family | updates | error per seed | seconds | mean error: chance 0.9 … | own settings |"]
    lines += ["|---|---|---|---|---|---|"]
    for (table, name), r in found.items():
        if table == "digits":
            final = ", ".join(f"{value:.3f}" for value in r["final"])
            updates = len(r["curve"]) * r["every"]
            lines.append(f"| {name} | {updates} | {final} | {r['seconds']:.0f} | {_curve(r)} | {_own(r)} |")
    return lines


def _wave(found: dict) -> list[str]:
    lines = [
        "## A wave of three harmonics without inputs, T = 100, 50 units, Adam 0.001, at most 2000 updates, 4 seeds"
    ]
    lines += ["", "Solved: mean squared error of at most 0.04.", ""]
    lines += ["| family | solved | loss per seed | seconds | mean loss: a constant 0.656 … | own settings |"]
    lines += ["|---|---|---|---|---|---|"]
    for (table, name), r in found.items():
        if table == "wave":
            done = sum(value is not None for value in r["solved_at"])
            final = ", ".join(f"{value:.3f}" for value in r["final"])
            lines.append(
                f"| {name} | {done}/{len(r['solved_at'])} | {final} | {r['seconds']:.0f} | {_curve(r)} | {_own(r)} |"
            )
    return [*lines, ""]


def _own(r: dict[str, Any]) -> str:
    """Settings of this row only."""
    return " ".join(f"`{override}`" for override in r["own"])


def _curve(r: dict) -> str:
    """At most six points of the curve."""
    curve = r["curve"]
    picked = sorted({round(i * (len(curve) - 1) / 5) for i in range(6)})
    return " ".join(f"{curve[i]:.3f}" for i in picked)


if __name__ == "__main__":
    main()
