"""Search strategies at equal device time, on a table of real trainings: ``python benchmarks/search.py``.

    make STORE SWEEP OUT.npz         the table: point and curve of every complete trial of a sweep
    widths OUT.npz [--seeds 20]      samplers by the number of rows that train at once
    cohorts OUT.npz [--seeds 20]     a device that has room for all trials: how many of them to ask for before results
    rules OUT.npz [--seeds 20]       schedulers and pruners beside random search, up to 10 000 trials

The driver, its machine, samplers, pruners and schedulers are the real ones; a training is the curve of the nearest
trained point of the table (with --among, one between the nearest), and a rung takes as long as the model of a device
says: `cpu`, where every row costs the same; `gpu`, where a rung costs what 165 rows cost before its first one (the
launches of an update, see `docs/results/gpu_resources.md`). Device time is counted in trainings: one row, trained to
the end on `cpu`, is 1.

What is searched for is the smallest log10 of the validation loss; regret is its distance from the table's best, in
decades. A table comes from any sweep over the four keys of `SPACE` with 20 rungs of 100 updates. `data/order.npz` (457
trainings; the loss stays at chance for long, so that early values say little) and `data/adding.npz` (512; they say
more) are the finished trials of

    rnnsweep launch quickstart name=order cluster=inline tracker=none seed=77 sampler=random replicas=1 \\
        task.length=20 family.hidden=16 training.batch=10 training.report_every=100 training.eval_size=200 \\
        training.stop_solved=false budget.trials=1024 budget.updates=2000 'space={...}'

and of the same with `task=adding task.length=12 budget.trials=512`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rnnsweep.adapters.optuna.cube import point_of
from rnnsweep.adapters.optuna.sampler import build_sampler
from rnnsweep.loader import NAME
from rnnsweep.sweep.driver import Driver
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import ExecutorEvent, RungTrained, WorkerJoined
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec, WorkerInfo
from rnnsweep.sweep.schedulers.base import NO_SCHEDULER, build_scheduler
from rnnsweep.sweep.session import Pace
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import RowState, SweepState, TrialState
from tests.kit.clock import FakeClock
from tests.kit.ledger import MemoryLedger
from tests.kit.plans import opened

METRIC = "valid/loss"
DEVICES = {"cpu": 0, "gpu": 165}
"""Rows' worth of time that a rung costs before its first row."""
UPDATES, EVERY = 2000, 100
RUNGS = UPDATES // EVERY
SPACE = Space(
    (
        Dimension("controllers.clip.threshold", "float", 0.01, 10.0, log=True),
        Dimension("controllers.omega.weight", "float", 0.01, 10.0, log=True),
        Dimension("init.sigma", "float", 0.01, 1.0, log=True),
        Dimension("optimizer.lr", "float", 0.001, 0.3, log=True),
    )
)


@dataclass(frozen=True)
class Table:
    """Trainings by their points of the unit cube: `points` [N, D], `curves` [N, RUNGS].

    Attributes:
        among: so many trainings, the nearest ones, make a curve: their mean, each with the inverse of its distance.
    """

    points: np.ndarray
    curves: np.ndarray
    among: int = 1

    def curve(self, params: Mapping[str, Any]) -> np.ndarray:
        """Of the nearest training, or between the nearest ones."""
        point = np.array(point_of(SPACE, params), dtype=float)
        squares = ((self.points - point) ** 2).sum(axis=1)
        if self.among == 1:
            return self.curves[np.argmin(squares)]
        near = np.argpartition(squares, self.among)[: self.among]
        return np.average(self.curves[near], axis=0, weights=1 / np.sqrt(squares[near] + 1e-12))

    @property
    def best(self) -> float:
        """The smallest final value."""
        return float(self.curves[:, -1].min())


def load(path: str) -> Table:
    with np.load(path) as file:
        return Table(file["points"], file["curves"])


def make(store: str, sweep: str, out: str) -> None:
    """The table of a finished sweep."""
    import rnnsweep

    found = rnnsweep.open_sweep(sweep, store=store)
    trials, curves = found.trials(), found.curves(METRIC)
    trials = trials[trials["state"] == "COMPLETE"]
    points = [point_of(SPACE, {key: row[key] for key in SPACE.keys}) for row in trials.to_dict("records")]
    values = curves.pivot_table(index="trial", columns="rung", values="value").loc[trials["trial"]]
    assert values.shape[1] == RUNGS, values.shape
    whole = np.log10(values.ffill(axis=1).to_numpy())  # a diverged row has no more rungs
    np.savez_compressed(out, points=np.array(points, dtype=np.float32), curves=whole.astype(np.float32))
    print(f"{len(whole)} trainings, best {whole[:, -1].min():.2f}, median {np.median(whole[:, -1]):.2f}")


class Unread(MemoryLedger):
    """A ledger whose journal nobody reads: it took a third of the time."""

    def _journal(self, kind: str, trial: int | None, what: Any) -> None:
        del kind, trial, what


class TableWorker:
    """One worker of so many rows, whose clock is the device's; two rungs in flight, as real workers have them."""

    def __init__(self, table: Table, width: int, overhead: int, clock: FakeClock) -> None:
        self.table, self.width, self.overhead, self.clock = table, width, overhead, clock
        self.rows: dict[tuple[int, int], tuple[RowSpec, int, np.ndarray]] = {}
        self.trained: dict[tuple[int, int], int] = {}  # rung of the newest checkpoint
        self.flight: list[ExecutorEvent] = [WorkerJoined(WorkerInfo("w0", "node", "sim", "", width))]
        self.spent, self.best, self.curve = 0.0, float("inf"), [(0.0, float("inf"))]

    def connect(self) -> None: ...

    def begin(self) -> None: ...

    def watch(self, hear: Any) -> None: ...

    def start(self) -> None: ...

    def order(self, worker: str, orders: Orders) -> None:
        del worker
        for leave in orders.leave:
            self.rows.pop((leave.trial, leave.replica), None)
        for spec in orders.join:
            rung = self.trained.get(spec.row, 0) if spec.restore else 0
            rung = rung if spec.restore_to is None else min(rung, spec.restore_to)
            self.rows[spec.row] = (spec, rung, self.table.curve(spec.params))

    def poll(self, timeout: float) -> list[ExecutorEvent]:
        del timeout
        events, self.flight = self.flight, self._rung() if self.rows else []
        return events

    def _rung(self) -> list[ExecutorEvent]:
        cost = (self.overhead + len(self.rows)) / RUNGS
        self.spent += cost
        self.clock.time += cost
        reports = [self._report(row, cost / len(self.rows)) for row in list(self.rows)]
        return [RungTrained("w0", tuple(reports))]

    def _report(self, row: tuple[int, int], device_s: float) -> RowReport:
        spec, before, curve = self.rows[row]
        rung = before + 1
        state = RowState.DONE if rung == RUNGS else RowState.ACTIVE
        value = float(curve[rung - 1])
        self.trained[row] = rung
        if state is RowState.DONE:
            del self.rows[row]
            if value < self.best:
                self.best = value
                self.curve.append((self.spent, value))
        else:
            self.rows[row] = (spec, rung, curve)
        return RowReport(*row, spec.token, rung, rung * EVERY, {METRIC: value}, state, device_s=device_s, engine="sim")

    def exclude(self, node: str) -> None: ...

    def stop(self, graceful: bool) -> None:
        del graceful

    def best_at(self, spent: float) -> float:
        """The best finished training by then."""
        return min(value for at, value in self.curve if at <= spent)


@dataclass(frozen=True)
class Strategy:
    """How a sweep searches.

    Attributes:
        sampler, pruner, scheduler: names of units, with keys. most_open: see `SweepPlan.most_open`; None: no limit.
    """

    sampler: str
    sampler_keys: Mapping[str, Any]
    pruner: str = "none"
    pruner_keys: Mapping[str, Any] | None = None
    scheduler: str = "none"
    scheduler_keys: Mapping[str, Any] | None = None
    most_open: int | None = None


def block(group: str, name: str, keys: Mapping[str, Any] | None) -> dict[str, Any]:
    """A unit's resolved yaml."""
    if group == "scheduler" and name == "none":
        return {**NO_SCHEDULER, NAME: name}
    from omegaconf import OmegaConf

    text = (Path(__file__).parents[1] / "conf" / group / f"{name}.yaml").read_text()
    given = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(given, dict)
    given.pop("_search_", None)
    return {**{str(key): value for key, value in given.items()}, **(keys or {}), NAME: name}


@dataclass(frozen=True)
class Room:
    """What every sweep of a comparison has: rows at once, a device, its time, and most trials."""

    width: int
    device: str
    budget: float
    trials: int


def search(table: Table, how: Strategy, room: Room, seed: int) -> dict[str, Any]:
    """One sweep until its device time is used up."""
    budget, trials = room.budget, room.trials
    plan = SweepPlan(
        "s", seed, 1, EVERY, (Objective(METRIC),), Budget(trials, UPDATES, device_s=budget), SPACE, prefetch=0
    )
    if how.most_open is not None:
        plan = replace(plan, in_flight=min(1.0, how.most_open / trials))
    ledger, fence = opened(plan, Unread())
    pruner = block("pruner", how.pruner, how.pruner_keys)
    clock = FakeClock()
    worker = TableWorker(table, room.width, DEVICES[room.device], clock)
    sampler = build_sampler(plan, block("sampler", how.sampler, how.sampler_keys), pruner)
    scheduler = build_scheduler(plan, block("scheduler", how.scheduler, how.scheduler_keys), pruner)
    pace = Pace(poll=0.0, renew=0.0, drain=1.0, inbox=1e9, note=1e9, observe=1e9)
    began = time.perf_counter()
    driver = Driver(plan, ledger, sampler, worker, clock=clock, fence=fence, pace=pace, scheduler=scheduler)  # type: ignore[arg-type]
    if driver.run().state is SweepState.INTERRUPTED:  # a part of a search is no result
        raise SystemExit("interrupted")
    views = ledger.trials("s")
    asked = [view for view in views if not view.enqueued]
    informed = sum(view.informed_by > 0 for view in asked)
    until = min(budget, worker.spent)
    return {
        "regret": [worker.best_at(until * part / 8) - table.best for part in range(1, 9)],
        "spent": until,
        "trials": len(views),
        "complete": sum(view.state is TrialState.COMPLETE for view in views),
        "informed": informed / max(1, len(asked)),
        "seconds": time.perf_counter() - began,
    }


def summary(runs: list[dict]) -> dict[str, Any]:
    """Means with half-widths of 95 % intervals (normal) over seeds."""
    last = [min(run["regret"][-1], NOTHING) for run in runs]
    half = 1.96 * statistics.stdev(last) / len(last) ** 0.5 if len(last) > 1 else float("nan")
    return {
        "regret": statistics.mean(last),
        "half": half,
        "quarter": statistics.mean(min(run["regret"][1], NOTHING) for run in runs),
        "spent": statistics.mean(run["spent"] for run in runs),
        "trials": statistics.mean(run["trials"] for run in runs),
        "complete": statistics.mean(run["complete"] for run in runs),
        "informed": statistics.mean(run["informed"] for run in runs),
        "seconds": statistics.mean(run["seconds"] for run in runs),
    }


FREE = {"in_flight": None}
ALL = {"interim": 0.0}
LATE = {"min_updates": 400}
NOTHING = 3.0
"""Regret before anything is complete."""
WIDTHS = (1, 8, 32, 128, 512)


def widths(options: argparse.Namespace) -> Iterator[tuple[str, int, Strategy]]:
    """Samplers by what they are asked for at once, and by what they are shown of trials that are not complete."""
    for width in options.rows or WIDTHS:
        yield "random", width, Strategy("random", {})
        yield "sobol", width, Strategy("qmc", {})
        for name in ("tpe", "gp") if options.gp else ("tpe",):
            yield name, width, Strategy(name, FREE)
            if width > 8:
                yield f"{name}, a quarter open", width, Strategy(name, {}, most_open=max(4, width // 4))
        yield "random + asha", width, Strategy("random", {}, scheduler="asha")
        for rule in ("asha", "hyperband"):
            yield f"sobol + {rule}", width, Strategy("qmc", {}, scheduler=rule)
            yield f"tpe + {rule}", width, Strategy("tpe", FREE, scheduler=rule)
            yield f"tpe + {rule}, all values", width, Strategy("tpe", {**FREE, **ALL}, scheduler=rule)
        yield "tpe + median", width, Strategy("tpe", FREE, pruner="median")
        yield "tpe + median, all values", width, Strategy("tpe", {**FREE, **ALL}, pruner="median")


def cohorts(options: argparse.Namespace) -> Iterator[tuple[str, int, Strategy]]:
    """Shares of all trials that are open at once."""
    for trials in options.rows or (24, 128):
        yield "sobol, all at once", trials, Strategy("qmc", {})
        for name in ("tpe", "gp") if options.gp else ("tpe",):
            for parts in (2, 4, 8):
                yield f"{name}, 1/{parts} open", trials, Strategy(name, {}, most_open=trials // parts)


def rules(options: argparse.Namespace) -> Iterator[tuple[str, int, Strategy]]:
    """Decision rules, all with random points, so that nothing but the rule differs; and two with TPE."""
    for width in options.rows or (128,):
        yield "random", width, Strategy("random", {})
        yield "median", width, Strategy("random", {}, pruner="median")
        yield "successive halving (pruner)", width, Strategy("random", {}, pruner="successive_halving")
        yield "hyperband (pruner)", width, Strategy("random", {}, pruner="hyperband")
        yield "asha stop", width, Strategy("random", {}, scheduler="asha", scheduler_keys={"stop": True})
        yield "asha promote", width, Strategy("random", {}, scheduler="asha")
        yield "asha promote, from 400 updates", width, Strategy("random", {}, scheduler="asha", scheduler_keys=LATE)
        yield "pasha", width, Strategy("random", {}, scheduler="pasha")
        yield "hyperband promote", width, Strategy("random", {}, scheduler="hyperband")
        yield "tpe + median", width, Strategy("tpe", FREE, pruner="median")
        yield (
            "tpe + asha promote, from 400 updates",
            width,
            Strategy("tpe", FREE, scheduler="asha", scheduler_keys=LATE),
        )


COLUMNS = (
    "device",
    "rows",
    "search",
    "regret",
    "95 %",
    "at a quarter",
    "device time",
    "trials",
    "complete",
    "informed",
)


def compare(options: argparse.Namespace) -> None:
    """One line per strategy, as soon as it is measured."""
    table = replace(load(options.table), among=options.among)
    cohort = options.what == "cohorts"  # ends with its trials, which are as many as there are rows
    limits = "as many trials as rows" if cohort else f"device time {options.budget:g}, at most {options.trials} trials"
    print(f"{len(table.points)} trainings; {options.seeds} seeds; {limits}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for device in options.device:
        for name, width, how in {"widths": widths, "cohorts": cohorts, "rules": rules}[options.what](options):
            if options.only and name not in options.only:
                continue
            room = Room(width, device, options.budget, options.trials)
            room = Room(width, device, float("inf"), width) if cohort else room
            runs = [search(table, how, room, seed) for seed in range(options.seeds)]
            found = summary(runs)
            cells = (device, width, name, f"{found['regret']:.3f}", f"± {found['half']:.3f}", f"{found['quarter']:.3f}")
            cells = (*cells, f"{found['spent']:.0f}")
            counts = (f"{found['trials']:.0f}", f"{found['complete']:.0f}", f"{found['informed']:.0%}")
            print(f"| {' | '.join(map(str, (*cells, *counts)))} |", flush=True)
            if options.out:
                line = {"what": options.what, "device": device, "rows": width, "search": name, "runs": runs}
                with open(options.out, "a") as file:
                    file.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "widths", "cohorts", "rules"))
    parser.add_argument("table", help="the table; with make: the store")
    parser.add_argument("more", nargs="*", help="with make: the sweep's name, and where the table goes")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=float, default=512.0, help="device time, in trainings of one row on cpu")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument(
        "--among", type=int, default=1, help="nearest trainings that make a curve: with 1, 500 trials try all there are"
    )
    parser.add_argument("--device", nargs="+", choices=tuple(DEVICES), default=["cpu", "gpu"])
    parser.add_argument("--rows", nargs="+", type=int, help="widths; by default 128 for rules, 1 to 512 else")
    parser.add_argument("--only", nargs="+", help="strategies of these names")
    parser.add_argument("--gp", action="store_true", help="also the Gaussian process, which takes minutes")
    parser.add_argument("--out", help="a file of JSON lines that every strategy's runs are added to")
    options = parser.parse_args()
    if options.what == "make":
        make(options.table, *options.more)
    else:
        compare(options)


if __name__ == "__main__":
    main()
