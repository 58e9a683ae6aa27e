"""How fast both mirrors write: python benchmarks/mirror_rate.py [trials] [rungs]

Prints metric points per second into MLflow and trials per second into the Optuna mirror, both on SQLite in a temporary
directory, from journal entries in batches of 1000, and of 5000 for MLflow (`MlflowMirror.batch`); by wall time, and by
the process's own processor time, on which what others do on the machine counts little. A third journal for MLflow has
ten times as many trials at once, so that each has few points per batch. The promise is 10 000 points per second.
"""

import dataclasses
import os
import sys
import tempfile
import time

from rnnsweep.adapters.mlflow.server import prepare
from rnnsweep.adapters.mlflow.store import RunStore
from rnnsweep.adapters.mlflow.tracker import MlflowMirror
from rnnsweep.adapters.mlflow.tracker_options import TrackerOptions
from rnnsweep.adapters.optuna.mirror import OptunaMirror
from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.metrics.names import METRIC_KEYS
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import Change, SweepView, TrialView
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import SweepState, TrialState

KEYS = (*METRIC_KEYS, *GlobalNormClip.metrics, *Omega.metrics, *Sampling.metrics)
"""As many metrics as a trial with all controllers has."""


def journal(trials: int, rungs: int) -> list[Change]:
    """All trials begin, report every rung in turn, and end."""
    entries: list[tuple[str, int, dict]] = []

    def put(number: int, state: TrialState, values: tuple[float, ...] = ()) -> None:
        step = 100 * rungs if values else 0
        view = TrialView(number, state, {"x": 0.1 + number / trials}, values, started=1.7e9 + number, step=step)
        entries.append(("trial", number, {f.name: getattr(view, f.name) for f in dataclasses.fields(view)}))

    for number in range(trials):
        put(number, TrialState.RUNNING)
    for rung in range(1, rungs + 1):
        for number in range(trials):
            metrics = {key: number + 1.0 / rung for key in KEYS}
            entries.append(("rung", number, {"step": 100 * rung, "metrics": metrics, "values": [1.0 / rung]}))
    for number in range(trials):
        put(number, TrialState.COMPLETE, (1.0 / rungs,))
    return [Change(seq, kind, trial, 1.7e9, data) for seq, (kind, trial, data) in enumerate(entries, start=1)]


def drain(mirror, changes: list[Change], batch: int = 1000) -> tuple[float, float]:
    """Seconds to write everything, the opening of the store apart: wall, and processor of this process."""
    mirror.write([])
    begin, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(changes), batch):
        mirror.write(changes[start : start + batch])
    return time.perf_counter() - begin, time.process_time() - cpu


def ceiling(uri: str) -> float:
    """Points per second of MLflow's own client: one run, one call of 1000 points after the other."""
    store = RunStore(uri, SweepView("ceiling", SweepState.RUNNING, {}), None)
    run_id = store.create("ceiling", 0, {}).info.run_id
    begin = time.perf_counter()
    for call in range(10):
        points = [(KEYS[i % 20], float(i), call * 1000 + i, call * 1000 + i) for i in range(1000)]
        store.log(run_id, points, {}, {})
    return 10_000 / (time.perf_counter() - begin)


def track(folder: str, trials: int, rungs: int, batch: int) -> None:
    """Print how fast MLflow's mirror takes a journal."""
    plan = plan_of(trials, rungs, f"{trials} trials {batch}")
    options = TrackerOptions(metrics=lambda: KEYS, artifact_root=f"{folder}/artifacts")
    view, points = SweepView(plan.name, SweepState.RUNNING, {}), trials * rungs * len(KEYS)
    mirror = MlflowMirror(f"sqlite:///{folder}/mlflow.db", view, plan, options)
    wall, cpu = drain(mirror, journal(trials, rungs), batch)
    print(f"MLflow: {points} points of {trials} trials, {batch} entries at once, in {wall:.1f} s:", end=" ")
    print(f"{points / wall:,.0f} points/s wall, {points / cpu:,.0f} processor", flush=True)


def plan_of(trials: int, rungs: int, name: str = "rate") -> SweepPlan:
    space = Space((Dimension("x", "float", 0.05, 2.0, log=True),))
    return SweepPlan(name, 1, 1, 100, (Objective("valid/error"),), Budget(trials, 100 * rungs), space)


def main() -> None:
    trials, rungs = (int(text) for text in (*sys.argv[1:], "100", "50")[:2])
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        prepare(uri)
        for batch in (1000, MlflowMirror.batch):
            track(folder, trials, rungs, batch)
        track(folder, 10 * trials, max(1, rungs // 5), MlflowMirror.batch)
        print(f"MLflow: its client alone, 1000 points per call: {ceiling(uri):,.0f} points/s")
        optuna = OptunaMirror(f"sqlite:///{folder}/optuna.db", plan_of(trials, rungs))
        wall, cpu = drain(optuna, journal(trials, rungs))
        print(f"Optuna: {trials} trials of {rungs} rungs in {wall:.1f} s:", end=" ")
        print(f"{trials / wall:.1f} trials/s wall, {trials / cpu:.1f} processor")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
