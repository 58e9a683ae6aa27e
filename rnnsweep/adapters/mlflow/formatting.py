"""Texts of the tracker: names that MLflow allows, params, tags, and the note of the sweep's run."""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml

from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.space import Dimension
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.summary import Best, Rank
from rnnsweep.sweep.views import fingerprint_text

LONGEST_NAME, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 5000
TAGS = ("state", "solved", "reason", "attempts", "worker", "engine", "seed", "shape_key")
"""Tags of every trial, whose names columns of searched keys must not take."""
ORDER = "rnnsweep.order"
"""Tag by which MLflow sorts trials as everything else here does, see `order_text`."""

_ILLEGAL = re.compile(r"[^\w.\-: /]", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@lru_cache(maxsize=4096)
def legal_name(key: str) -> str:
    """A name of a metric, param or tag as MLflow allows it: letters, digits and ``_-.: /``, and the form of a path.

    `@` reads ``_at_``; a name that loses anything else gets a few digits of its own, so that two stay two.

    Example:
        >>> legal_name("valid/error"), legal_name("objective@200"), legal_name("valid/MAP@5,x")
        ('valid/error', 'objective_at_200', 'valid/MAP_at_5_x-aee9d3')
    """
    name = key.replace("@", "_at_")
    legal = _ILLEGAL.sub("_", name)
    legal = posixpath.normpath(legal).lstrip("/") if legal else ""
    while legal.startswith(".."):
        legal = legal[2:].lstrip("/")
    if legal == name and 0 < len(legal) <= LONGEST_NAME and legal != ".":
        return legal
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{legal.strip('.')[: LONGEST_NAME - 7]}-{digest}"


def clean(text: str) -> str:
    r"""A text that every database takes: control characters and lone surrogates become escapes.

    Example:
        >>> clean("a\x00b\udc80") == r"a\x00b\udc80"
        True
    """
    text = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def param_text(value: Any) -> str:
    """A param as MLflow shows it: numbers as numbers, off as ``inf``, ``null`` and ``true`` as in yaml.

    Example:
        >>> param_text(0.5), param_text(True), param_text(None), param_text("tanh")
        ('0.5', 'true', 'null', 'tanh')
    """
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return clean(value if isinstance(value, str) else json.dumps(value, default=str))[:LONGEST_PARAM]


def rounded(value: Any) -> str:
    """A param for a narrow column: four digits.

    Example:
        >>> rounded(0.30000000000000004), rounded(12345), rounded("tanh")
        ('0.3', '12345', 'tanh')
    """
    return f"{value:.4g}" if isinstance(value, float) else param_text(value)


def column_names(keys: Sequence[str], taken: Sequence[str] = ()) -> dict[str, str]:
    """Short names for columns: the last two parts of each key, more where two would be the same.

    Example:
        >>> column_names(["controllers.clip.threshold", "init.sigma", "family"])
        {'controllers.clip.threshold': 'clip.threshold', 'init.sigma': 'init.sigma', 'family': 'family'}
    """
    names: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        candidates = [".".join(parts[-count:]) for count in range(min(2, len(parts)), len(parts) + 1)]
        others = {other for other in keys if other != key}
        unique = (name for name in candidates if not any(f".{other}".endswith(f".{name}") for other in others))
        name = next(unique, key)
        names[key] = f"searched.{name}" if name in taken else name
    return names


def trial_tags(data: Mapping[str, Any], plan: SweepPlan, shape_key: str, rank: Rank | None) -> dict[str, str]:
    """Tags of a trial's run; searched keys once more, short and rounded, for the columns of MLflow's table."""
    tags: dict[str, Any] = {
        "state": data["state"],
        "reason": data.get("reason", ""),
        "attempts": data.get("attempts", 0),
        "worker": data.get("worker", ""),
        "engine": data.get("engine", ""),
        "seed": plan.seed,
        "shape_key": shape_key,
    }
    columns = column_names(plan.space.keys, TAGS)
    tags.update({columns[key]: rounded(value) for key, value in data["params"].items() if key in columns})
    if TrialState(data["state"]).finished:  # the metric solved_at is a number on every run: the budget where unsolved
        tags["solved"] = "no" if data.get("solved_at") is None else "yes"
    if data.get("diverged_at") is not None:
        tags["diverged_at"] = data["diverged_at"]
        tags["diverged_share"] = data.get("diverged_share", 0.0)
    if data.get("fingerprints") is not None:
        tags["fingerprints"] = fingerprint_text(data["fingerprints"])
    tags.update(data.get("extra", {}))
    if rank is not None:
        tags[ORDER] = order_text(rank)
    return {legal_name(key): clean(str(value))[:LONGEST_TAG] for key, value in tags.items()}


def order_text(rank: Rank) -> str:
    """A rank as text that sorts as the ranks do: the bits of its numbers in order-preserving form.

    Example:
        >>> ranks = [Rank(-1.0, 5.0, 2), Rank(0.0, 5.0, 9), Rank(0.0, math.inf, 1), Rank(0.5, 1.0, 0)]
        >>> [order_text(rank) for rank in ranks] == sorted(order_text(rank) for rank in ranks)
        True
    """
    return f"{_bits(rank.loss):016x}-{_bits(rank.solved_at):016x}-{rank.number:08d}"


def rank_of(text: str) -> Rank:
    """Inverse of `order_text`."""
    loss, solved_at, number = text.split("-")
    return Rank(_float(int(loss, 16)), _float(int(solved_at, 16)), int(number))


def _bits(value: float) -> int:
    bits = struct.unpack(">Q", struct.pack(">d", value + 0.0))[0]  # -0.0 + 0.0 is 0.0
    return bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63)


def _float(bits: int) -> float:
    bits ^= (1 << 63) if bits >> 63 else 0xFFFF_FFFF_FFFF_FFFF
    return struct.unpack(">d", struct.pack(">Q", bits))[0]


def config_yaml(config: Mapping[str, Any], params: Params | None = None) -> bytes:
    """The resolved config as yaml, with a trial's params put at their dotted keys."""
    tree = json.loads(json.dumps(config, default=str))
    for key, value in (params or {}).items():
        *path, last = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            node[last] = value
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode("utf-8", "backslashreplace")


def note(plan: SweepPlan, state: str, best: tuple[Best, Mapping[str, str]] | None, commands: Sequence[str]) -> str:
    """The note of the sweep's run, in markdown; `best` comes with its params as texts."""
    goals = ", ".join(f"{o.goal} {o.take} `{o.metric}` ({o.reduce} of {plan.replicas})" for o in plan.objectives)
    lines = [f"## Sweep `{plan.name}`: {state}", ""]
    if best is not None:  # what the UI shows before "Show more"
        first, params = best
        assignments = ", ".join(_code(f"{key}={_short(text)}") for key, text in params.items())
        lines += [f"**Best: {first}** with {assignments or 'no searched keys'}", ""]
    lines += [f"Objective: {goals}", "", "```", *commands, "```"]
    lines += ["", "| searched key | range |", "|---|---|"]
    lines += [f"| {_code(dimension.key)} | {_code(range_text(dimension))} |" for dimension in plan.space]
    return "\n".join(map(clean, lines))[:LONGEST_TAG]


def _short(text: str) -> str:
    """A param's text with four digits where it is a number with more."""
    try:
        return text if text.lstrip("-").isdigit() else f"{float(text):.4g}"
    except ValueError:
        return text


def _code(text: str) -> str:
    """Text that markdown shows as it is, also in a table: no image, link or tag of a choice comes alive."""
    return "`" + " ".join(text.replace("`", "'").replace("|", "\\|").split()) + "`"


def range_text(dimension: Dimension) -> str:
    """A dimension in words.

    Example:
        >>> range_text(Dimension("x", "float", 0.1, 10.0, log=True))
        '0.1 … 10 (log)'
    """
    if dimension.kind == "categorical":
        text = ", ".join(param_text(choice) for choice in dimension.choices)
    else:
        text = f"{dimension.low:g} … {dimension.high:g}" + (" (log)" if dimension.log else "")
        text += f", step {dimension.step:g}" if dimension.step is not None else ""
    conditions = (f"{key} = {' or '.join(map(param_text, values))}" for key, values in dimension.when.items())
    return " ".join([text, *(f"where {condition}" for condition in conditions)])
