"""Checks of the plain blocks and across blocks; units check themselves (`unit_checks`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rnnsweep.errors import ConfigError, nearest
from rnnsweep.unit import Range, check_field

UNIT_GROUPS = ("task", "family", "readout", "init", "controllers", "learner", "optimizer")
TOP_LEVEL = (
    *("name", "seed", "replicas", "seeds", *UNIT_GROUPS, "training", "objective", "space", "sampler", "pruner"),
    *("budget", "cluster", "engine", "dtype", "store", "tracker"),
)
_COUNT = Range(1, integer=True)
_BOOLEAN = (True, False)
_SECONDS = Range(0, open_low=True, optional=True)

PLAIN: Mapping[str, Range | tuple[Any, ...]] = {
    "seed": Range(0, integer=True),
    "replicas": Range(1, integer=True),
    "seeds": ("shared", "independent"),
    "training.batch": Range(1, integer=True),
    "training.report_every": _COUNT,
    "training.eval_every": _COUNT,
    "training.eval_size": _COUNT,
    "training.solved_below": Range(0, 1, open_low=True),
    "training.stop_solved": _BOOLEAN,
    "budget.trials": Range(1, integer=True, optional=True),
    "budget.updates": _COUNT,
    "budget.wall_s": _SECONDS,
    "budget.device_s": _SECONDS,
    "budget.target": Range(-1e300, 1e300, optional=True),
    "budget.retries": Range(0, 1000, integer=True),
    "sampler.prefetch": Range(0, 1000, integer=True),
    "cluster.executor": ("ray", "inline"),
    "cluster.workers": Range(1, integer=True, optional=True),
    "cluster.cores_per_worker": Range(1, integer=True),
    "cluster.rows": Range(1, integer=True, optional=True),
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

Get = Callable[[str], Any]


def check_plain(get: Get) -> None:
    """Check all plain blocks of a resolved config, given as a look-up of dotted keys.

    Raises:
        ConfigError: the first value that is out of range, of the wrong type, or unknown.
    """
    for key, allowed in PLAIN.items():
        value = get(key)
        if isinstance(allowed, tuple) and allowed == _BOOLEAN and not isinstance(value, bool):
            raise ConfigError("is neither true nor false", key=key, value=value, allowed="true, false")
        check_field(key, value, allowed)
    _check_name(get("name"))
    for key in _STORE_KEYS:
        value = get(f"store.{key}")
        if value is not None and (not isinstance(value, str) or not value):
            raise ConfigError("is no path or URL", key=f"store.{key}", value=value, allowed="a path, a URL or null")
    gpus = get("cluster.gpus_per_worker")
    if gpus != "auto" and not Range(0, 64, integer=True).accepts(gpus):
        allowed = "a whole number >= 0, or auto"
        raise ConfigError("out of range", key="cluster.gpus_per_worker", value=gpus, allowed=allowed)
    _check_steps(get)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = "letters, digits, '.', '_' and '-', at most 100"
        raise ConfigError("is no name", key="name", value=name, allowed=allowed)


def _check_steps(get: Get) -> None:
    updates, period = get("budget.updates"), get("training.report_every")
    if period > updates:
        allowed = f"at most budget.updates={updates}"
        raise ConfigError("no rung would ever be reached", key="training.report_every", value=period, allowed=allowed)
    rungs = -(-updates // period)
    if get("training.eval_every") > rungs:
        allowed = f"at most {rungs}, the rungs of a trial (budget.updates / training.report_every)"
        value = get("training.eval_every")
        raise ConfigError("nothing would ever be evaluated", key="training.eval_every", value=value, allowed=allowed)
    if all(get(f"budget.{key}") is None for key in ("trials", "wall_s", "device_s", "target")):
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


def check_kind(key: str, value: Any, default: Any) -> None:
    """Check that a value is of its default's type, where no more than the default is known.

    Raises:
        ConfigError: another type, or NaN.
    """
    if isinstance(value, float) and value != value:
        raise ConfigError("is not a number", key=key, value="nan", allowed="a finite number")
    if value is None or default is None or _kind(value) == _kind(default):
        return
    raise ConfigError("has the wrong type", key=key, value=value, allowed=f"{_kind(default)}, such as {default}")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a word"
    return "a list" if isinstance(value, (list, tuple)) else "a group of keys"
