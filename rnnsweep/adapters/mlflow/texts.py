"""Texts of the tracker: params, tags, and the parent run's note."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import yaml

from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.space import Dimension

LONGEST_PARAM, LONGEST_TAG = 6000, 5000


def param_text(value: Any) -> str:
    """A param as MLflow shows it: numbers as numbers, off as ``inf``, ``null`` and ``true`` as in yaml.

    Example:
        >>> param_text(0.5), param_text(True), param_text(None), param_text("tanh")
        ('0.5', 'true', 'null', 'tanh')
    """
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:LONGEST_PARAM]


def trial_tags(data: Mapping[str, Any], plan: SweepPlan, shape_key: str) -> dict[str, str]:
    """Tags of a child run."""
    tags = {
        "state": str(data["state"]),
        "reason": data.get("reason", ""),
        "attempts": data.get("attempts", 0),
        "worker": data.get("worker", ""),
        "engine": data.get("engine", ""),
        "seed": plan.seed,
        "shape_key": shape_key,
    }
    if data.get("diverged_at") is not None:
        tags["diverged_at"] = data["diverged_at"]
        tags["diverged_share"] = data.get("diverged_share", 0.0)
    tags.update(data.get("extra", {}))
    return {key: str(value)[:LONGEST_TAG] for key, value in tags.items()}


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
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode()


def note(plan: SweepPlan, state: str, best: tuple[int, float, Params] | None, store_hint: str) -> str:
    """The parent run's note, in markdown."""
    goals = ", ".join(f"{o.goal} {o.take} `{o.metric}` ({o.reduce} of {plan.replicas})" for o in plan.objectives)
    lines = [f"## Sweep `{plan.name}`: {state}", "", f"Objective: {goals}", "", "| searched key | range |", "|---|---|"]
    lines += [f"| `{dimension.key}` | {range_text(dimension)} |" for dimension in plan.space]
    if best is not None:
        number, value, params = best
        shown = ", ".join(f"`{key}={param_text(chosen)}`" for key, chosen in params.items())
        lines += ["", f"**Best: trial {number}, objective {value:.6g}** with {shown or 'no searched keys'}"]
    tail = f" {store_hint}" if store_hint else ""
    typed = "".join(f" '{override}'" for override in plan.overrides)
    lines += ["", "```", f"rnnsweep resume {plan.name}{tail}", f"rnnsweep launch {plan.name}{typed} name=..."]
    lines += [f"rnnsweep report {plan.name}{tail}", "```"]
    return "\n".join(lines)[:LONGEST_TAG]


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
