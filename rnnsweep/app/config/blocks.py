"""Blocks of a resolved config as frozen data: stores, cluster, and the plan of the sweep engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnsweep.adapters import sqlite
from rnnsweep.adapters.postgres import require_driver
from rnnsweep.app.config.checks import check_objective
from rnnsweep.app.config.search_space import from_plain
from rnnsweep.app.config.store_urls import KEYS
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.fidelity import KEY as FIDELITY
from rnnsweep.sweep.fidelity import stages_of
from rnnsweep.sweep.patience import patience_of
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.racing import check_racing, racing_of
from rnnsweep.sweep.schedulers.base import NO_SCHEDULER

_FAR = 1e9
"""Worst value of a metric that has no natural one: finite, and beyond what healthy rows report."""


@dataclass(frozen=True)
class StoreConfig:
    """Where everything is kept.

    Attributes:
        root: directory of all local stores, absolute.
        ledger: database URL.
        optuna: database URL of the mirror for optuna-dashboard; None: no mirror.
        mlflow: tracking URI.
        artifacts: where MLflow keeps artifacts; None: the server decides.
        checkpoints: directory or fsspec URL.
    """

    root: Path
    # not shown: URLs may hold passwords, and what is shown ends in logs
    ledger: str = field(repr=False)
    optuna: str | None = field(repr=False)
    mlflow: str = field(repr=False)
    artifacts: str | None = field(repr=False)
    checkpoints: str = field(repr=False)

    @property
    def urls(self) -> dict[str, str | None]:
        """What may hold passwords, by key."""
        return {key: getattr(self, key) for key in KEYS}


@dataclass(frozen=True)
class ClusterConfig:
    """What trains; see ``conf/cluster/*.yaml`` for units and ranges.

    Attributes:
        py_paths: directories that workers import the user's units from; the config directories are among them.
    """

    executor: str
    address: str | None = None
    workers: int | None = None
    cores_per_worker: int = 1
    gpus_per_worker: int | str = "auto"
    rows: int | None = None
    deadline_s: float = 600.0
    dashboard: bool = False
    py_paths: tuple[str, ...] = ()


def store_root(block: Mapping[str, Any], root: Path | None) -> Path:
    """Root of the stores, absolute: the argument, else RNNSWEEP_STORE, else ``store.root``."""
    named = os.environ.get("RNNSWEEP_STORE") or ""
    if "://" in named:  # a cluster's ledger: it says nothing about directories
        named = ""
    return Path(root or named or block["root"]).expanduser().resolve()


def store_config(block: Mapping[str, Any], root: Path | None) -> StoreConfig:
    """The ``store`` block with its defaults filled in; ``optuna: none`` switches that mirror off.

    Raises:
        ConfigError: a database server is named whose driver is not installed; a path that MLflow would misread; a
            database that is a directory or a dangling link.
    """
    for name in ("ledger", "optuna"):
        require_driver(block[name] or "", f"store.{name}")
    place = store_root(block, root)
    # percent-escapes and URL delimiters
    if any(sign in str(place) for sign in "%?#"):
        problem, allowed = "MLflow reads paths as URLs and would write elsewhere", "a path without %, ? and #"
        raise ConfigError(problem, key="store.root", value=str(place), allowed=allowed)
    mlflow = block["mlflow"] or sqlite.url_of(place / "mlflow.db")
    served = mlflow.startswith(("http://", "https://"))
    optuna = block["optuna"] or sqlite.url_of(place / "optuna.db")
    ledger = block["ledger"] or sqlite.url_of(place / "ledger.db")
    for name, url in (("ledger", ledger), ("optuna", optuna), ("mlflow", mlflow)):
        sqlite.check_file(url, f"store.{name}")
    return StoreConfig(
        root=place,
        ledger=ledger,
        optuna=None if optuna == "none" else optuna,
        mlflow=mlflow,
        # a server has an artifact store of its own, which this machine's path would override
        artifacts=block["artifacts"] or (None if served else str(place / "artifacts")),
        checkpoints=block["checkpoints"] or str(place / "checkpoints"),
    )


def cluster_config(block: Mapping[str, Any]) -> ClusterConfig:
    """The ``cluster`` block, already checked."""
    # resolved here: a worker starts in another directory
    paths = block.get("py_paths") or []
    return ClusterConfig(**{**block, "py_paths": tuple(str(Path(path).resolve()) for path in paths)})


def worst_values(updates: int, tasks: Mapping[str, float] | None = None) -> dict[str, float]:
    """What a diverged replica scores: what the sweep's tasks say, and for solved_at the trial's own budget.

    Args:
        updates: of a trial.
        tasks: worst value by metric; None where the tasks are not known yet.
    """
    # an error is a share, so 1 is its natural worst; a loss has no bound
    unknown = {"train/loss": _FAR, "valid/loss": _FAR, "valid/error": 1.0}
    return {**(unknown if tasks is None else tasks), "solved_at": float(updates)}


def make_plan(resolved: Mapping[str, Any], worst: Mapping[str, float]) -> SweepPlan:
    """The engine's view of a resolved config (already checked, but for objectives and enqueued points).

    Raises:
        ConfigError: an objective or an enqueued point that makes no sense.
    """
    block, budget, space = resolved["objective"], dict(resolved["budget"]), from_plain(resolved["space"])
    several = isinstance(block, list)
    if several and not block:
        raise ConfigError("is empty", key="objective", allowed="one objective or a list of them")
    # keys of `budget` for the user, policies of the plan for the engine
    retries, repeat = budget.pop("retries"), budget.pop("repeat")
    objectives = [
        _objective(item, f"objective.{index}" if several else "objective", worst)
        for index, item in enumerate(block if several else [block])
    ]
    plan = SweepPlan(
        name=resolved["name"],
        seed=resolved["seed"],
        replicas=resolved["replicas"],
        report_every=resolved["training"]["report_every"],
        eval_every=resolved["training"]["eval_every"],
        objectives=tuple(objectives),
        budget=Budget(**budget),
        space=space,
        retries=retries,
        prefetch=resolved["sampler"]["prefetch"],
        in_flight=_in_flight(resolved),
        enqueue=tuple(space.fitting(point, f"sampler.enqueue.{i}") for i, point in enumerate(_points(resolved))),
        config=resolved,
        worst=dict(worst),
        stages=stages_of(resolved.get(FIDELITY) or {}, resolved["training"]["report_every"]),
        repeat=repeat or resolved["seeds"] == "independent" or _scheduled(resolved),
        racing=racing_of(resolved.get("racing")),  # ledgers of before have none
    )
    check_racing(plan, resolved["seeds"], scheduled=_scheduled(resolved))
    patience_of(plan)  # refuses objectives that cannot be waited for
    return plan


def _scheduled(resolved: Mapping[str, Any]) -> bool:
    """Whether a scheduler decides on trials together: each has a part of its own in what becomes of the others."""
    return resolved.get("scheduler", NO_SCHEDULER)["_target_"] != NO_SCHEDULER["_target_"]


def _objective(block: Any, key: str, worst: Mapping[str, float]) -> Objective:
    check_objective(block, key)
    # worst depends on the direction
    far = -_FAR if block.get("goal") == "maximize" else _FAR
    return Objective(**block, worst=worst.get(block["metric"], far))


def _in_flight(resolved: Mapping[str, Any]) -> float | None:
    """Samplers with a model have it; members of a population wait for each other, so all of them are asked for."""
    population = (resolved.get("scheduler") or {}).get("members") is not None
    return None if population else resolved["sampler"].get("in_flight")


def _points(resolved: Mapping[str, Any]) -> list[Any]:
    points = resolved["sampler"].get("enqueue") or []
    if not isinstance(points, list):
        raise ConfigError("is no list", key="sampler.enqueue", value=points, allowed="a list of {dotted key: value}")
    return points
