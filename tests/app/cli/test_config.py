"""`rnnsweep config`: the resolved configuration."""

from __future__ import annotations

import json


def test_config_prints_what_load_resolves(run):
    found = json.loads(run("config", "quickstart", "task.length=40", "--json").stdout)
    assert found["task"]["length"] == 40
    assert "task:" in run("config", "quickstart").stdout
    assert "quickstart" in run("config").stdout
