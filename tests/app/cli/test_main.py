"""The entry point: errors and warnings as one line each; where they come from, for whoever asks."""

from __future__ import annotations

import sys

import pytest

BROKEN = {
    "syntax": ("def f(:\n", "broken_unit.py:1"),
    "raising in __post_init__": (
        "from dataclasses import dataclass\n"
        "from rnnsweep.core.optimizers.sgd import Sgd\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Sgd):\n"
        "    def __post_init__(self):\n"
        "        raise KeyError('no such thing')\n",
        "broken_unit.py:8",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("first", [True, False])
def test_a_broken_unit_is_one_line_and_its_traceback_is_there_for_the_asking(run, tmp_path, monkeypatch, case, first):
    text, place = BROKEN[case]
    folder = tmp_path / case.split()[0] / str(first)
    (folder / "optimizer").mkdir(parents=True)
    (folder / "broken_unit.py").write_text(text)
    (folder / "optimizer/mine.yaml").write_text("_target_: broken_unit.Mine\nlr: 0.1\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "broken_unit", raising=False)
    words = ("config", "quickstart", "optimizer=mine", "--config-dir", folder)
    result = run(*words)
    assert result.exit_code == 2
    assert place in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    more = run("--traceback", *words) if first else run(*words, "--traceback")
    assert more.exit_code == 2
    assert more.stderr.endswith(result.stderr)
    assert "Traceback (most recent call last)" in more.stderr
    assert ("SyntaxError" if case == "syntax" else "KeyError") in more.stderr


def test_what_does_nothing_is_a_line_on_stderr_each_time(run):
    for _ in range(2):
        result = run("config", "quickstart", "space={}")
        assert result.exit_code == 0
        assert result.stderr.startswith("warning: nothing is searched, so the sweep ends with its one point")
        assert len(result.stderr.strip().splitlines()) == 1
        assert "warning" not in result.stdout


def test_a_password_on_the_command_line_is_warned_about_and_not_shown(run):
    done = run("table", "nothing", "--store", "postgresql://me:p/w@x@127.0.0.1:1/l")
    assert "other users see this password" in done.stderr and "RNNSWEEP_STORE" in done.stderr
    assert "p/w" not in done.stderr and "w@x" not in done.stderr
    assert "see this password" not in run("table", "nothing", "--store", "sqlite://x").stderr
