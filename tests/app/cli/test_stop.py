"""`rnnsweep stop`: a request to the driver."""

from __future__ import annotations


def test_stop_of_a_sweep_that_does_not_run(run):
    result = run("stop", "quickstart")
    assert result.exit_code == 0
    assert "not running" in result.stdout
