"""Does a suitable network learn each state-tracking, decision and dynamics task, also beyond the trained length?

    python benchmarks/learnable_tasks.py [--only NAME ...]     prints and keeps; with --write also the document

One pack of two seeds per case, one thread, small budgets. Nothing is tuned per seed; settings stand in the table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent.parent / "docs/results/tasks.md"
STORE = RESULT.with_suffix(".jsonl")
COMMON = ("init=orthogonal", "optimizer=adam", "optimizer.lr=0.005", "training.batch=50", "training.eval_size=500")
LORENZ = ("training.batch=20", "training.stop_solved=false")
FORCED = (
    *("task.observed=false", "task.length=30", "learner=teacher_forcing", "family=srn_feedback", "family.hidden=64"),
    "optimizer.lr=0.002",
)
ROWS = 2
NOTES = (
    "The state of `lru` is linear in what came before: parity is at chance. Where a delay or a stimulus always lasts",
    "equally long, a network may count on that, and its answers at other lengths are worse. An ideal observer errs in",
    "0.104 of `perceptual_decision` and in 0.059 of `context_integration`. For `lorenz63` the last column is what",
    "a network generates by itself: divergence of state space (the true system again: 0.15), error of the spectra.",
    "Without inputs (`observed=false`) 400 forced updates are too few, for targets alone as for mixed ones.",
)


@dataclass(frozen=True)
class Case:
    """One line: its name, overrides, updates per rung, and at most how many rungs."""

    name: str
    overrides: tuple[str, ...]
    every: int = 200
    rungs: int = 10


def cases() -> list[Case]:
    """All of them."""
    gru, srn = ("family=gru", "family.hidden=32"), ("family=srn", "family.hidden=32")
    wide = ("family=gru", "family.hidden=64")
    further = "task.eval_lengths=[40,100]"
    return [
        Case("parity", ("task=parity", "task.length=20", further, *gru)),
        Case("parity, srn", ("task=parity", "task.length=20", further, *srn)),
        Case("parity, lru", ("task=parity", "task.length=20", further, "family=lru", "family.hidden=32")),
        Case("group_words s3", ("task=group_words", "task.length=20", further, *wide)),
        Case("flip_flop", ("task=flip_flop", "task.length=20", further, *srn), rungs=5),
        Case("bracket_language", ("task=bracket_language", "task.length=20", further, *wide)),
        Case(
            "bracket_language, acceptance",
            ("task=bracket_language", "task.wanted=acceptance", "task.length=[2,21]", further, *wide),
            rungs=20,
        ),
        Case("delayed_match", ("task=delayed_match", "task.eval_lengths=[20,50]", *gru)),
        Case("perceptual_decision", ("task=perceptual_decision", "task.eval_lengths=[10,40]", *gru), rungs=5),
        Case("context_integration", ("task=context_integration", "task.eval_lengths=[14,28]", *gru)),
        Case("lorenz63", ("task=lorenz63", *LORENZ, *gru), rungs=5),
        Case("lorenz63, alpha 1", ("task=lorenz63", *LORENZ, *FORCED), rungs=2),
        Case("lorenz63, alpha .1", ("task=lorenz63", *LORENZ, *FORCED, "learner.alpha=0.1"), rungs=2),
    ]


def run(case: Case) -> dict[str, Any]:
    """Train all rows of a case, until they are solved or the budget is used up."""
    import torch

    from rnnsweep.app.config.load import load
    from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
    from rnnsweep.core.pack import Member, Pack, Streams
    from rnnsweep.core.training import train_rung
    from rnnsweep.core.types import RowStatus

    torch.set_num_threads(1)
    total = case.every * case.rungs
    fixed = ["name=tasks", f"budget.updates={total}", f"training.report_every={case.every}", "space={}"]
    with tempfile.TemporaryDirectory() as folder:
        config = load(None, [*fixed, *COMMON, *case.overrides], store=Path(folder)).resolved
    units = build_units(config)
    program = build_program(config, units, torch.device("cpu"))
    pack, streams = Pack(program), [Streams(0, index) for index in range(ROWS)]
    states, hypers = [initial_state(program, units, stream) for stream in streams], row_hypers(units)
    pack.join([(Member(i, total, hypers, s), state) for i, (s, state) in enumerate(zip(streams, states, strict=True))])
    wall, cpu = time.perf_counter(), time.process_time()
    last: list[dict[str, float]] = [{} for _ in range(ROWS)]
    for _ in range(case.rungs):
        for old, new in zip(last, train_rung(pack, case.every, 1), strict=True):
            old.update({key: value for key, value in new.items() if key.startswith("valid/")})
        if not bool((pack.status == RowStatus.ACTIVE).any()):
            break
    return {
        "name": case.name,
        "overrides": case.overrides,
        "updates": pack.step.tolist(),
        "solved_at": [int(value) if value >= 0 else None for value in pack.solved_at],
        "final": last,
        "chance": {key: value for key, value in units.task.chance.items() if key.startswith("valid/")},
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "engine": program.engine.name,
    }


def main() -> None:
    """Run, print, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--write", action="store_true", help="write docs/results/tasks.md from all that has been run")
    arguments = parser.parse_args()
    for case in [] if arguments.only == [] else [c for c in cases() if not arguments.only or c.name in arguments.only]:
        found = run(case)
        print(json.dumps(found), flush=True)
        with STORE.open("a") as file:
            file.write(json.dumps(found) + "\n")
    if arguments.write:
        newest = {each["name"]: each for each in map(json.loads, STORE.read_text().splitlines())}
        ordered = [newest[case.name] for case in cases() if case.name in newest]
        STORE.write_text("".join(json.dumps(each) + "\n" for each in ordered))
        RESULT.write_text(document(ordered))


def document(found: list[dict[str, Any]]) -> str:
    """The page in markdown."""
    seconds = sum(each["cpu"] for each in found)
    return "\n".join(
        [
            "# What can be learned of the newer tasks",
            "",
            "`python benchmarks/learnable_tasks.py --write`. Two seeds per line, one thread,",
            f"{seconds:.0f} s of processor time in all, compiling included.",
            f"{' '.join(f'`{word}`' for word in COMMON)}; other settings are",
            "defaults but for those in the line. A seed stops when it is solved (fewer than 1 % wrong sequences at the",
            "trained length). Numbers are those of each seed's last evaluation; all of them are in",
            "[tasks.jsonl](tasks.jsonl).",
            "",
            *NOTES,
            "",
            "| task | settings | updates | wrong, seed by seed | chance | wrong at other lengths, or generated |",
            "|---|---|---|---|---|---|",
            *map(_line, found),
            "",
        ]
    )


def _line(each: dict[str, Any]) -> str:
    settings = " ".join(f"`{word}`" for word in each["overrides"])
    error = [row.get("valid/error", float("nan")) for row in each["final"]]
    further = {key for row in each["final"] for key in row if key.startswith("valid/error.length")}
    ordered = sorted(further, key=lambda key: int(key.rpartition("length")[2]))
    generated = [key for key in ("valid/d_stsp", "valid/spectrum_error") if key in each["final"][0]]
    shown = [(key.rpartition("length")[2], key) for key in ordered]
    shown += [(f"`{key.partition('/')[2]}`", key) for key in generated]
    other = " · ".join(f"{name}: {_numbers(each, key)}" for name, key in shown)
    updates = ", ".join(map(str, each["updates"]))
    chance = each["chance"]["valid/error"]
    return f"| {each['name']} | {settings} | {updates} | {_shown(error)} | {chance:.3g} | {other} |"


def _numbers(each: dict[str, Any], key: str) -> str:
    return _shown([row.get(key, float("nan")) for row in each["final"]])


def _shown(values: list[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main()
