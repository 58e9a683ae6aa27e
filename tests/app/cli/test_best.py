"""`rnnsweep best`: the trial that won."""

from __future__ import annotations

import json


def test_best_is_a_row_of_the_table(run):
    best = json.loads(run("best", "quickstart", "--json").stdout)
    assert best == json.loads(run("table", "quickstart", "--json").stdout)[1]


def test_best_of_a_sweep_without_results(run, store):
    from rnnsweep.adapters.ledger.sql_ledger import open_ledger
    from rnnsweep.app.config.load import load, to_json
    from rnnsweep.sweep.ports import SweepView
    from rnnsweep.sweep.states import SweepState

    ledger = open_ledger(f"sqlite:///{store / 'ledger.db'}")
    config = to_json(load("quickstart", ["name=new"], store=store, check_units=False))
    ledger.create(SweepView("new", SweepState.INTERRUPTED, config))
    ledger.close()
    result = run("best", "new")
    assert result.exit_code == 1
    assert "no complete trial" in result.stderr
