"""`rnnsweep analyze`: analyses of the papers."""

from __future__ import annotations

from pathlib import Path

from rnnsweep.app.studies import analyses


def test_without_a_name_they_are_listed(run):
    lines = run("analyze").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(analyses.names())


def test_files_are_named(run, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(analyses, "analyze", lambda *given: asked.append(given) or [Path("a.png"), Path("a.csv")])
    result = run("analyze", "bifurcation", "x=1", "--out", tmp_path)
    assert result.stdout.splitlines() == ["a.png", "a.csv"]
    assert asked == [("bifurcation", ["x=1"], tmp_path)]
