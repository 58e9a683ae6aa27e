"""What Optuna's database has of a sweep, read from its file alone, and what the ledger must have brought it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

from rnnsweep.adapters import sqlite
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Change

TRIAL, IDENTITY = "rnnsweep.trial", "rnnsweep.identity"

Steps = Mapping[int, set[int]]
"""Trial -> updates at which it has a value."""

_COLUMNS = {
    "studies": {"study_id", "study_name"},
    "study_user_attributes": {"study_id", "key", "value_json"},
    "trials": {"trial_id", "study_id"},
    "trial_user_attributes": {"trial_id", "key", "value_json"},
    "trial_intermediate_values": {"trial_id", "step"},
}
_STUDY = """
SELECT s.study_id FROM studies s JOIN study_user_attributes a ON a.study_id = s.study_id
WHERE s.study_name = ? AND a.key = ? AND a.value_json = ?
"""
_STEPS = """
SELECT a.value_json, v.step FROM trials t
JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a.key = ?
LEFT JOIN trial_intermediate_values v ON v.trial_id = t.trial_id
WHERE t.study_id = ?
"""


def expected_steps(plan: SweepPlan, batches: Iterable[Sequence[Change]]) -> dict[int, set[int]]:
    """What these entries bring a study: every trial, and a value for every rung where there is one objective."""
    expected: dict[int, set[int]] = {}
    for change in (change for changes in batches for change in changes):
        if change.trial is not None and change.kind in ("trial", "rung"):
            steps = expected.setdefault(change.trial, set())
            if change.kind == "rung" and len(plan.objectives) == 1 and change.data["values"]:
                steps.add(int(change.data["step"]))
    return expected


def covers(stored: Steps, expected: Steps) -> bool:
    """Whether all that is expected is stored."""
    return all(number in stored and steps <= stored[number] for number, steps in expected.items())


def stored_steps(url: str, study: str, identity: str) -> Steps | None:
    """What the study of this very sweep has; None where no file says so plainly, or it cannot be read now."""
    try:
        path = sqlite.known_file(url, list(_COLUMNS), _known)
        if path is None:
            return None
        with closing(sqlite3.connect(path, timeout=sqlite.PATIENCE)) as connection:
            found = connection.execute(_STUDY, (study, IDENTITY, json.dumps(identity))).fetchall()
            if len(found) != 1:
                return None
            stored: dict[int, set[int]] = {}
            for number, step in connection.execute(_STEPS, (TRIAL, found[0][0])):
                steps = stored.setdefault(int(json.loads(number)), set())
                steps |= set() if step is None else {int(step)}
            return stored
    except (sqlite3.Error, ValueError):
        return None


def _known(table: str, columns: set[sqlite.Column]) -> bool:
    return _COLUMNS[table] <= {name for name, _ in columns}
