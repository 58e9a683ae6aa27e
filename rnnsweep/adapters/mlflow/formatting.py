"""Texts of the tracker: names that MLflow allows, params, tags, and the note of the sweep's run."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from rnnsweep.adapters.trial_texts import LONGEST_TAG, TAGS, clean, legal_name, param_text, trial_facts
from rnnsweep.sweep.plan import Params, SweepPlan
from rnnsweep.sweep.space import Dimension
from rnnsweep.sweep.summary import Best, Rank

ORDER = "rnnsweep.order"
"""Tag by which MLflow sorts trials as everything else here does, see `order_text`."""


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
    columns = column_names(plan.keys, TAGS)
    tags = {columns[key]: rounded(value) for key, value in data["params"].items() if key in columns}
    if rank is not None:
        tags[ORDER] = order_text(rank)
    named = {legal_name(key): clean(value)[:LONGEST_TAG] for key, value in tags.items()}
    return named | trial_facts(data, plan, shape_key)


def order_text(rank: Rank) -> str:
    """A rank as text that sorts as the ranks do: the bits of its numbers in order-preserving form.

    Example:
        >>> import math
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


def note(
    plan: SweepPlan,
    state: str,
    best: tuple[Best, Mapping[str, str]] | None,
    commands: Sequence[str],
    edits: Sequence[str] = (),
) -> str:
    """The note of the sweep's run, in markdown; `best` comes with its params as texts, `edits` in a line each."""
    goals = ", ".join(f"{o.goal} {o.take} `{o.metric}` ({o.reduce} of {plan.replicas})" for o in plan.objectives)
    lines = [f"## Sweep `{plan.name}`: {state}", ""]
    if best is not None:  # what the UI shows before "Show more"
        first, params = best
        assignments = ", ".join(_code(f"{key}={_short(text)}") for key, text in params.items())
        lines += [f"**Best: {first}** with {assignments or 'no searched keys'}", ""]
    lines += [f"Objective: {goals}", "", "```", *commands, "```"]
    lines += ["", "| searched key | range |", "|---|---|"]
    lines += [f"| {_code(dimension.key)} | {_code(range_text(dimension))} |" for dimension in plan.space]
    if edits:
        lines += ["", "Edited:", "", *(f"- {_code(edit)}" for edit in edits)]
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
