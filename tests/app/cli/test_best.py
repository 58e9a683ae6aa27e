"""`rnnsweep best`: the trial that won."""

from __future__ import annotations

import json


def test_best_is_a_row_of_the_table(run):
    best = json.loads(run("best", "quickstart", "--json").stdout)
    assert best == json.loads(run("table", "quickstart", "--json").stdout)[1]


def test_ties_are_said_and_several_objectives_have_a_front(run, store):
    """Equal objectives: who solved earlier, then the lower number; the second objective decides the front."""
    from rnnsweep.adapters.ledger.sql_ledger import open_ledger
    from rnnsweep.app.config.load import load, to_json
    from rnnsweep.sweep.ports import PutTrial, SweepView, TrialView
    from rnnsweep.sweep.states import SweepState, TrialState

    two = "objective=[{metric: valid/error, goal: minimize, take: last, reduce: mean},"
    two += " {metric: solved_at, goal: minimize, take: last, reduce: mean}]"
    config = to_json(load("quickstart", ["name=two", "pruner=none", two], store=store, check_units=False))
    ledger = open_ledger(f"sqlite:///{store / 'ledger.db'}")
    ledger.create(SweepView("two", SweepState.INTERRUPTED, config))
    fence = ledger.acquire("two", "test", 0.0)
    results = [((0.5, 90.0), 90), ((0.5, 40.0), 40), ((0.5, 40.0), 40), ((0.7, 10.0), 10)]
    views = [TrialView(n, TrialState.COMPLETE, {}, values, solved_at=at) for n, (values, at) in enumerate(results)]
    ledger.commit("two", fence, [PutTrial(view) for view in views])
    ledger.release("two", fence)
    ledger.close()
    out = run("best", "two").stdout
    assert "The same objective: trials 2, 0. Trial 1: 2 others tie, 1 of them solved at update 40 too; it has" in out
    assert "beats these in every objective: trials 1, 2, 3." in out
    assert json.loads(run("best", "two", "--json").stdout)["trial"] == 1


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
