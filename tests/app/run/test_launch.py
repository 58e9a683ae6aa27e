"""The steps that launch and resume share."""

from __future__ import annotations

from rnnsweep.app.run import launch as running
from rnnsweep.app.stores import place
from rnnsweep.sweep.states import SweepState


def test_fresh_names(store, monkeypatch):
    where = place(store)
    assert running.fresh_name(where, "other") == ("other", False)
    assert running.fresh_name(where, "quickstart") == ("quickstart", True)  # INTERRUPTED: goes on
    monkeypatch.setattr(running, "states", lambda where: [("quickstart", SweepState.COMPLETE)])
    assert running.fresh_name(where, "quickstart") == ("quickstart-2", False)
