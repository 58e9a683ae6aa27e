"""Points written straight into SQLite: table for table what MLflow's own client writes."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnsweep.adapters.mlflow import store as stores
from rnnsweep.adapters.mlflow.store import RunStore, sqlite_points
from tests.adapters.mlflow.test_tracker import contents
from tests.kit.demo_sweep import VIEW, story

TABLES = ("metrics", "latest_metrics")
point = st.tuples(
    st.sampled_from(["a", "b", "objective"]),
    st.sampled_from([0.0, 1.5, -2.5, 1e-320, 1.7e308]) | st.floats(allow_nan=False, allow_infinity=False),
    st.integers(1_700_000_000_000, 1_700_000_000_003),
    st.integers(0, 3),
)


def rows(uri, run_id):
    """Both tables' rows of a run, in the order of writing."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        columns = "key, value, timestamp, step, is_nan, typeof(value), typeof(step), typeof(is_nan)"
        query = "SELECT {} FROM {} WHERE run_uuid = ? ORDER BY {}"
        order = {"metrics": "rowid", "latest_metrics": "key"}
        return [connection.execute(query.format(columns, t, order[t]), [run_id]).fetchall() for t in TABLES]


@pytest.fixture(scope="module")
def store(tmp_path_factory, template):
    path = tmp_path_factory.mktemp("points") / "mlflow.db"
    path.write_bytes(template.read_bytes())
    return f"sqlite:///{path}", RunStore(f"sqlite:///{path}", VIEW, None)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(point, min_size=1, max_size=6), min_size=1, max_size=3))
def test_tables_are_those_of_the_client(store, batches):
    """Repeated points, points that come late, ties in step and time: within a batch and between batches."""
    uri, runs = store
    ours, theirs = (runs.create(name, 1_700_000_000_000, {}).info.run_id for name in ("ours", "theirs"))
    for batch in batches:
        assert runs.write_points({ours: batch})
        runs.log(theirs, batch, {}, {})
    assert [sorted(table) for table in rows(uri, ours)] == [sorted(table) for table in rows(uri, theirs)]


def test_many_runs_at_once_in_the_order_given(store):
    uri, runs = store
    made = [runs.create(f"run {n}", 1_700_000_000_000, {}).info.run_id for n in range(3)]
    given_points = {
        run_id: [("objective", 1.0 * n, 1_700_000_000_010, 10), ("a", 2.0, 1_700_000_000_010, 10)]
        for n, run_id in enumerate(made)
    }
    assert runs.write_points(given_points)
    for n, run_id in enumerate(made):
        assert [row[:2] for row in rows(uri, run_id)[0]] == [("objective", 1.0 * n), ("a", 2.0)]


def test_all_or_nothing(store):
    uri, runs = store
    known = runs.create("known", 1_700_000_000_000, {}).info.run_id
    with pytest.raises(sqlite3.IntegrityError):
        runs.write_points({known: [("a", 1.0, 1, 1)], "unknown": [("a", 1.0, 1, 1)]})
    assert rows(uri, known) == [[], []]


def test_mirror_writes_the_same_through_the_client(open_mirror, uri, tmp_path, template, monkeypatch):
    open_mirror().write(story())
    direct = contents(uri)
    other = tmp_path / "other.db"
    other.write_bytes(template.read_bytes())
    monkeypatch.setattr(stores, "sqlite_points", lambda _: None)
    open_mirror(at=f"sqlite:///{other}").write(story())
    assert contents(f"sqlite:///{other}") == direct


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE metrics ADD COLUMN model_id TEXT",
        "CREATE TRIGGER counted AFTER INSERT ON latest_metrics BEGIN SELECT 1; END",
        "DROP TABLE latest_metrics",
    ],
)
def test_unknown_tables_are_left_to_the_client(uri, change):
    assert sqlite_points(uri) is not None
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
        connection.execute(change)
    assert sqlite_points(uri) is None


@pytest.mark.parametrize("other", ["http://127.0.0.1:5000", "postgresql://host/mlflow", "sqlite:////nowhere/mlflow.db"])
def test_stores_that_are_no_sqlite_file(other):
    assert sqlite_points(other) is None
