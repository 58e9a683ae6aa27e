"""Counts per sweep, of two sweeps that share a ledger."""

from __future__ import annotations

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.adapters.ledger.standing import standings
from rnnsweep.sweep.ports import PutTrial, SweepView, TrialView
from rnnsweep.sweep.states import SweepState, TrialState


def test_each_sweep_has_its_own_counts(tmp_path):
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert standings(ledger) == []
    for name, states in {"a": ["RUNNING", "COMPLETE", "COMPLETE"], "b": ["FAILED"]}.items():
        ledger.create(SweepView(name, SweepState.RUNNING, {}))
        fence = ledger.acquire(name, "test", 0.0)
        ledger.commit(name, fence, [PutTrial(TrialView(n, TrialState(s), {})) for n, s in enumerate(states)])
        ledger.set_cursor(name, "csv", ledger.changes(name, 0)[0].seq)
        ledger.release(name, fence)
    ledger.post("b", "stop")
    first, second = standings(ledger)
    assert first.view.name == "a" and first.trials[TrialState.COMPLETE] == 2 and first.trials[TrialState.FAILED] == 0
    assert first.behind == {"csv": 2} and first.requests == 0
    assert second.trials[TrialState.FAILED] == 1 and second.behind == {"csv": 0} and second.requests == 1
    ledger.close()
