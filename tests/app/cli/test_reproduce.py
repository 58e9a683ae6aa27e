"""`rnnsweep reproduce`: the published tables; the runs are in tests/e2e."""

from __future__ import annotations

import json


def test_tables_are_listed_with_what_can_be_run(run):
    rows = json.loads(run("reproduce", "--json").stdout)
    assert {"chernodub_table1", "pascanu_fig7"} <= {row["name"] for row in rows if row["runs"]}
    assert "chernodub_table1" in run("reproduce").stdout


def test_a_table_is_printed_without_running_anything(run, store):
    before = sorted(store.rglob("*"))
    found = json.loads(run("reproduce", "chernodub_table1", "--json").stdout)
    assert found["source"]
    assert run("reproduce", "chernodub_table1").exit_code == 0
    assert sorted(store.rglob("*")) == before


def test_an_unknown_scale_is_wrong_input(run):
    result = run("reproduce", "chernodub_table1", "--scale", "smal")
    assert result.exit_code == 2
    assert "smoke" in result.stderr
