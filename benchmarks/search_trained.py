"""Search strategies on real trainings, at equal device time: ``python benchmarks/search_trained.py run OUT.jsonl``.

    run OUT.jsonl [--tasks ...] [--searches ...] [--seeds 20]   trains; what the file holds already is not done again
    show OUT.jsonl [...] [--base random]                        the tables of docs/results/search.md

Three tasks with simple networks of 32 units: temporal order over 50 steps with Omega, the adding problem over 20 steps,
and digits pixel by pixel. Each sweep has the device time of --trainings complete trainings, counted in updates of rows
(all rows of a pack cost the same), so that neither the machine nor its load matters; 16 rows train at once. Driver,
samplers, pruners, schedulers and trainer are the product's own, in one process, without stores.

What a search is worth is the best validation loss of any network it has at that time, in decades (log10); searches of
one seed have the same data and begin with the same weights, so that they are compared as pairs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

from rnnsweep.app.config.load import SweepConfig, load
from rnnsweep.app.run import wiring
from rnnsweep.sweep.driver import Driver
from rnnsweep.sweep.ports import Executor, ExecutorEvent, RungTrained, WorkerNews
from rnnsweep.sweep.rows import Orders
from rnnsweep.sweep.session import Pace
from rnnsweep.sweep.states import TrialState
from tests.kit.clock import FakeClock
from tests.kit.plans import opened

METRIC = "valid/loss"
ROWS, EVERY = 16, 100

COMMON = (
    "space={}",  # before the ranges, as it would take them away
    *("cluster=inline", "tracker=none", "store.optuna=none", "replicas=1", f"training.report_every={EVERY}"),
    *("training.eval_size=500", "training.stop_solved=false", "training.batch=10", "family.hidden=32"),
    *(f"objective.metric={METRIC}", f"cluster.rows={ROWS}", "controllers.clip.threshold=tag(log,interval(0.01,10))"),
)


@dataclass(frozen=True)
class Bench:
    """A task with its space, and updates of a complete training."""

    updates: int
    overrides: tuple[str, ...]


BENCHES = {
    "temporal order, T = 50, with Omega": Bench(
        4000,
        (
            *("task=temporal_order", "task.length=50", "controllers=[clip,omega]"),
            *("controllers.omega.weight=tag(log,interval(0.1,10))", "init.sigma=tag(log,interval(0.03,0.3))"),
            "optimizer.lr=tag(log,interval(0.003,0.1))",
        ),
    ),
    "adding, T = 20": Bench(
        3000,
        (
            *("task=adding", "task.length=20", "controllers=[clip]", "optimizer=adam"),
            *("init.sigma=tag(log,interval(0.03,0.5))", "optimizer.lr=tag(log,interval(0.0001,0.1))"),
        ),
    ),
    "digits, T = 64": Bench(
        2000,
        (
            *("task=sequential_digits", "controllers=[clip]", "optimizer=adam"),
            *("init.sigma=tag(log,interval(0.03,0.5))", "optimizer.lr=tag(log,interval(0.0001,0.1))"),
        ),
    ),
}
SEARCHES: dict[str, tuple[str, ...]] = {
    "random": ("sampler=random", "pruner=none"),
    "TPE + median": ("sampler=tpe", "pruner=median"),
    "ASHA, stop": ("sampler=random", "scheduler=asha", "scheduler.stop=true"),
    "ASHA, promote": ("sampler=random", "scheduler=asha"),
    "TPE + ASHA, promote": ("sampler=tpe", "scheduler=asha"),
    "TPE of all values + ASHA, promote": ("sampler=tpe", "scheduler=asha", "sampler.interim=0"),
    "PBT": ("sampler=random", "scheduler=pbt"),
}
MANY = 2000
"""Trials that no sweep of a benchmark comes to: its device time ends it."""


class CountingExecutor:
    """Counts device time in updates of rows, and the best value by then.

    Attributes:
        spent: updates of rows. curve: (spent, best value of any network) whenever it improves.
    """

    def __init__(self, inner: Executor, clock: FakeClock) -> None:
        self.inner, self.clock = inner, clock
        self.steps: dict[tuple[int, int], int] = {}
        self.spent, self.curve = 0, [(0, math.inf)]

    def connect(self) -> None:
        self.inner.connect()

    def begin(self) -> None:
        self.inner.begin()

    def watch(self, hear: Callable[[WorkerNews], None]) -> None:
        self.inner.watch(hear)

    def start(self) -> None:
        self.inner.start()

    def order(self, worker: str, orders: Orders) -> None:
        self.inner.order(worker, orders)

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        del timeout
        return [self._counted(event) if isinstance(event, RungTrained) else event for event in self.inner.poll(0.0)]

    def _counted(self, event: RungTrained) -> RungTrained:
        self.clock.time += EVERY * len(event.reports)
        self.spent += EVERY * len(event.reports)
        self.note(report.metrics.get(METRIC, math.inf) for report in event.reports)
        return replace(event, reports=tuple(replace(report, device_s=float(EVERY)) for report in event.reports))

    def note(self, values: Iterator[float]) -> None:
        best = min(values, default=math.inf)
        if best < self.curve[-1][1]:
            self.curve.append((self.spent, best))

    def exclude(self, node: str) -> None:
        self.inner.exclude(node)

    def stop(self, graceful: bool) -> None:
        self.inner.stop(graceful)


def config_of(bench: Bench, search: tuple[str, ...], seed: int, trials: int, store: Path) -> SweepConfig:
    """The checked config of one sweep; seeds stand for repetitions of the whole experiment."""
    budget = [f"budget.updates={bench.updates}", f"budget.trials={trials}", f"seed={seed}", "name=s"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load("search", [*COMMON, *bench.overrides, *search, *budget], store=store)


def at_eighths(curve: list[tuple[int, float]], budget: float) -> list[float]:
    """Best value after each eighth of the budget."""
    return [min(value for at, value in curve if at <= budget * part / 8) for part in range(1, 9)]


def search(name: str, how: str, seed: int, trainings: int) -> dict[str, Any]:
    """One sweep until its device time is used up."""
    bench = BENCHES[name]
    budget = float(trainings * bench.updates)
    population = how == "PBT"
    began, processor = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        config = config_of(bench, SEARCHES[how], seed, trainings if population else MANY, Path(folder))
        limits = replace(config.plan.budget, device_s=None if population else budget)
        config = replace(config, plan=replace(config.plan, budget=limits))
        ledger, fence = opened(config.plan)
        clock = FakeClock()
        worker = CountingExecutor(wiring.executor(config), clock)
        pace = Pace(poll=0.0, renew=0.0, drain=1.0, inbox=1e9, note=1e9, observe=1e9)
        parts = (config.plan, ledger, wiring.sampler(config), worker)
        Driver(*parts, clock=clock, fence=fence, pace=pace, scheduler=wiring.scheduler(config)).run()  # type: ignore[arg-type]
        views = ledger.trials("s")
    return {
        "best": at_eighths(worker.curve, budget),
        "spent": worker.spent / bench.updates,
        "trials": len(views),
        "complete": sum(view.state is TrialState.COMPLETE for view in views),
        "informed": sum(view.informed_by > 0 for view in views) / max(1, len(views)),
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - processor,
    }


def done(path: Path) -> list[dict[str, Any]]:
    """Runs that a file holds; a torn last line is none."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def run(options: argparse.Namespace) -> None:
    """One line of JSON per sweep, all searches of a seed one after the other."""
    out = Path(options.out[0])
    have = {(one["task"], one["search"], one["seed"]) for one in done(out)}
    for seed in range(options.first_seed, options.seeds):
        for name in BENCHES:
            for how in SEARCHES:
                if (name, how, seed) in have or not (wanted(name, options.tasks) and wanted(how, options.searches)):
                    continue
                found = search(name, how, seed, options.trainings)
                line = {"task": name, "search": how, "seed": seed, "trainings": options.trainings, **found}
                with out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{name}, {how}, {seed}: {found['best'][-1]:.4g}, {found['seconds']:.0f} s", flush=True)


def wanted(name: str, words: list[str] | None) -> bool:
    return words is None or any(word in name for word in words)


COLUMNS = (
    "search",
    "seeds",
    "at a quarter",
    "at half",
    "at the end",
    "95 %",
    "better than {}",
    "p",
    "trials",
    "complete",
)


def show(options: argparse.Namespace) -> None:
    """One table per task."""
    runs = [one for path in options.out for one in done(Path(path))]
    for name in BENCHES:
        here = [one for one in runs if one["task"] == name]
        if here:
            head = " | ".join(COLUMNS).format(options.base)
            print(f"\n{name}:\n\n| {head} |\n|{'---|' * len(COLUMNS)}")
            print("\n".join(_lines(here, options.base)))


def _lines(runs: list[dict[str, Any]], base_name: str) -> Iterator[str]:
    """A line per search, ours in their order and then others; compared with one of them, seed by seed."""
    from scipy.stats import wilcoxon

    names = {**SEARCHES, **{one["search"]: () for one in runs}}
    every = {how: {one["seed"]: one for one in runs if one["search"] == how} for how in names}
    by_search = {how: found for how, found in every.items() if found}
    base = by_search[base_name]
    compared = len(by_search) - 1
    for how, found in by_search.items():
        last = [math.log10(one["best"][-1]) for one in found.values()]
        half = 1.96 * statistics.stdev(last) / len(last) ** 0.5 if len(last) > 1 else math.nan
        cells = [how, str(len(found)), *(f"{_mean_log(found, part):.2f}" for part in (1, 3, 7)), f"± {half:.2f}"]
        both = sorted(found.keys() & base.keys())
        gains = [math.log10(base[seed]["best"][-1]) - math.log10(found[seed]["best"][-1]) for seed in both]
        if how == base_name or not any(gains):
            cells += ["", ""]
        else:
            p = min(1.0, compared * wilcoxon(gains).pvalue)  # Bonferroni over the searches
            cells += [f"{sum(gain > 0 for gain in gains)} of {len(gains)}", f"{p:.2g}"]
        cells += [f"{statistics.mean(one[key] for one in found.values()):.0f}" for key in ("trials", "complete")]
        yield f"| {' | '.join(cells)} |"


def _mean_log(found: Mapping[int, dict[str, Any]], part: int) -> float:
    return statistics.mean(math.log10(one["best"][part]) for one in found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "show"))
    parser.add_argument("out", nargs="+", help="files of JSON lines; run adds to the first")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trainings", type=int, default=16, help="device time, in complete trainings of one row")
    parser.add_argument("--tasks", nargs="+", help="only tasks whose names hold one of these words")
    parser.add_argument("--base", default="random", help="with show: the search that all are compared with")
    parser.add_argument("--searches", nargs="+", help="only searches whose names hold one of these words")
    options = parser.parse_args()
    {"run": run, "show": show}[options.what](options)


if __name__ == "__main__":
    main()
