"""`rnnsweep show`: one trial in full."""

from __future__ import annotations

import json

import pytest

ROW = {"trial", "state", "objective", "params", "attempts", "solved_at", "diverged_at", "reason", "mlflow_run_id"}


def test_show_json(run):
    found = json.loads(run("show", "quickstart", "1", "--json").stdout)
    assert set(found) == ROW | {"curves", "replicas", "artifacts"}
    assert found["curves"]["valid/error"] == [[200, 0.75], [400, 0.75], [600, 0.75], [800, 0.002]]
    assert found["replicas"][0]["state"] == "SOLVED"
    assert found["replicas"][0]["device_s"] == pytest.approx(2.0)  # four rungs of 0.5 s
