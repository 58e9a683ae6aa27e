"""`rnnsweep bench`: what is mistyped is refused before anything is measured."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from rnnsweep.app.cli.main import app
from rnnsweep.app.studies import bench


@pytest.mark.parametrize("engines", [("gpuu",), ("reference", "gpuu")])
def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch, engines: tuple[str, ...]) -> None:
    monkeypatch.setattr(bench, "measure", lambda *a, **k: pytest.fail("something was measured"))
    chosen = [part for name in engines for part in ("--engine", name)]
    result = CliRunner().invoke(app, ["bench", *chosen])
    assert result.exit_code != 0
    told = result.output + repr(result.exception)
    assert "engine" in told
    assert "gpuu" in told
    assert "auto, reference, cpu, gpu" in told or "'auto', 'reference', 'cpu', 'gpu'" in told
