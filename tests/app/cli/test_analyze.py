"""`rnnsweep analyze`: analyses of the papers and of a sweep."""

from __future__ import annotations

from pathlib import Path

from rnnsweep.app.studies import analyses, trained_analyses
from rnnsweep.app.studies.trained_analyses import Request


def test_without_a_name_they_are_listed(run):
    lines = run("analyze").stdout.splitlines()
    named = [line.split()[0] for line in lines if line.startswith("  ")]
    assert named == [*trained_analyses.names(), *analyses.names()]


def test_files_are_named(run, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(analyses, "analyze", lambda *given: asked.append(given) or [Path("a.png"), Path("a.csv")])
    result = run("analyze", "bifurcation", "x=1", "--out", tmp_path)
    assert result.stdout.splitlines() == ["a.png", "a.csv"]
    assert asked == [("bifurcation", ["x=1"], tmp_path)]


def test_a_sweep_s_options_arrive(run, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(trained_analyses, "analyze_sweep", lambda *given: asked.append(given) or [Path("index.html")])
    words = (
        "lyapunov.steps=9",
        "--only",
        "lyapunov, portrait",
        "--trials",
        "best:3",
        "--replicas",
        "--against",
        "sigma",
    )
    result = run("analyze", "quickstart", *words, "--format", "svg", "--out", tmp_path)
    assert result.stdout.splitlines() == ["index.html"]
    ((sweep, request, out),) = asked
    assert sweep.name == "quickstart"
    assert request == Request(("lyapunov", "portrait"), "best:3", True, "sigma", ["lyapunov.steps=9"], ("svg",))
    assert out == tmp_path


def test_mistakes_are_one_line_with_exit_2(run):
    for words, says in (
        (("analyze", "quickstrat"), "quickstart"),
        (("analyze", "bifurcation", "--trials", "all"), "bifurcation"),
        (("analyze", "quickstart", "--only", "lyapunv"), "lyapunov"),
        (("analyze", "quickstart", "--trials", "77"), "no such trial"),
        (("analyze", "quickstart"), "no trained network left"),
    ):
        result = run(*words)
        assert result.exit_code == 2, result.output
        assert says in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
