"""The mirror that looks before it loads Optuna: a resume of a finished sweep takes a quarter less processor time.

Optuna brings SQLAlchemy's ORM, alembic and numpy, which nothing else needs then. Whether its database has all of a sweep
shows in a few tables of a SQLite file; whatever they do not say plainly is left to the mirror itself.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rnnsweep.adapters import sqlite
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Change

if TYPE_CHECKING:
    from rnnsweep.adapters.optuna.mirror import OptunaMirror

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


def stored_steps(path: Path, study: str, identity: str) -> Steps | None:
    """What the study of this very sweep has; None where the file does not say so plainly, or cannot be read now."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=sqlite.PATIENCE)) as connection:
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


class GlancingMirror:
    """Implements `Mirror` as `OptunaMirror` does, which it imports once the file does not say enough by itself.

    Args:
        url, plan, identity: see `OptunaMirror`.
    """

    name = "optuna"
    batch = 1000

    def __init__(self, url: str, plan: SweepPlan, identity: str = "") -> None:
        self._url, self._plan, self._identity = url, plan, identity
        self._made: OptunaMirror | None = None

    @property
    def _mirror(self) -> OptunaMirror:
        if self._made is None:
            from rnnsweep.adapters.optuna.mirror import OptunaMirror

            self._made = OptunaMirror(self._url, self._plan, self._identity)
        return self._made

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        """Whether the database still has what these entries brought it."""
        expected = expected_steps(self._plan, batches)
        file = sqlite.known_file(self._url, list(_COLUMNS), _known)
        if file is not None and self._identity:
            stored = stored_steps(file, self._plan.name, self._identity)
            if stored is not None and covers(stored, expected):
                return True
        return self._mirror.has(expected)

    def start_over(self) -> None:
        """See `OptunaMirror.start_over`."""
        self._mirror.start_over()

    def write(self, changes: Sequence[Change]) -> None:
        """See `OptunaMirror.write`."""
        self._mirror.write(changes)

    def close(self) -> None:
        """Disconnect."""
        if self._made is not None:
            self._made.close()


def _known(table: str, columns: set[sqlite.Column]) -> bool:
    return _COLUMNS[table] <= {name for name, _ in columns}
