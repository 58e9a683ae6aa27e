"""Texts of the tracker: params, tags, and the parent run's note."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.space import Dimension

TRIALS_ONLY = "tags.`rnnsweep.kind` = 'trial'"
VIEW = "rnnsweep"
"""Name of the shared view of a sweep's runs, see `shared_view`."""

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


def note(plan: SweepPlan, state: str, best: tuple[int, float, Params] | None, commands: Sequence[str]) -> str:
    """The parent run's note, in markdown."""
    goals = ", ".join(f"{o.goal} {o.take} `{o.metric}` ({o.reduce} of {plan.replicas})" for o in plan.objectives)
    lines = [f"## Sweep `{plan.name}`: {state}", ""]
    if best is not None:  # what the UI shows before "Show more"
        number, value, params = best
        shown = ", ".join(f"`{key}={param_text(chosen)}`" for key, chosen in params.items())
        lines += [f"**Best: trial {number}, objective {value:.6g}** with {shown or 'no searched keys'}", ""]
    lines += [f"Objective: {goals}", "", "```", *commands, "```"]
    lines += ["", "| searched key | range |", "|---|---|"]
    lines += [f"| `{dimension.key}` | {range_text(dimension)} |" for dimension in plan.space]
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


def shared_view(plan: SweepPlan) -> str:
    """State of the UI's table of runs, as its Share button stores it: trials only, best first, and their columns.

    The columns are objective, searched keys, solved_at, state and reason; without this a browser that comes for the
    first time sees none of them.
    """
    columns = ["metrics.`objective`", *(f"params.`{key}`" for key in plan.space.keys), "metrics.`solved_at`"]
    state = {
        "searchFilter": TRIALS_ONLY,
        "orderByKey": "metrics.`objective`",
        "orderByAsc": plan.objectives[0].goal != "maximize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [*columns, "tags.`state`", "tags.`reason`"],
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }
    return json.dumps(state, separators=(",", ":"))
