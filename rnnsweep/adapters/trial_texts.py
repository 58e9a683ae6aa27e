"""Names and texts that all trackers show alike: metric keys, params, and the facts that are kept as tags."""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rnnsweep.sweep.fidelity import reached, words
from rnnsweep.sweep.lineage import changes_of
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.segments import Segment, segment_of
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import fingerprint_text

LONGEST_NAME, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 5000
TAGS = ("state", "solved", "reason", "attempts", "worker", "engine", "seed", "shape_key")
"""Tags of every trial, whose names columns of searched keys must not take."""

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


def trial_facts(data: Mapping[str, Any], plan: SweepPlan, shape_key: str) -> dict[str, str]:
    """What is known of a trial besides its params and curves, as tags.

    Args:
        data: fields of its `TrialView`.
        plan: of the sweep.
        shape_key: the trial's; empty where its params are refused.
    """
    facts: dict[str, Any] = {
        "state": data["state"],
        "reason": data.get("reason", ""),
        "attempts": data.get("attempts", 0),
        "worker": data.get("worker", ""),
        "engine": data.get("engine", ""),
        "seed": plan.seed,
        "shape_key": shape_key,
    }
    if TrialState(data["state"]).finished:  # the metric solved_at is a number on every run: the budget where unsolved
        facts["solved"] = "no" if data.get("solved_at") is None else "yes"
    if data.get("diverged_at") is not None:
        facts["diverged_at"] = data["diverged_at"]
        facts["diverged_share"] = data.get("diverged_share", 0.0)
    if data.get("fingerprints") is not None:
        facts["fingerprints"] = fingerprint_text(data["fingerprints"])
    facts |= _lineage(data)
    if plan.stages:
        facts["fidelity"] = words(reached(plan.stages, data.get("step", 0)))
    # version of the search space, and whose result it has taken over: where they are something to tell
    facts.update({key: data[key] for key in ("space", "same_as") if data.get(key) is not None})
    facts.update(data.get("extra", {}))
    return {legal_name(key): clean(str(value))[:LONGEST_TAG] for key, value in facts.items()}


def _lineage(data: Mapping[str, Any]) -> dict[str, Any]:
    """Whose states a trial has taken over, at which updates, and which values came and went with that."""
    given = data.get("segments") or ()
    segments = [one if isinstance(one, Segment) else segment_of(one) for one in given]
    changes = changes_of(data["params"], segments)
    if not changes:
        return {}
    newest = changes[-1]
    return {"parent": newest["parent"], "parent_at": newest["update"], "lineage": json.dumps(changes, default=str)}
