"""The forms of `sampler.warm_start`."""

from __future__ import annotations

from typing import Any

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.config.teachers import Teacher, teachers
from rnnsweep.errors import ConfigError


def test_the_forms() -> None:
    assert teachers(None) == []
    assert teachers("old") == [Teacher("sweep", "old", "", "sampler.warm_start")]
    forms = [
        {"sweep": "old", "store": "/data"},
        {"optuna": "sqlite:///x.db", "study": "mine"},
        {"mlflow": "http://h:5000", "experiment": "theirs"},
    ]
    found = teachers(forms)
    assert [(one.kind, one.name, one.place) for one in found] == [
        ("sweep", "old", "/data"),
        ("optuna", "mine", "sqlite:///x.db"),
        ("mlflow", "theirs", "http://h:5000"),
    ]
    assert [one.key for one in found] == [f"sampler.warm_start.{index}" for index in range(3)]
    assert found[1].shown == "optuna mine of sqlite:///x.db"


@pytest.mark.parametrize("wrong", [[], 3, {}, {"sweep": "a"}, {"optuna": "a", "study": ""}, {"study": "a"}, [["a"]]])
def test_other_forms_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"sampler\.warm_start.*mlflow: URI"):
        teachers(wrong)


def test_as_typed() -> None:
    typed = "sampler.warm_start={optuna: 'sqlite:///x.db', study: mine}"
    config = load("search", [typed], check_units=False)
    assert teachers(config.resolved["sampler"]["warm_start"])[0].place == "sqlite:///x.db"
    with pytest.raises(ConfigError, match="no place for a password"):
        load("search", ["sampler.warm_start={optuna: 'postgresql://me:secret@h/db', study: a}"], check_units=False)
