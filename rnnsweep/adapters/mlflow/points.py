"""Metric points straight into MLflow's SQLite file: those of all runs in one transaction, by two statements.

MLflow's client takes the points of one run per call and makes several objects of each, about 0.1 ms per point. Here a
point costs a few microseconds, however many runs the points are spread over. What the tables hold afterwards is what
the client would have put there; where the tables are not the ones that are known here, the client goes on doing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnsweep.adapters import sqlite

Point = tuple[str, float, int, int]
"""(key, value, timestamp in ms, step); the value is finite."""

COLUMNS = {"key", "value", "timestamp", "step", "is_nan", "run_uuid"}
KEYS = {"metrics": COLUMNS, "latest_metrics": {"key", "run_uuid"}}
"""Primary keys of the two tables, which both have these columns."""

_ADD = """
INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING
"""
_LATEST = """
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?)
ON CONFLICT (key, run_uuid) DO UPDATE
SET value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan
WHERE (excluded.step, excluded.timestamp, excluded.value)
    > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)
"""


class SqlitePoints:
    """Writer of points into one file; safe for threads, for it connects anew for every batch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, points: Mapping[str, Sequence[Point]]) -> None:
        """Add points by run id, all or none; those that are there already are left as they are.

        Raises:
            sqlite3.Error: the file cannot be written, or there is no such run.
        """
        with sqlite.transaction(self._path) as connection:
            for run_id, new in points.items():
                connection.executemany(_ADD, [(*point, run_id) for point in new])
                connection.executemany(_LATEST, [(*point, run_id) for point in _newest(new)])


def _newest(points: Sequence[Point]) -> list[Point]:
    """The newest point of each key, by step, time and value as MLflow has it, in the order of first appearance."""
    found: dict[str, Point] = {}
    for point in points:
        before = found.get(point[0])
        if before is None or _age(point) > _age(before):
            found[point[0]] = point
    return list(found.values())


def _age(point: Point) -> tuple[int, int, float]:
    _, value, at, step = point
    return step, at, value


def sqlite_points(uri: str) -> SqlitePoints | None:
    """A writer for the store at `uri`; None where it is no SQLite file with the tables that are known here."""
    path = sqlite.known_file(uri, list(KEYS), lambda table, found: found == {(c, c in KEYS[table]) for c in COLUMNS})
    return None if path is None else SqlitePoints(path)
