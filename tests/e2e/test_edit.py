"""A sweep that trains is edited from outside, by command; its next trials lie in the new space."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from typer.testing import CliRunner

import rnnsweep
from rnnsweep.app.cli.main import app
from rnnsweep.errors import RnnsweepError

TINY = (
    *("task.length=10", "family.hidden=4", "training.eval_size=10", "training.batch=4", "engine=reference"),
    *("cluster=inline", "cluster.rows=1", "store.optuna=none", "tracker=none", "replicas=1", "sampler=random"),
    *("budget.updates=50", "training.report_every=5", "budget.trials=6"),
    "space={optimizer.lr:tag(log,interval(0.01,1)),init.sigma:choice(0.1,0.2,0.3)}",
)


def asked(store: Path, words: list[str]) -> str:
    result = CliRunner().invoke(app, ["edit", "edited", *words, "--store", str(store)])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_running_sweep_is_edited(tmp_path: Path) -> None:
    said: list[str] = []

    def edit_when_it_runs() -> None:
        while not begun():
            time.sleep(0.02)
        said.append(asked(tmp_path, ["optimizer.momentum=interval(0,0.5)", "~init.sigma", "budget.trials=7"]))

    def begun() -> bool:
        try:
            return bool(rnnsweep.open_sweep("edited", store=tmp_path).table())
        except RnnsweepError:  # its store is being made
            return False

    user = threading.Thread(target=edit_when_it_runs, daemon=True)
    user.start()
    sweep = rnnsweep.launch("search", ["name=edited", *TINY], store=tmp_path, progress=False)
    user.join(30)
    assert said == ["Asked 'edited' to edit: optimizer.momentum=interval(0,0.5) ~init.sigma budget.trials=7\n"]
    (entry,) = sweep.edits()
    first = entry["first"]
    rows = sweep.table()
    assert [row["state"] for row in rows] == ["COMPLETE"] * 7
    assert [row.get("space", 0) for row in rows] == [0] * first + [1] * (7 - first)
    assert 0 < first < 7
    for row in rows[first:]:
        assert row["params"]["init.sigma"] == 0.1, "the config's value"
        assert 0 <= row["params"]["optimizer.momentum"] <= 0.5
    frame = sweep.trials()
    assert (frame["optimizer.momentum"][:first] == 0.0).all(), "what they had"
    # one that has ended hears of it at its next resume, and a network of the new space is there to be used
    assert "hears of it when it goes on" in asked(tmp_path, ["init.sigma=choice(0.4)", "optimizer.momentum=0.25"])
    more = rnnsweep.resume("edited", ["budget.trials=8"], store=tmp_path, progress=False)
    assert more.table()[-1]["params"].items() >= {"init.sigma": 0.4, "optimizer.momentum": 0.25}.items()
    assert more.trial(7).load() is not None
    assert f"version 1 from trial {first} on: optimizer.momentum=interval(0,0.5) ~init.sigma" in asked(tmp_path, [])
