"""Curves and attributes of trials that Optuna's database has; in SQLite those of all trials in one transaction.

Each value is a call and a transaction of Optuna's storage, about 2 ms. Straight into the file a value costs a few
microseconds, and the tables hold the same afterwards. Where they are not the ones that are known here, and in other
databases, Optuna's storage goes on doing it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from optuna.storages import BaseStorage

from rnnsweep.adapters import sqlite

_VALUE = """
INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) VALUES (?, ?, ?, ?)
ON CONFLICT (trial_id, step) DO UPDATE
SET intermediate_value = excluded.intermediate_value, intermediate_value_type = excluded.intermediate_value_type
"""
_ATTRIBUTE = """
INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)
ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json
"""
COLUMNS = {
    "trial_intermediate_values": {
        *("trial_intermediate_value_id", "trial_id", "step", "intermediate_value", "intermediate_value_type")
    },
    "trial_user_attributes": {"trial_user_attribute_id", "trial_id", "key", "value_json"},
}


@dataclass(frozen=True)
class TrialDetail:
    """What is to be added to an unfinished trial.

    Attributes:
        trial_id: Optuna's id.
        curve: step -> value.
        attributes: user attributes, plain data.
    """

    trial_id: int
    curve: Mapping[int, float]
    attributes: Mapping[str, Any]


class DetailWriter(Protocol):
    """A writer of details; writing twice is writing once, and the newest value of a step or key stays."""

    def write(self, details: Sequence[TrialDetail]) -> None:
        """Write them all."""
        ...


class StorageWriter:
    """Through Optuna's storage, value by value."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def write(self, details: Sequence[TrialDetail]) -> None:
        """See `DetailWriter.write`."""
        for detail in details:
            for step, value in sorted(detail.curve.items()):
                self._storage.set_trial_intermediate_value(detail.trial_id, step, value)
            for key, value in detail.attributes.items():
                self._storage.set_trial_user_attr(detail.trial_id, key, value)


class SqliteWriter:
    """Straight into the file, all or none, without waiting for the disk (`mirror` says why)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, details: Sequence[TrialDetail]) -> None:
        """See `DetailWriter.write`."""
        if not any(detail.curve or detail.attributes for detail in details):
            return
        # one transaction for all: a batch is there as a whole, and costs one commit
        with sqlite.transaction(self._path, "synchronous=NORMAL") as connection:
            for d in details:
                connection.executemany(
                    _VALUE, [(d.trial_id, step, *_stored(d.curve[step])) for step in sorted(d.curve)]
                )
                rows = [(d.trial_id, key, json.dumps(value)) for key, value in d.attributes.items()]
                connection.executemany(_ATTRIBUTE, rows)


def _stored(value: float) -> tuple[float | None, str]:
    """A value as Optuna stores it: the number, or which kind of no number it is."""
    if math.isfinite(value):
        return value, "FINITE"
    return None, "NAN" if math.isnan(value) else "INF_POS" if value > 0 else "INF_NEG"


def writer_of(url: str, storage: BaseStorage) -> DetailWriter:
    """The writer for the database at `url`, which `storage` has prepared."""
    path = sqlite.known_file(url, list(COLUMNS), lambda table, columns: {name for name, _ in columns} == COLUMNS[table])
    return StorageWriter(storage) if path is None else SqliteWriter(path)
