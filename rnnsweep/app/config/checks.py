"""Checks of a resolved config's values, and of settings that do nothing; units check themselves (`unit_checks`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from rnnsweep.app.config.notify import check_notify
from rnnsweep.app.config.point import lookup, put
from rnnsweep.app.config.store_urls import refuse_unclear
from rnnsweep.app.config.teachers import teachers
from rnnsweep.app.config.trackers import check_trackers
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.sweep.fidelity import KEY as FIDELITY
from rnnsweep.unit import Range, as_declared, check_field

UNIT_GROUPS = ("task", "family", "embedding", "readout", "init", "controllers", "learner", "optimizer")
TOP_LEVEL = (
    *("name", "seed", "replicas", "seeds", "racing", *UNIT_GROUPS, "training", "fidelity", "scorers", "objective"),
    *("space", "sampler", "pruner", "scheduler", "budget", "cluster", "engine", "dtype", "store", "tracker", "notify"),
)
SAMPLER_PLAIN = ("enqueue", "prefetch", "warm_start")
"""Keys of ``sampler`` that are the sweep's, not the unit's."""
_COUNT = Range(1, 2**53, integer=True)
"""Beyond it a float, as which MLflow keeps steps, no longer tells one whole number from the next."""
_BOOLEAN = (True, False)
_SECONDS = Range(0, open_low=True, optional=True)

PLAIN: Mapping[str, Range | tuple[Any, ...]] = {
    # what a signed 64-bit integer holds, in torch and in databases
    "seed": Range(0, 2**63 - 1, integer=True),
    "replicas": Range(1, 100_000, integer=True),
    "seeds": ("shared", "independent"),
    "racing.level": Range(0, 1, open_low=True, open_high=True, optional=True),
    "racing.block": Range(1, 100_000, integer=True),
    "training.batch": Range(1, 2**24, integer=True),
    "training.data_share": Range(0, 1, open_low=True),
    "training.report_every": _COUNT,
    "training.eval_every": _COUNT,
    "training.eval_size": Range(1, 2**24, integer=True),
    "training.solved_below": Range(0, 1, open_low=True),
    "training.stop_solved": _BOOLEAN,
    "budget.trials": Range(1, 10**7, integer=True, optional=True),
    "budget.updates": _COUNT,
    "budget.wall_s": _SECONDS,
    "budget.device_s": _SECONDS,
    "budget.target": Range(-1e300, 1e300, optional=True),
    "budget.patience": Range(1, 10**7, integer=True, optional=True),
    "budget.min_delta": Range(0, 1e300),
    "budget.retries": Range(0, 1000, integer=True),
    "budget.repeat": _BOOLEAN,
    "sampler.prefetch": Range(0, 1000, integer=True),
    "cluster.executor": ("ray", "inline"),
    "cluster.workers": Range(1, 100_000, integer=True, optional=True),
    "cluster.cores_per_worker": Range(1, 4096, integer=True),
    "cluster.rows": Range(1, 10**6, integer=True, optional=True),
    "cluster.deadline_s": Range(0, open_low=True),
    "cluster.dashboard": _BOOLEAN,
    "engine": ("auto", "reference", "cpu", "gpu"),
    "dtype": ("float32", "float64"),
}
_OBJECTIVE: Mapping[str, tuple[Any, ...]] = {
    "goal": ("minimize", "maximize"),
    "take": ("last", "best"),
    "reduce": ("mean", "median", "best", "solved_share"),
}
_STORE_KEYS = ("root", "ledger", "optuna", "mlflow", "artifacts", "checkpoints")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LONGEST = 255
"""Bytes of a file's name, the limit of all common file systems."""


def check_values(resolved: dict[str, Any]) -> None:
    """Check all plain blocks of a resolved config; whole numbers that were written as floats become ints.

    Raises:
        ConfigError: the first value that is out of range, of the wrong type, or unknown.
    """
    for key, allowed in PLAIN.items():
        value = lookup(resolved, key)
        # 1 == True in Python: membership in (True, False) would let 1 and 0.0 through
        if allowed == _BOOLEAN and not isinstance(value, bool):
            raise ConfigError("is neither true nor false", key=key, value=value, allowed="true, false")
        check_field(key, value, allowed)
        # written back, since YAML reads 1e6 as a float where a count is meant
        put(resolved, key, as_declared(value, allowed))
    if not isinstance(resolved.get(FIDELITY, {}), Mapping):  # ledgers of before have none
        allowed = "{KEY: [VALUE, ...]} or {KEY: {UPDATE: VALUE, ...}}"
        raise ConfigError("is no mapping", key=FIDELITY, value=resolved[FIDELITY], allowed=allowed)
    _check_name(resolved["name"], "name")
    for teacher in teachers(resolved["sampler"]["warm_start"]):
        if teacher.kind == "sweep":
            _check_name(teacher.name, teacher.key)
    _check_places(resolved)
    _check_cluster(resolved["cluster"])
    check_trackers(resolved["tracker"])
    check_notify(resolved.get("notify", []))  # ledgers of before have none
    _check_steps(resolved)


def _check_places(resolved: Mapping[str, Any]) -> None:
    for name in _STORE_KEYS:
        key, value = f"store.{name}", resolved["store"][name]
        if value is None:
            continue
        if not isinstance(value, str) or not value:
            raise ConfigError("is no path or URL", key=key, value=value, allowed="a path, a URL or null")
        if "://" in value:
            refuse_unclear(value, key)
        # in bytes, as file systems count, not in characters
        longest = max((len(part.encode()) for part in PurePath(value).parts), default=0)
        if longest > _LONGEST:
            allowed = f"names of at most {_LONGEST} bytes"
            raise ConfigError("no file system takes so long a name", key=key, value=f"{value[:40]}...", allowed=allowed)


def _check_cluster(block: dict[str, Any]) -> None:
    gpus, paths, address = block["gpus_per_worker"], block.get("py_paths") or [], block["address"]
    if gpus != "auto":
        if not Range(0, 64, integer=True).accepts(gpus):
            allowed = "a whole number from 0 to 64, or auto"
            raise ConfigError("out of range", key="cluster.gpus_per_worker", value=gpus, allowed=allowed)
        # 1.0 passes the check; Ray and the stores are to see 1
        block["gpus_per_worker"] = int(gpus)
    if address is not None and not isinstance(address, str):
        allowed = "auto, host:port, or null"
        raise ConfigError("is no address", key="cluster.address", value=address, allowed=allowed)
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ConfigError("is no list of paths", key="cluster.py_paths", value=paths, allowed="[DIR, ...]")


def _check_name(name: Any, key: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = "letters, digits, '.', '_' and '-', at most 100"
        raise ConfigError("is no name", key=key, value=name, allowed=allowed)


def fit_rungs(resolved: dict[str, Any], rank: Callable[[str], int]) -> None:
    """Let a budget that is smaller than a rung be one rung, where the rung was not written for that budget.

    Args:
        resolved: a config; lengths that are refused otherwise are changed, and no others.
        rank: how specific the source of a key's value is: of two, the larger one was written later, knowing the other.
    """
    updates, block = resolved["budget"]["updates"], resolved["training"]
    for key in ("report_every", "eval_every"):
        if not all(_COUNT.accepts(value) for value in (updates, block["report_every"], block[key])):
            return  # the checks that follow say which
        most = int(updates) if key == "report_every" else -(-int(updates) // int(block["report_every"]))
        if block[key] > most and rank(f"training.{key}") < rank("budget.updates"):
            block[key] = most


def _check_steps(resolved: Mapping[str, Any]) -> None:
    budget, training = resolved["budget"], resolved["training"]
    updates, period = budget["updates"], training["report_every"]
    if period > updates:
        allowed, hint = f"at most budget.updates={updates}", f"Set training.report_every={updates}, or more updates."
        problem = "no rung would ever be reached"
        raise ConfigError(problem, key="training.report_every", value=period, allowed=allowed, hint=hint)
    # rounded up: the last rung may be a short one
    rungs = -(-updates // period)
    if training["eval_every"] > rungs:
        allowed = f"at most {rungs}, the rungs of a trial (budget.updates / training.report_every)"
        value, hint = training["eval_every"], f"Set training.eval_every={rungs}, or more updates."
        problem = "nothing would ever be evaluated"
        raise ConfigError(problem, key="training.eval_every", value=value, allowed=allowed, hint=hint)
    # `updates` ends trials, not the sweep
    if all(budget[key] is None for key in ("trials", "wall_s", "device_s", "target")):
        allowed = "a number in one of budget.trials, wall_s, device_s, target"
        raise ConfigError("the sweep would never end", key="budget.trials", value="null", allowed=allowed)


def check_objective(block: Any, key: str = "objective") -> None:
    """Check one objective's block; which metrics there are depends on the units (`unit_checks.check_objectives`).

    Raises:
        ConfigError: no mapping, unknown key, no metric, or another value that is not allowed.
    """
    known = ("metric", *_OBJECTIVE)
    if not isinstance(block, Mapping):
        raise ConfigError("is no mapping", key=key, value=block, allowed=f"{{{', '.join(known)}}}")
    for name, value in block.items():
        if name not in known:
            raise ConfigError("unknown key", key=f"{key}.{name}", allowed=known, hint=nearest(str(name), known))
        allowed = _OBJECTIVE.get(name)
        if allowed is not None and value not in allowed:
            hint = nearest(str(value), allowed)
            raise ConfigError("unknown value", key=f"{key}.{name}", value=value, allowed=allowed, hint=hint)
    if not isinstance(block.get("metric"), str):
        allowed = "a metric key, see `rnnsweep units`"
        raise ConfigError("names no metric", key=f"{key}.metric", value=block.get("metric"), allowed=allowed)
