"""`rnnsweep reproduce`: run a paper's sweeps, test what they trained, and lay the result beside the published table."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app.config.load import SweepConfig, load
from rnnsweep.app.config.point import lookup, resolve_point
from rnnsweep.app.live_display import LiveProgress, Watcher
from rnnsweep.app.run import launch as runs
from rnnsweep.app.stores import StorePlace, place_of
from rnnsweep.app.studies.papers import PAPERS, Paper, Part
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.sweep.states import SweepState

if TYPE_CHECKING:
    from rnnsweep.report.comparison import Comparison, ReplicaResult
    from rnnsweep.sweep.driver import Outcome

SCALES = ("smoke", "small", "medium", "full")
_QUIET = ("cluster", "store", "tracker", "notify", "engine", "budget.trials")
"""Blocks and keys whose overrides change no result: a grid ends when its cells do."""


@dataclass(frozen=True)
class Reproduction:
    """A paper's sweeps at one scale, resolved.

    Attributes:
        configs: part -> its sweep; named PAPER-SCALE-PART in the store.
    """

    name: str
    scale: str
    paper: Paper
    configs: dict[Part, SweepConfig]
    where: StorePlace

    @property
    def folder(self) -> Path:
        """Where tables and figure go."""
        return self.where.root / "reproductions" / f"{self.name}-{self.scale}"


def prepare(name: str, scale: str, overrides: Sequence[str] = (), store: str | Path | None = None) -> Reproduction:
    """Resolve and check all sweeps of a reproduction; nothing is written.

    Raises:
        ConfigError: no such paper or scale, or an override that its sweeps do not take.
    """
    if name not in PAPERS:
        hint = nearest(name, PAPERS)
        raise ConfigError("cannot be run by this version", key="PAPER", value=name, allowed=list(PAPERS), hint=hint)
    if scale not in SCALES:
        raise ConfigError("unknown scale", key="--scale", value=scale, allowed=SCALES)
    paper, configs = PAPERS[name], {}
    for part in paper.scales[scale]:
        typed = [*part.overrides, *overrides, f"name={name}-{scale}-{part.name}"]
        preset = part.preset or paper.preset
        configs[part] = load(preset, whole_grid(preset, typed), store=runs.root_argument(store))
    first = next(iter(configs.values()))
    return Reproduction(name, scale, paper, configs, place_of(first.store.root, first.store.ledger, first.store.urls))


def whole_grid(preset: str, overrides: Sequence[str]) -> list[str]:
    """The overrides with as many trials as the grid has cells, where they leave fewer than the preset asks for."""
    plan = load(preset, overrides, check_units=False).plan
    cells = len(plan.enqueue) or sum(1 for _ in plan.space.grid())
    return [*overrides, f"budget.trials={cells}"] if plan.budget.trials and cells < plan.budget.trials else [*overrides]


def rows_of(config: SweepConfig) -> int:
    """Trainings of a grid: its cells, as far as the budget goes, times replicas."""
    cells = len(config.plan.enqueue) or sum(1 for _ in config.plan.space.grid())
    return min(cells, config.plan.budget.trials or cells) * config.plan.replicas


def estimate(task: Reproduction) -> float:
    """Seconds that the sweeps take at most on this machine, none solving early, from a quick probe of their speed."""
    return sum(
        _seconds_per_update(config) * rows_of(config) * config.plan.budget.updates for config in task.configs.values()
    )


PROBE_UPDATES = 10
OVERHEAD = 1.25
"""Reports, checkpoints, evaluation and the driver, on top of the updates."""


def _seconds_per_update(config: SweepConfig) -> float:
    """Wall time of one row-update when all cores train: the second rung of a short run without evaluation."""
    from rnnsweep.app.worker.single import train_one

    small = (f"training.report_every={PROBE_UPDATES}", f"budget.updates={2 * PROBE_UPDATES}", "training.eval_size=1")
    typed = [text for text in config.plan.overrides if not text.startswith(("budget.updates", "training.report_every"))]
    typed = [text for text in typed if not text.startswith("training.eval_size")]
    probe = load(config.source, [*typed, *small], store=config.store.root)
    reports = train_one(probe)
    second = [report.device_s for report in reports if report.rung == 2]
    return OVERHEAD * sum(second) / max(1, len(second)) / PROBE_UPDATES


def run(
    task: Reproduction, display: Callable[[str], Watcher] = LiveProgress, *, accept_changes: bool = False
) -> Outcome | None:
    """Run what is not complete yet; returns the first outcome that is no success, or None.

    Args:
        task: what `prepare` returned.
        display: sweep name -> context manager that yields who is told about the run.
        accept_changes: go on with what was begun although code, versions or data have changed.

    Raises:
        ConfigError: they have, and that is not accepted.
    """
    from rnnsweep.sweep.rebuild import Reopen

    for config in task.configs.values():
        state = dict(runs.states(task.where)).get(config.plan.name)
        with display(config.plan.name) as watcher:
            if state is None:
                outcome = runs.launch(config, watcher)
            else:
                raised = _raised(task.where, config)
                if state is SweepState.COMPLETE and not raised:
                    continue
                stored = runs.stored_config(task.where, config.plan.name, raised)
                outcome = runs.resume(stored, Reopen(extend=bool(raised)), watcher, accept_changes=accept_changes)
        if outcome.state is not SweepState.COMPLETE:
            return outcome
    return None


def _raised(store_place: StorePlace, config: SweepConfig) -> list[str]:
    """The override that brings a sweep of the store to the budget that is wanted now."""
    have = runs.stored_config(store_place, config.plan.name).plan.budget.updates
    wanted = config.plan.budget.updates
    return [f"budget.updates={wanted}"] if wanted > have else []


def collect(task: Reproduction) -> Comparison:
    """Test what was trained, and fill the published table; works on unfinished sweeps, whose cells stay empty.

    Test results are kept beside the tables, so that the next call tests only what is new.
    """
    from rnnsweep.report.comparison import compare
    from rnnsweep.report.published import TABLES

    known = dict(runs.states(task.where))
    task.folder.mkdir(parents=True, exist_ok=True)
    results = [
        result for config in task.configs.values() if config.plan.name in known for result in _results(task, config)
    ]
    return compare(TABLES[task.name], task.scale, results, deviations(task), task.paper.questions)


def _results(task: Reproduction, config: SweepConfig) -> Iterator[ReplicaResult]:
    """Replicas of one sweep, by trial; only the best learning rate of each cell where accuracies are shown."""
    from rnnsweep.app.results.sweep import Sweep, TrialResult

    sweep = Sweep(config.plan.name, task.where)
    replicas = sweep.replicas()
    cells: dict[tuple[str, str], list[tuple[float, TrialResult]]] = {}
    for number in sweep.trials().query("state == 'COMPLETE'")["trial"]:
        trial = sweep.trial(int(number))
        place = task.paper.place(resolve_point(config.variants, trial.params))
        cells.setdefault(place, []).append((float(trial.objective or 0.0), trial))
    for (row, column), trials in cells.items():
        _, trial = min(trials, key=lambda pair: (pair[0], pair[1].number))
        yield from _tested(task, trial, replicas[replicas["trial"] == trial.number], (row, column))


def _tested(task: Reproduction, trial: Any, replicas: Any, place: tuple[str, str]) -> Iterator[ReplicaResult]:
    from rnnsweep.report.comparison import ReplicaResult

    for replica in replicas.itertuples():
        solved_at = None if replica.solved_at != replica.solved_at else int(replica.solved_at)
        measure, tested = task.paper.measure, {}
        if measure != "solved" or solved_at is not None:
            tested = _test(task, trial, int(replica.replica), int(replica.step))
        solved = solved_at is not None and tested["error"] < 0.01
        value, chance = tested.get(measure), tested.get(f"chance {measure}")
        yield ReplicaResult(*place, solved, solved_at, int(replica.step), value, int(replica.replica), chance)


def _test(task: Reproduction, trial: Any, replica: int, step: int) -> dict[str, float]:
    """Error and the measures of a `Paper` on fresh sequences, from the file of test results or by testing."""
    from rnnsweep.report.atomic_files import write

    file = task.folder / "tests.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    key = f"{trial.sweep.name}/{trial.number}/{replica}/{step}"
    if key not in known:
        network = trial.load(replica)
        scores = network.evaluate(task.paper.test if task.scale != "smoke" else 100, split="test")
        played = network.program.task
        known[key] = {
            "error": scores["error"],
            "accuracy": 100 * (1 - scores["error"]),
            "loss": 100 * scores["loss"] / played.chance_loss,
            "chance accuracy": 100 * (1 - played.chance_error),
            "chance loss": 100.0,
        }
        write(file, json.dumps(known, indent=1).encode())  # killed in between, the results so far are whole
    return known[key]


def deviations(task: Reproduction) -> list[str]:
    """The paper's own list, and every override of this scale beside the preset's value."""
    differing: dict[str, list[str]] = {}
    for part, config in task.configs.items():
        plain = load(part.preset or task.paper.preset, [], store=config.store.root, check_units=False)
        # of a key that is given twice the last one counts
        typed = {key: value for key, _, value in (text.partition("=") for text in config.plan.overrides)}
        for key, value in typed.items():
            if key == "name" or key in _QUIET or key.split(".")[0] in _QUIET:
                continue
            theirs = next((d for d in plain.plan.space if d.key == key), None)
            preset = list(theirs.choices) if theirs else lookup(plain.resolved, key)
            if str(preset) == value:
                continue
            differing.setdefault(f"{key} = {value}; the preset has {preset}", []).append(part.name)
    every = len(task.configs)
    return [
        *task.paper.deviations,
        *(f"{text}." if len(parts) == every else f"{', '.join(parts)}: {text}." for text, parts in differing.items()),
    ]


def save(task: Reproduction, comparison: Comparison, command: str) -> list[Path]:
    """Write the page, the tables and the figure; returns the files, the page first."""
    from rnnsweep.app.environment import describe
    from rnnsweep.report.atomic_files import remove_drafts, write
    from rnnsweep.report.comparison import frame, markdown, results_frame
    from rnnsweep.report.comparison_figure import figure
    from rnnsweep.report.page import drawn

    folder, name = task.folder, f"{task.name}-{task.scale}"
    remove_drafts(folder)
    picture = figure(comparison)
    machine = describe()
    tail = f"\n## Run\n\n```\n{command}\n```\n\nrnnsweep {machine.get('rnnsweep', '')}, {time.strftime('%Y-%m-%d')}.\n"
    page = markdown(comparison, f"{name}.png" if picture else None) + tail
    files = [
        write(folder / f"{name}.md", page.encode()),
        write(folder / f"{name}.csv", frame(comparison).to_csv(index=False).encode()),
        write(folder / f"{name}-replicas.csv", results_frame(comparison).to_csv(index=False).encode()),
    ]
    return files if picture is None else [*files, write(folder / f"{name}.png", drawn(picture))]
