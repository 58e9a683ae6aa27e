"""`rnnsweep table`: field names that scripts rely on."""

from __future__ import annotations

import json

ROW = {"trial", "state", "objective", "params", "attempts", "solved_at", "diverged_at", "reason", "mlflow_run_id"}


def test_table_json_is_sorted_and_infinite_is_null(run):
    rows = json.loads(run("table", "quickstart", "--json").stdout)
    assert [row["trial"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert all(set(row) == ROW for row in rows)
    assert rows[1]["params"]["controllers.sampling.q_max"] is None
    assert rows[0]["params"]["controllers.sampling.q_max"] == 2.0
    assert rows[2]["objective"] is None
    assert rows[2]["reason"] == "bug: ValueError: no"
    assert rows[4]["diverged_at"] == 320
