"""Typical mistakes: one clear message on stderr that names the culprit, exit 2, no traceback, nothing written."""

from __future__ import annotations

import pytest

MISTAKES = {
    "unknown command": (("lanch",), ["lanch", "launch"]),
    "unknown sweep to launch": (("launch", "quickstrat"), ["quickstrat", "quickstart"]),
    "unknown sweep to resume": (("resume", "quickstrat"), ["quickstrat", "quickstart"]),
    "resume of what never ran": (("resume", "digits"), ["digits"]),
    "unknown sweep to look at": (("table", "quickstrat"), ["quickstrat", "quickstart"]),
    "unknown trial": (("show", "quickstart", "99"), ["99", "0 to 5"]),
    "trial is no number": (("show", "quickstart", "one"), ["one"]),
    "a name that the store has": (("launch", "quickstart"), ["quickstart", "resume", "name="]),
    "another key on resume": (("resume", "quickstart", "optimizer.lr=1"), ["optimizer.lr", "budget."]),
    "misspelt key on resume": (("resume", "quickstart", "budget.trial=40"), ["budget.trial", "budget.trials"]),
    "a space on resume": (("resume", "quickstart", "space={}"), ["space", "budget."]),
    "a range on resume": (("resume", "quickstart", "budget.updates=choice(1,2)"), ["budget.updates", "one value"]),
    "a smaller budget on resume": (("resume", "quickstart", "budget.updates=1000"), ["budget.updates", "6000 or more"]),
    "a URL's character in a store": (("config", "quickstart", "--store", "st?6"), ["store.root", "without %, ?"]),
    "misspelt key": (("config", "quickstart", "controllers.clip.treshold=1"), ["treshold", "threshold"]),
    "unknown unit": (("config", "quickstart", "family=srm"), ["srm", "srn"]),
    "zero trials": (("config", "quickstart", "budget.trials=0"), ["budget.trials", "0"]),
    "unknown metric": (("config", "quickstart", "objective.metric=valid/eror"), ["valid/eror", "valid/error"]),
    "missing config directory": (("config", "--config-dir", "no/such/place"), ["no/such/place"]),
    "unknown option": (("list", "--jsn"), ["--jsn"]),
    "a file as the store": (("list", "--store", __file__), ["--store=", "is a file", "a directory"]),
    "unknown analysis": (("analyze", "bifurcatoin"), ["bifurcatoin", "bifurcation"]),
    "unknown paper": (("reproduce", "chernodub_tabel1"), ["chernodub_tabel1", "chernodub_table1"]),
    "no MLflow store": (("ui",), ["MLflow"]),
    "no dashboard's database": (("ui", "--optuna"), ["optuna"]),
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistake(run, store, arguments, words):
    before = sorted(path.relative_to(store) for path in store.rglob("*") if not path.name.endswith(("-wal", "-shm")))
    result = run(*arguments)
    after = sorted(path.relative_to(store) for path in store.rglob("*") if not path.name.endswith(("-wal", "-shm")))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
    assert before == after
