from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.metrics.names import METRICS
from rnnsweep.report.data import PROFILE_COLUMNS, SweepData, no_profiles
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.space import Dimension, Space

SPACE = Space(
    (
        Dimension("controllers.clip.threshold", "float", low=0.1, high=10.0, log=True),
        Dimension("controllers.omega.weight", "categorical", choices=(0.0, 1.0, 2.0, 4.0)),
        Dimension("init.sigma", "float", low=0.01, high=0.3, log=True),
        Dimension("controllers.sampling.q_max", "float", low=0.0, high=2.0),
    )
)
UPDATES, STEP, REPLICAS = 6000, 200, 6


def trials_frame(rng: np.random.Generator, count: int) -> pd.DataFrame:
    rows = []
    for number in range(count):
        weight = (0.0, 1.0, 2.0, 4.0)[int(rng.integers(4))]
        state = "FAILED" if number == 7 else "PRUNED" if number % 6 == 5 else "COMPLETE"
        rows.append(
            {
                "trial": number,
                "state": state,
                "objective": None,
                "solved_at": None,
                "diverged_at": None,
                "diverged_share": 0.0,
                "reason": "bug: ValueError <x>" if state == "FAILED" else "",
                "attempts": 1,
                "started": 1e9 + 5 * number,
                "finished": 1e9 + 5 * number + 40,
                "step": UPDATES,
                "worker": "w0",
                "engine": "cpu",
                "controllers.clip.threshold": float(10 ** rng.uniform(-1, 1)),
                "controllers.omega.weight": weight,
                "init.sigma": float(10 ** rng.uniform(-2, -0.5)),
                "controllers.sampling.q_max": float(rng.uniform(0, 2)),
            }
        )
    return pd.DataFrame(rows)


def replica_rows(rng: np.random.Generator, trial: pd.Series) -> list[dict[str, object]]:
    rows = []
    for replica in range(REPLICAS):
        weight = trial["controllers.omega.weight"]
        solves = weight > 0 and rng.uniform() < 0.9 and trial["init.sigma"] > 0.03 and trial["state"] == "COMPLETE"
        at = int(rng.integers(4, 20)) * STEP if solves else None
        rows.append(
            {
                "trial": trial["trial"],
                "replica": replica,
                "state": "SOLVED" if solves else "DONE",
                "step": at or (UPDATES if trial["state"] == "COMPLETE" else 1800),
                "solved_at": at,
                "diverged_at": None,
                "device_s": 2.0,
                "engine": "cpu",
                "value": float(rng.uniform(0, 0.009)) if solves else float(rng.uniform(0.45, 0.76)),
            }
        )
    return rows


def curve_rows(rng: np.random.Generator, replica: dict[str, object]) -> list[dict[str, object]]:
    rows = []
    end = int(replica["step"])
    for step in range(STEP, end + 1, STEP):
        error = 0.75 / (1 + np.exp((step - 0.8 * end) / 150)) if replica["solved_at"] else 0.72 + rng.normal() * 0.02
        values = {
            "valid/error": error,
            "valid/loss": 1.4 * error + 0.01,
            "grad/norm": np.exp(rng.normal()),
            "clip/share": rng.uniform(0.1, 0.3),
            "sampling/admitted": rng.uniform(0.7, 1),
            "omega/value": 0.0,
            "weights/rho": 1.0 + 0.3 * step / UPDATES + 0.02 * rng.normal(),
            "state/saturation": rng.uniform(0, 0.1),
        }
        rows += [
            {
                "trial": replica["trial"],
                "replica": replica["replica"],
                "rung": step // STEP,
                "step": step,
                "key": key,
                "value": float(value),
            }
            for key, value in values.items()
        ]
    return rows


def profile_rows(trial: int, replica: int) -> list[tuple[int, int, str, int, int, float, str]]:
    return [
        (trial, replica, when, update, depth, -slope * depth - 0.1 * replica, "1")
        for when, update, slope in (("start", 200, 0.2), ("middle", 3000, 0.1), ("end", 6000, 0.02))
        for depth in range(30)
    ]


def build(count: int = 24) -> SweepData:
    rng = np.random.default_rng(5)
    trials = trials_frame(rng, count)
    replicas = pd.DataFrame([row for _, trial in trials.iterrows() for row in replica_rows(rng, trial)])
    curves = pd.DataFrame(
        [
            row
            for row in replicas.to_dict("records")
            for row in curve_rows(
                rng, {**row, "solved_at": row["solved_at"] if row["solved_at"] == row["solved_at"] else None}
            )
        ]
    )
    trials["objective"] = trials["trial"].map(replicas.groupby("trial")["value"].mean())
    solved = replicas.groupby("trial")["solved_at"].agg(
        lambda s: sorted(s.dropna())[2] if s.notna().sum() >= 3 else None
    )
    trials["solved_at"] = trials["trial"].map(solved).astype(float)
    trials.loc[trials["state"] == "FAILED", "objective"] = None
    trials.loc[3, ["diverged_share", "diverged_at", "objective", "solved_at"]] = [1 / 6, 420, 1.0, None]
    trials["objective"] = trials["objective"].astype(float)
    return SweepData(
        name="quickstart",
        state="COMPLETE",
        objective=Objective("valid/error"),
        space=SPACE,
        updates=UPDATES,
        replicas_per_trial=REPLICAS,
        trials=trials,
        replicas=replicas,
        curves=curves,
        profiles=pd.DataFrame(
            [row for trial in (0, 1, 2) for replica in range(REPLICAS) for row in profile_rows(trial, replica)],
            columns=PROFILE_COLUMNS,
        ),
        metrics=METRICS
        | {key: metric for unit in (GlobalNormClip, Omega, Sampling) for key, metric in unit.metrics.items()},
        chance=0.75,
        importances={
            "controllers.omega.weight": 0.62,
            "init.sigma": 0.25,
            "controllers.clip.threshold": 0.09,
            "controllers.sampling.q_max": 0.04,
        },
        totals={"wall_s": 143.0, "device_s": 260.0, "updates": 288_000},
        config_yaml="task: {name: temporal_order}\n",
        commands=("rnnsweep launch quickstart budget.trials=24 --fresh", "rnnsweep resume quickstart"),
        environment={"torch": "2.13.0"},
    )


def two_objectives(data: SweepData) -> SweepData:
    """The same sweep with the mean update of its replicas as a second objective."""
    second = data.replicas.groupby("trial")["step"].mean()
    values = pd.DataFrame(
        {
            "trial": data.trials["trial"],
            "valid/error": data.trials["objective"],
            "step": data.trials["trial"].map(second),
        }
    )
    return dataclasses.replace(data, objectives=(data.objective, Objective("step")), values=values)


def one_key(solved: dict[float, list[list[bool]]], updates: int = 1000) -> SweepData:
    """A sweep over the Ω weight alone: weight -> trials, each the fate of its replicas."""
    trials, replicas = [], []
    for weight, fates in solved.items():
        for fate in fates:
            number, count = len(trials), sum(fate)
            at = 100.0 if 2 * count >= len(fate) else None
            trials.append((number, "COMPLETE", 1 - count / len(fate), at, None, 0.0, "", 1, 0.0, 1.0, weight))
            replicas += [
                (
                    number,
                    replica,
                    "SOLVED" if won else "DONE",
                    updates,
                    0.0 if won else 1.0,
                    100.0 if won else None,
                    1.0,
                )
                for replica, won in enumerate(fate)
            ]
    columns = ["trial", "state", "objective", "solved_at", "diverged_at", "diverged_share"]
    columns += ["reason", "attempts", "started", "finished"]
    return SweepData(
        name="weights",
        state="COMPLETE",
        objective=Objective("valid/error"),
        space=Space((Dimension("omega.weight", "categorical", choices=tuple(solved)),)),
        updates=updates,
        replicas_per_trial=max(len(fate) for fates in solved.values() for fate in fates),
        trials=pd.DataFrame(trials, columns=[*columns, "omega.weight"]).astype({"solved_at": float}),
        replicas=pd.DataFrame(
            replicas, columns=["trial", "replica", "state", "step", "value", "solved_at", "device_s"]
        ).astype({"solved_at": float}),
        curves=pd.DataFrame(columns=["trial", "replica", "rung", "step", "key", "value"]),
    )


@pytest.fixture(scope="session")
def data() -> SweepData:
    return build()


@pytest.fixture
def empty(data: SweepData) -> SweepData:
    return dataclasses.replace(
        data,
        trials=data.trials.iloc[:0],
        replicas=data.replicas.iloc[:0],
        curves=data.curves.iloc[:0],
        profiles=no_profiles(),
        importances={},
    )


def as_population(data: SweepData) -> SweepData:
    """The sweep as if every trial had taken over another one's state in the middle of its training."""
    keys = [key for key in data.space.keys if data.numeric(key)]
    own = data.trials[["trial", *keys]].assign(by=data.trials["trial"], begin=0, end=3000)
    later = own.assign(by=own["trial"] // 2, begin=3000, end=6000, **{key: own[key] * 0.8 for key in keys})
    lineages = pd.concat([own, later])[["trial", "by", "begin", "end", *keys]].sort_values(["trial", "begin"])
    return dataclasses.replace(data, lineages=lineages)
