from __future__ import annotations

from rnnsweep.app.cli import watch


def test_without_a_terminal_it_says_what_does_without_one(run):
    result = run("watch", "quickstart")
    assert result.exit_code == 2
    assert "needs a terminal" in result.stderr and "rnnsweep logs quickstart --follow" in result.stderr


def test_a_sweep_that_the_store_does_not_have(run):
    result = run("watch", "quickstrat")
    assert result.exit_code == 2
    assert "no such sweep" in result.stderr


def test_on_a_terminal_the_screen_runs(run, monkeypatch):
    ran: list[tuple[str, float]] = []
    monkeypatch.setattr(watch, "on_terminal", lambda: True)
    monkeypatch.setattr("rnnsweep.app.watch.opening.show_live", lambda sweep, every: ran.append((sweep.name, every)))
    assert run("watch", "quickstart", "--every", "2").exit_code == 0
    assert ran == [("quickstart", 2.0)]
    assert run("watch", "quickstart", "--every", "0").exit_code == 2
