"""Commands that ask a service print what they print of a store, and exit with the same codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rnnsweep.app.cli.main import app
from tests.app.conftest import SWEEP
from tests.kit.small_front import SmallFront


@pytest.mark.parametrize(
    "words",
    [
        ("status", SWEEP),
        ("status", SWEEP, "--json"),
        ("table", SWEEP),
        ("table", SWEEP, "--json", "--where", "state=COMPLETE", "--sort", "-objective"),
        ("table", SWEEP, "--csv"),
        ("best", SWEEP),
        ("best", SWEEP, "--json"),
        ("show", SWEEP, "1"),
        ("show", SWEEP, "1", "--json"),
        ("show", SWEEP, "77"),
        ("logs", SWEEP),
        ("stop", SWEEP),
    ],
    ids=" ".join,
)
def test_the_same_words_and_exit_code(ask, front: SmallFront, words: tuple[str, ...]):
    there = ask(*words)
    here = CliRunner().invoke(app, [*words, "--store", str(front.place.root)])
    assert (there.exit_code, there.output) == (here.exit_code, here.output)


def test_list(ask):
    result = ask("list")
    assert result.exit_code == 0 and SWEEP in result.output


def test_launch_runs_to_its_end(ask, front: SmallFront):
    result = ask("launch", "search", "name=run", "budget.trials=2")
    assert result.exit_code == 0, result.output
    assert "Sweep 'run' is queued at http://127.0.0.1" in result.output
    assert "Sweep 'run' is COMPLETE: 2 trials, 0 failed" in result.output and "best 2" in result.output
    assert "rnnsweep resume run budget.trials=N --service http://127.0.0.1" in result.output
    again = ask("launch", "search", "name=run")
    assert again.exit_code == 2 and "the store has a sweep of this name" in again.output
    handed = ask("launch", "search", "name=run2", "budget.trials=1", "--submit")
    assert handed.exit_code == 0 and "rnnsweep status run2 --service" in handed.output


def test_wrong_input_is_the_command_lines_message(ask, tmp_path: Path):
    assert "Did you mean 'search'?" in ask("launch", "serch").output
    refused = ask("launch", "search", "store.root=/tmp")
    assert refused.exit_code == 2 and "cannot be set over the network" in refused.output
    for words in (
        ("resume", SWEEP, "--accept-changes"),
        ("launch", "search", "--config-dir", str(tmp_path)),
        ("train",),
    ):
        result = ask(*words)
        assert result.exit_code == 2 and result.output.startswith("error: "), result.output


def test_report(ask, tmp_path: Path):
    result = ask("report", SWEEP, "--out", tmp_path / "out")
    assert result.output.strip() == str(tmp_path / "out" / "index.html") and (tmp_path / "out" / "index.html").is_file()


def test_a_wrong_token(ask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RNNSWEEP_TOKEN", "wrong")
    result = ask("list")
    assert result.exit_code == 2 and "error: wrong token" in result.output
