"""`rnnsweep show`: one trial in full."""

from __future__ import annotations

import json
import re

import pytest

ROW = {
    "trial",
    "state",
    "step",
    "objective",
    "value",
    "params",
    "attempts",
    "solved_at",
    "diverged_at",
    "reason",
    "fingerprints",
    "mlflow_run_id",
}


def test_show_json(run):
    found = json.loads(run("show", "quickstart", "1", "--json").stdout)
    assert set(found) == ROW | {"rung", "curves", "replicas", "artifacts"}
    assert found["curves"]["valid/error"] == [[200, 0.75], [400, 0.75], [600, 0.75], [800, 0.002]]
    assert found["replicas"][0]["state"] == "SOLVED"
    assert found["replicas"][0]["device_s"] == pytest.approx(2.0)  # four rungs of 0.5 s


def test_show_prints_facts_history_with_times_and_curves(tiny, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    root, _ = tiny
    text = run("show", "tiny", "1", "--store", root).stdout
    lines = text.splitlines()
    assert lines[0] == "trial 1  COMPLETE at update 20"
    assert any(line.startswith("  controllers.clip.threshold=") for line in lines)
    assert re.search(r"^  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  attempt 1 from update 0 on \S+$", text, re.M)
    shown = lines[: lines.index("artifacts")] if "artifacts" in lines else lines
    assert max(map(len, shown)) <= 100
    assert any("valid/error" in line and "█" in line for line in lines)
    assert "history" not in json.loads(run("show", "tiny", "1", "--json", "--store", root).stdout)


def test_infinite_parameters_can_be_typed(run):
    assert "  controllers.sampling.q_min=-inf" in run("show", "quickstart", "1").stdout.splitlines()
