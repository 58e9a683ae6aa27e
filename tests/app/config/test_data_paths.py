"""Data paths are fixed where the command was given: in the config, in the space, in workers, in submitted jobs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rnnsweep.app.config.load import SweepConfig, from_json, load, to_json
from rnnsweep.app.config.point import resolve_point
from rnnsweep.app.run.submit import data_path
from rnnsweep.app.worker.factory import trainer_factory
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.rows import Orders, RowSpec

SMALL = ("task=char_lm", "task.length=5", "family.hidden=3", "training.report_every=2", "budget.updates=2")


@pytest.fixture(autouse=True)
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of texts in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RNNSWEEP_CONFIG_DIR", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "books"
    folder.mkdir()
    for name, text in (("a.txt", "to and fro, "), ("it's.txt", "up, down ")):
        (folder / name).write_text(text * 50)
    return folder


def loaded(*typed: str) -> SweepConfig:
    return load(None, [*SMALL, *typed], store=Path("store"))


def test_a_relative_path_is_recorded_as_an_absolute_one(books, monkeypatch, tmp_path):
    config = loaded("task.path=books/a.txt")
    stored = from_json(json.loads(json.dumps(to_json(config))))
    assert config.resolved["task"]["path"] == stored.resolved["task"]["path"] == str(books / "a.txt")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert loaded("task.path='~/books/../books/a.txt'").resolved["task"]["path"] == str(books / "a.txt")


@pytest.mark.parametrize("path", ["null", "samples:text.txt"])
def test_samples_stay_as_they_are(path):
    assert loaded(f"task.path='{path}'" if ":" in path else f"task.path={path}").resolved["task"]["path"] in (
        None,
        path,
    )


def test_searched_conditional_and_enqueued_paths_are_absolute(books):
    first, second = str(books / "a.txt"), str(books / "it's.txt")
    text = """
        defaults: [config, override /task: char_lm, _self_]
        space:
          task.path: choice(books/a.txt, "books/it's.txt")
          init.sigma: {search: "interval(0.1, 1)", when: {task.path: ["books/it's.txt"]}}
        sampler: {enqueue: [{task.path: "books/it's.txt", init.sigma: 0.5}]}
        """
    (books.parent / "mine.yaml").write_text("\n".join(line[8:] for line in text.splitlines()[1:]))
    config = load("mine.yaml", [value for value in SMALL if not value.startswith("task=")], store=Path("store"))
    path, sigma = config.plan.space
    assert path.choices == (first, second)
    assert sigma.when == {"task.path": (second,)}
    assert config.plan.enqueue == ({"task.path": second, "init.sigma": 0.5},)
    assert resolve_point(config.variants, config.plan.enqueue[0])["task"]["path"] == second


def test_a_worker_elsewhere_reads_the_same_file(tmp_path, monkeypatch):
    factory = trainer_factory(loaded("task.path=books/a.txt"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    reports, failures = factory("w0", 1).advance(Orders(join=(RowSpec(0, 0, "0001", {}, 2),)))
    assert not failures
    assert [report.step for report in reports] == [2]


def test_a_missing_file_is_named_in_full(books):
    with pytest.raises(ConfigError) as caught:
        loaded("task.path=books/c.txt")
    assert caught.value.value == str(books / "c.txt")


def test_a_submitted_job_gets_the_path_unless_the_data_travel_with_it(books):
    config = loaded('task.path="books/it\'s.txt"')
    assert data_path(config, travels=True) == []
    (override,) = data_path(config, travels=False)
    assert loaded(override).resolved["task"]["path"] == str(books / "it's.txt")
    assert data_path(loaded(), travels=False) == []
