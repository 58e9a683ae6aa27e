"""DetailWriter written straight into SQLite: table for table what Optuna's storage writes."""

import sqlite3
from contextlib import closing

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from rnnsweep.adapters.optuna.sqlite_writer import SqliteWriter, StorageWriter, TrialDetail, writer_of

TABLES = {
    "trial_intermediate_values": "step, intermediate_value, intermediate_value_type, typeof(intermediate_value)",
    "trial_user_attributes": "key, value_json",
}
curve = st.dictionaries(st.integers(0, 5), st.floats(), max_size=4)
value = st.none() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5)
attributes = st.dictionaries(st.sampled_from(["reason", "solved_at", "é"]), value, max_size=3)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('details') / 'optuna.db'}"
    return url, optuna.create_study(storage=url, study_name="s")


def rows(url, trial_id):
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return [
            sorted(
                connection.execute(f"SELECT {columns} FROM {table} WHERE trial_id = ?", [trial_id]).fetchall(), key=repr
            )
            for table, columns in TABLES.items()
        ]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(curve, attributes), min_size=1, max_size=3))
def test_tables_are_those_of_the_storage(study, batches):
    """Also values that are not finite, and steps and keys that are written again."""
    url, made = study
    storage = made._storage
    ours, theirs = storage.create_new_trial(made._study_id), storage.create_new_trial(made._study_id)
    direct = writer_of(url, storage)
    assert isinstance(direct, SqliteWriter)
    for steps, marks in batches:
        direct.write([TrialDetail(ours, steps, marks)])
        StorageWriter(storage).write([TrialDetail(theirs, steps, marks)])
    assert rows(url, ours) == rows(url, theirs)
    read = storage.get_trial(ours)
    assert repr(read.intermediate_values) == repr(storage.get_trial(theirs).intermediate_values)
    assert read.user_attrs == storage.get_trial(theirs).user_attrs
    assert read.state is TrialState.RUNNING


def test_all_or_nothing(study):
    url, made = study
    known = made._storage.create_new_trial(made._study_id)
    with pytest.raises(sqlite3.IntegrityError):
        writer_of(url, made._storage).write([TrialDetail(known, {1: 0.5}, {}), TrialDetail(10**9, {1: 0.5}, {})])
    assert rows(url, known) == [[], []]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE trial_user_attributes ADD COLUMN kind TEXT",
        "CREATE TRIGGER counted AFTER INSERT ON trial_intermediate_values BEGIN SELECT 1; END",
    ],
)
def test_unknown_tables_are_left_to_the_storage(tmp_path, change):
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    storage = optuna.storages.RDBStorage(url)
    assert isinstance(writer_of(url, storage), SqliteWriter)
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as connection:
        connection.execute(change)
    assert isinstance(writer_of(url, storage), StorageWriter)
    assert isinstance(writer_of("postgresql://host/optuna", storage), StorageWriter)
