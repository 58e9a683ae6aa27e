"""`rnnsweep serve`: what it refuses before anything is written, and what it hands over."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rnnsweep.app.cli.main import app
from rnnsweep.service import serving


def run(*arguments: str):
    return CliRunner().invoke(app, ["serve", *arguments])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--executor", "dask"], "--executor='dask': unknown executor; allowed: ray, inline"),
        (["--executor", "inline", "--workers", "2"], "--workers"),
        (["--executor", "inline", "--address", "auto"], "--address"),
        (["--max-sweeps", "0"], "max-sweeps"),
    ],
)
def test_wrong_options_write_nothing(arguments: list[str], words: str, tmp_path: Path) -> None:
    result = run(*arguments, "--store", str(tmp_path / "store"))
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "store").exists()


def test_options_reach_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr(serving, "serve", lambda *parts, **more: given.update(parts=parts))
    options = ["--workers", "3", "--cores", "2", "--gpus", "0", "--rows", "9", "--user-rows", "5"]
    assert run("--store", str(tmp_path), *options).exit_code == 0
    store, folders, pool, rules, limits = given["parts"]  # type: ignore[misc]
    assert (store, folders) == (str(tmp_path), [])
    assert pool.overrides() == [
        *("cluster=local", "cluster.workers=3", "cluster.cores_per_worker=2"),
        *("cluster.gpus_per_worker=0", "cluster.rows=9"),
    ]
    assert (rules.sweeps, rules.user_sweeps, limits.sweep, limits.user) == (16, None, None, 5)
