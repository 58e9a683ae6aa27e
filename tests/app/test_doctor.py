"""The doctor says what is wrong and what to do, and never breaks down itself."""

from __future__ import annotations

import json
import sqlite3

import pytest

from rnnsweep.app import doctor, environment
from rnnsweep.app.stores import place


def found(store):
    return {finding.check: finding for finding in doctor.examine(place(store), with_ray=False)}


def test_a_healthy_machine(run, store):
    result = run("doctor", "--no-ray", "--json")
    findings = json.loads(result.stdout)
    assert {"check", "ok", "detail", "remedy"} == set(findings[0])
    assert {"libraries", "cpu", "store", "ledger", "ledger.db", "disk", "clock"} <= {f["check"] for f in findings}
    assert result.exit_code == (0 if all(f["ok"] for f in findings) else 1)
    assert found(store)["ledger"].detail == "1 sweep"
    assert found(store)["ledger.db"].ok


def test_no_store_yet_is_no_finding_and_is_not_made(tmp_path):
    findings = found(tmp_path / "new")
    assert findings["store"].ok
    assert "first launch" in findings["store"].detail
    assert not (tmp_path / "new").exists()


def test_a_database_that_blocks_its_readers(store):
    with sqlite3.connect(store / "mlflow.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    assert not found(store)["mlflow.db"].ok
    assert "WAL" in found(store)["mlflow.db"].remedy


def test_a_damaged_ledger(store, run):
    (store / "ledger.db").write_bytes(b"no database at all" * 300)
    assert run("doctor", "--no-ray").exit_code == 1


def test_little_disk(store, monkeypatch):
    monkeypatch.setattr(doctor, "LOW_DISK", 2**80)
    assert not found(store)["disk"].ok
    assert "--store" in found(store)["disk"].remedy


def test_a_store_on_a_network_disk(store, monkeypatch):
    monkeypatch.setattr(doctor, "_filesystem", lambda folder: "nfs4")
    assert "PostgreSQL" in found(store)["store"].remedy


def test_a_missing_library(store, monkeypatch):
    wanted = ["no-such-library>=1", "torch>=99", "x; extra == 'a'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: wanted)
    finding = found(store)["libraries"]
    assert not finding.ok
    assert "no-such-library is missing" in finding.detail
    assert "torch" in finding.detail


def test_a_check_that_breaks_is_a_finding(store, monkeypatch):
    monkeypatch.setattr(environment, "processor", lambda: 1 / 0)
    assert "ZeroDivisionError" in found(store)["devices"].detail


@pytest.mark.parametrize("name", ["rnnsweep", "commit", "python", "processor", "cores", "torch", "gpus"])
def test_environment_is_text(name):
    assert environment.describe()[name]
