"""`rnnsweep doctor`: findings as lines or JSON, exit 1 where there is something to do."""

from __future__ import annotations

import json

import pytest

from rnnsweep.app import doctor
from rnnsweep.app.doctor import Finding

WELL, ILL = Finding("cpu", True, "fine"), Finding("disk", False, "full", "make room")


@pytest.mark.parametrize(("findings", "code"), [([WELL], 0), ([WELL, ILL], 1)])
def test_findings_and_code(run, monkeypatch, findings, code):
    monkeypatch.setattr(doctor, "examine", lambda store, **options: iter(findings))
    result = run("doctor")
    assert result.exit_code == code
    assert result.stdout.startswith("ok   cpu")
    assert ("→ make room" in result.stdout) is bool(code)
    assert [row["ok"] for row in json.loads(run("doctor", "--json").stdout)] == [one.ok for one in findings]
