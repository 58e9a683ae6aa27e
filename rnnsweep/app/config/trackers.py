"""The ``tracker`` block: one tracker's keys, or several trackers' below their names."""

from __future__ import annotations

import netrc
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from rnnsweep.errors import ConfigError, nearest
from rnnsweep.extras import install_hint
from rnnsweep.unit import Range, as_declared, check_field

NONE, MLFLOW = "none", "mlflow"
KINDS: Mapping[str, tuple[str, ...]] = {
    MLFLOW: (),
    NONE: (),
    "tensorboard": ("folder",),
    "wandb": ("folder", "project", "entity", "mode"),
    "csv": ("folder",),
    "parquet": ("folder",),
}
"""Kind -> its keys besides ``points``."""
LIBRARIES = {"tensorboard": "tensorboard", "wandb": "wandb"}
"""Kind -> module, and extra, without which it cannot write."""
_POINTS = Range(2, 10**6, integer=True)
_WANDB_HOST = "api.wandb.ai"

Block = dict[str, Any]


def tracker_blocks(block: Mapping[str, Any]) -> dict[str, Block]:
    """Kind -> block of each tracker that writes something, in the order chosen.

    Example:
        >>> tracker_blocks({"kind": "mlflow", "points": 50})
        {'mlflow': {'kind': 'mlflow', 'points': 50}}
        >>> list(tracker_blocks({"mlflow": {"kind": "mlflow"}, "csv": {"kind": "csv"}}))
        ['mlflow', 'csv']
        >>> tracker_blocks({"kind": "none"})
        {}
    """
    return {one["kind"]: dict(one) for _, one in _named(block) if one.get("kind") != NONE}


def _named(block: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Dotted key and block of each tracker, as they stand in the config."""
    if isinstance(block.get("kind"), str):
        yield "tracker", block if isinstance(block, dict) else dict(block)
        return
    for name, one in block.items():
        if not isinstance(one, dict):
            raise ConfigError("is no tracker", key=f"tracker.{name}", value=one, allowed="tracker=[NAME,...]")
        yield f"tracker.{name}", one


def check_trackers(block: Mapping[str, Any]) -> None:
    """Check every tracker's keys, and that what it needs is installed; whole numbers written as floats become ints.

    Raises:
        ConfigError: the first value that is wrong; two trackers of a kind, or on one folder; a missing library.
    """
    kinds: dict[str, str] = {}
    folders: dict[str, str] = {}
    for key, one in _named(block):
        kind = str(one.get("kind"))
        if kind not in KINDS:
            hint = nearest(kind, KINDS)
            raise ConfigError("unknown value", key=f"{key}.kind", value=kind, allowed=list(KINDS), hint=hint)
        if kind in kinds:
            raise ConfigError(f"is of the same kind as {kinds[kind]}", key=key, value=kind, allowed="one of a kind")
        kinds[kind] = key
        check_field(f"{key}.points", one.get("points"), _POINTS)
        one["points"] = as_declared(one["points"], _POINTS)
        if "folder" in KINDS[kind]:
            _check_folder(one.get("folder"), f"{key}.folder", folders)
        if kind == "wandb":
            _check_wandb(one, key)
        _check_library(kind, key)


def _check_folder(value: Any, key: str, folders: dict[str, str]) -> None:
    if not isinstance(value, str) or not value or "://" in value or "\0" in value:
        raise ConfigError("is no folder", key=key, value=value, allowed="a path below the store's root, or absolute")
    if value in folders:
        # each may remove its own when it starts over
        raise ConfigError(f"is the folder of {folders[value]}", key=key, value=value, allowed="one of its own")
    folders[value] = key


def _check_wandb(one: Mapping[str, Any], key: str) -> None:
    check_field(f"{key}.mode", one.get("mode"), ("offline", "online"))
    for name in ("project", "entity"):
        value = one.get(name)
        if not (name == "entity" and value is None) and (not isinstance(value, str) or not value):
            raise ConfigError("is no name", key=f"{key}.{name}", value=value, allowed="a name")
    if one["mode"] == "online" and not _knows_wandb_key():
        hint = "Run 'wandb login', or set WANDB_API_KEY."  # otherwise the library would ask in the middle of a sweep
        raise ConfigError("W&B's key is not known", key=f"{key}.mode", value="online", hint=hint)


def _knows_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(_WANDB_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _check_library(kind: str, key: str) -> None:
    library = LIBRARIES.get(kind)
    if library is not None and find_spec(library) is None:
        raise ConfigError(f"needs {library}", key=key, value=kind, hint=install_hint(library))
