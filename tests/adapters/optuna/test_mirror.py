"""The Optuna mirror: complete, ordered, and the same when written twice."""

import dataclasses
import sqlite3
import subprocess
import sys
from contextlib import closing

import optuna
import pytest
from optuna.trial import TrialState as State

from rnnsweep.adapters.optuna.glance import GlancingMirror
from rnnsweep.adapters.optuna.mirror import OptunaMirror
from rnnsweep.adapters.optuna.sqlite_writer import StorageWriter
from rnnsweep.errors import StoreError
from rnnsweep.sweep.edits import Edit, edited
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.ports import Change, TrialView
from rnnsweep.sweep.space import Dimension, Space, fixed
from rnnsweep.sweep.states import TrialState

SPACE = Space(
    (
        Dimension("x", "float", 0.1, 10.0, log=True),
        Dimension("n", "int", 1, 9, step=2),
        Dimension("c", "categorical", choices=("a", 1, True)),
        Dimension("s", "float", 0.0, 0.9, step=0.3, when={"c": ("a",)}),
    )
)
PLAN = SweepPlan("sweep", 1, 1, 10, (Objective("valid/error"),), Budget(10, 100), SPACE)
PARAMS = {"x": 0.5, "n": 3, "c": "a", "s": 0.3}


class Journal:
    def __init__(self):
        self.changes = []

    def add(self, kind, trial, data):
        self.changes.append(Change(len(self.changes) + 1, kind, trial, 1000.0 + len(self.changes), data))

    def trial(self, number, state, values=(), params=None, **more):
        view = TrialView(number, TrialState(state), PARAMS if params is None else params, values, started=1e9, **more)
        self.add("trial", number, {f.name: getattr(view, f.name) for f in dataclasses.fields(view)})

    def rung(self, number, rung, value):
        self.add("rung", number, {"rung": rung, "step": rung * 10, "metrics": {}, "values": [value]})


def story():
    """Three trials: complete, pruned, and failed, then run again to its end."""
    journal = Journal()
    for number in range(3):
        journal.trial(number, "WAITING")
        journal.trial(number, "RUNNING")
        journal.rung(number, 1, 0.9)
        journal.rung(number, 2, 0.8)
    journal.trial(0, "COMPLETE", (0.8,), solved_at=15)
    journal.trial(1, "PRUNED", (0.8,), reason="pruned at update 20")
    journal.trial(2, "FAILED", reason="bug")
    journal.trial(2, "WAITING")
    journal.trial(2, "RUNNING")
    journal.rung(2, 3, 0.7)
    journal.trial(2, "COMPLETE", (0.7,), attempts=2)
    return journal.changes


def rows(url):
    study = optuna.load_study(study_name="sweep", storage=url)
    return [
        (t.user_attrs["rnnsweep.trial"], t.state, t.value, t.params, t.intermediate_values) for t in study.get_trials()
    ]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("optuna") / "optuna.db"
    mirror = OptunaMirror(f"sqlite:///{path}", PLAN)
    mirror.write([])
    mirror.close()
    return path.read_bytes()


@pytest.fixture
def url(tmp_path, template):
    (tmp_path / "optuna.db").write_bytes(template)
    return f"sqlite:///{tmp_path / 'optuna.db'}"


EXPECTED_PARAMS = {"x": 0.5, "n": 3, "c": "'a'", "s": 0.3}  # 1 and True are equal for Optuna, so choices are texts
EXPECTED = [
    (0, State.COMPLETE, 0.8, EXPECTED_PARAMS, {10: 0.9, 20: 0.8}),
    (1, State.PRUNED, 0.8, EXPECTED_PARAMS, {10: 0.9, 20: 0.8}),
    (2, State.FAIL, None, EXPECTED_PARAMS, {10: 0.9, 20: 0.8}),
    (2, State.COMPLETE, 0.7, EXPECTED_PARAMS, {30: 0.7}),
]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_any_batching_gives_the_same_study(url, size):
    mirror, changes = OptunaMirror(url, PLAN), story()
    for begin in range(0, len(changes), size):
        mirror.write(changes[begin : begin + size])
    mirror.close()
    assert rows(url) == EXPECTED


def test_through_optuna_alone_it_is_the_same_study(url, monkeypatch):
    monkeypatch.setattr("rnnsweep.adapters.optuna.mirror.writer_of", lambda url, storage: StorageWriter(storage))
    test_any_batching_gives_the_same_study(url, 4)


@pytest.mark.parametrize("cut", [3, 9, 13, 15, 16, 19])
def test_writing_again_from_the_start_changes_nothing(url, cut):
    """As after a kill before the cursor was stored: a new mirror sees everything from the beginning."""
    first = OptunaMirror(url, PLAN)
    first.write(story()[:cut])
    first.close()
    again = OptunaMirror(url, PLAN)
    again.write(story())
    again.write(story()[2:])
    again.close()
    assert rows(url) == EXPECTED


def test_points_outside_of_the_space_are_kept_as_attributes(url):
    journal = Journal()
    journal.trial(0, "RUNNING", params={**PARAMS, "x": float("inf")})
    mirror = OptunaMirror(url, PLAN)
    mirror.write(journal.changes)
    mirror.close()
    trial = optuna.load_study(study_name="sweep", storage=url).get_trials()[0]
    assert trial.user_attrs["x"] == "inf"
    assert "x" not in trial.params


def test_a_database_that_is_away_is_a_store_error(tmp_path):
    with pytest.raises(StoreError):
        OptunaMirror(f"sqlite:///{tmp_path / 'missing' / 'optuna.db'}", PLAN).write(story())


def test_half_a_whole_number_is_an_attribute_not_a_block(url):
    """An enqueued 4.5 of a whole-numbered dimension: Optuna would refuse it as a parameter, and with it all later."""
    journal = Journal()
    journal.trial(0, "RUNNING", params={**PARAMS, "n": 4.5})
    journal.trial(1, "RUNNING")
    mirror = OptunaMirror(url, PLAN)
    mirror.write(journal.changes)
    mirror.close()
    first, second = optuna.load_study(study_name="sweep", storage=url).get_trials()
    assert (first.user_attrs["n"], "n" in first.params) == ("4.5", False)
    assert second.params["n"] == 3


def test_two_sweeps_of_one_name_have_a_study_each(url):
    """Two stores and one database, or a new sweep beside the mirror of one whose ledger was lost."""
    for identity in ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "aaaaaaaaaaaa"):
        mirror = OptunaMirror(url, PLAN, identity)
        mirror.write(story())
        mirror.close()
    assert rows(url) == EXPECTED
    assert optuna.get_all_study_names(url) == ["sweep", "sweep-bbbbbb"]


def remove_study(url):
    optuna.delete_study(study_name="sweep", storage=url)


def remove_values(url):
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("DELETE FROM trial_intermediate_values WHERE step = 20")
        connection.commit()


@pytest.mark.parametrize("harm", [remove_study, remove_values])
def test_what_was_deleted_is_missed_and_written_again(url, harm):
    mirror = OptunaMirror(url, PLAN)
    assert not mirror.holds([story()])
    mirror.write(story())
    mirror.close()
    assert OptunaMirror(url, PLAN).holds([story()[:9], story()[9:]])
    harm(url)
    later = OptunaMirror(url, PLAN)
    assert not later.holds([story()])
    later.start_over()
    later.write(story())
    assert later.holds([story()])
    later.close()
    assert rows(url) == EXPECTED


def other_identity(url):
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE study_user_attributes SET value_json = ?", ('"another"',))
        connection.commit()


@pytest.mark.parametrize("harm", [remove_study, remove_values, other_identity])
def test_a_glance_at_the_file_says_the_same(url, harm):
    written = OptunaMirror(url, PLAN, "aaaaaaaaaaaa")
    written.write(story())
    written.close()
    assert GlancingMirror(url, PLAN, "aaaaaaaaaaaa").holds([story()[:9], story()[9:]])
    more = Journal()
    more.trial(7, "RUNNING")
    assert not GlancingMirror(url, PLAN, "aaaaaaaaaaaa").holds([story(), more.changes])
    harm(url)
    later = GlancingMirror(url, PLAN, "aaaaaaaaaaaa")
    assert not later.holds([story()])
    later.start_over()
    later.write(story())
    assert later.holds([story()])
    later.close()


def test_a_glance_does_not_load_optuna(url):
    """Loading it takes longer than all else that a resume of a finished sweep does."""
    written = OptunaMirror(url, PLAN, "aaaaaaaaaaaa")
    written.write(story())
    written.close()
    text = f"""
import sys
from rnnsweep.adapters.optuna.glance import GlancingMirror
from rnnsweep.sweep.edits import Edit, edited
from rnnsweep.sweep.plan import Budget, Objective, SweepPlan
from rnnsweep.sweep.space import Space
plan = SweepPlan("sweep", 1, 1, 10, (Objective("valid/error"),), Budget(10, 100), Space(()))
mirror = GlancingMirror({url!r}, plan, "aaaaaaaaaaaa")
assert mirror.holds([])
mirror.close()
print([name for name in ("optuna", "alembic", "sqlalchemy.orm") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "a", None, [1], 20.5, True])
def test_whatever_was_enqueued_is_written(url, value):
    journal = Journal()
    for key in PARAMS:
        journal.trial(len(journal.changes), "RUNNING", params={**PARAMS, key: value})
    mirror = OptunaMirror(url, PLAN)
    mirror.write(journal.changes)
    mirror.close()
    assert len(rows(url)) == len(PARAMS)


def test_an_edited_space_keeps_one_study(tmp_path):
    """A study takes one list of choices per name: another list is another name; what has one value is an attribute."""
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    wider = Dimension("c", "categorical", choices=("a", 1, True, "z"))
    first = edited(PLAN, Edit("1", put=(wider, Dimension("x", "float", 0.01, 10.0, log=True))), 1)
    second = edited(first, Edit("2", drop=("n",), pins=(fixed("n", 3),), put=(Dimension("x", "float", 0.0, 1.0),)), 2)
    config = {"edits": [Edit("1", put=(wider,)).entry(first, 1.0), Edit("2", put=(wider,)).entry(second, 2.0)]}
    journal = Journal()
    journal.add("sweep", None, {"state": "RUNNING", "config": config})
    points = [PARAMS, {"x": 0.05, "n": 5, "c": "z"}, {"x": 0.0, "n": 3, "c": "a", "s": 0.3}]
    for number, point in enumerate(points):
        journal.trial(number, "RUNNING", params=point)
        journal.trial(number, "COMPLETE", (0.5,), params=point)
    mirror = OptunaMirror(url, PLAN)
    mirror.write(journal.changes)
    mirror.close()
    assert [params for _, _, _, params, _ in rows(url)] == [
        {"x": 0.5, "n": 3, "c": repr("a"), "s": 0.3},
        {"x": 0.05, "n": 5, "c@1": repr("z")},
        {"x@2": 0.0, "c@1": repr("a"), "s": 0.3},
    ]
    study = optuna.load_study(study_name="sweep", storage=url)
    assert study.trials[2].user_attrs["n"] == "3"
