"""`rnnsweep status` and `rnnsweep list`: field names that scripts rely on, and nothing is written."""

from __future__ import annotations

import json
import math

import pytest


def test_status_json(run):
    found = json.loads(run("status", "quickstart", "--json").stdout)
    assert set(found) == {"sweep", "state", "trials", "best", "updates", "wall_s", "updates_per_s"}
    assert found["state"] == "INTERRUPTED"
    assert found["trials"] == {"waiting": 1, "running": 0, "paused": 0, "complete": 3, "pruned": 1, "failed": 1}
    assert found["best"]["trial"] == 1
    assert found["best"]["objective"] == 0.002
    assert found["updates_per_s"] == pytest.approx(9800 / 61, abs=1e-3)


def test_trials_run_while_a_driver_does(run, driven):
    found = json.loads(run("status", "quickstart", "--json").stdout)
    assert found["state"] == "RUNNING"
    assert found["trials"] == {"waiting": 0, "running": 1, "paused": 0, "complete": 3, "pruned": 1, "failed": 1}


def test_list_is_status_of_all(run):
    assert json.loads(run("list", "--json").stdout) == [json.loads(run("status", "quickstart", "--json").stdout)]
    assert json.loads(run("status", "--json").stdout) == json.loads(run("list", "--json").stdout)


def test_reading_creates_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNSWEEP_STORE", str(tmp_path / "nowhere"))
    assert json.loads(run("list", "--json").stdout) == []
    assert run("status", "quickstart").exit_code == 2
    assert not (tmp_path / "nowhere").exists()


def test_store_option_wins_over_the_environment(run, store, monkeypatch, tmp_path):
    monkeypatch.setenv("RNNSWEEP_STORE", str(tmp_path / "nowhere"))
    assert run("status", "quickstart", "--store", store).exit_code == 0


def test_json_never_holds_nan_or_infinity(run):
    for command in ("status", "table", "best"):
        data = json.loads(run(command, "quickstart", "--json").stdout, parse_constant=lambda name: pytest.fail(name))
        assert data is not None
    assert math.isfinite(json.loads(run("status", "quickstart", "--json").stdout)["wall_s"])


@pytest.mark.parametrize(
    "command",
    [
        ("status", "quickstart"),
        ("list",),
        ("table", "quickstart"),
        ("best", "quickstart"),
        ("show", "quickstart", "1"),
        ("logs", "quickstart"),
    ],
)
def test_text_output_names_the_sweep_or_its_trials(run, command):
    result = run(*command)
    assert result.exit_code == 0
    assert "quickstart" in result.stdout or "trial" in result.stdout
    assert "Traceback" not in result.output


def test_status_prints_what_can_be_typed(run):
    """Infinite is `inf`: `off` is no value of any key."""
    lines = run("status", "quickstart").stdout.splitlines()
    assert "  controllers.sampling.q_min=-inf" in lines
    assert "  controllers.sampling.q_max=inf" in lines
    assert "  init.sigma=0.06" in lines


def test_status_fits_eighty_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for command in (("status", "quickstart"), ("list",)):
        lines = run(*command).stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert lines[1].split()[:3] == ["quickstart", "INTERRUPTED", "3"]
