"""What a lineage that is trained once more is compared by; populations of real networks are in tests/e2e."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

import rnnsweep
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.cli.main import app
from rnnsweep.app.run.retraining import first_difference
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState
from tests.kit.tiny import TINY

REPORTS = {
    (0, replica, rung): RowReport(0, replica, "a", rung, 10 * rung, {"train/loss": 0.5 / rung})
    for replica in (0, 1)
    for rung in (1, 2)
}


@pytest.mark.parametrize(
    ("change", "key", "recorded", "found"),
    [
        ({"metrics": {"train/loss": 0.25000000000000006}}, "train/loss", 0.25, 0.25000000000000006),
        ({"metrics": {}}, "train/loss", 0.25, None),
        ({"state": RowState.SOLVED}, "state", RowState.ACTIVE, RowState.SOLVED),
        ({"solved_at": 20}, "solved_at", None, 20),
    ],
)
def test_the_first_difference_is_named(change, key, recorded, found) -> None:
    other = {**REPORTS, (0, 1, 2): replace(REPORTS[0, 1, 2], **change)}
    first = first_difference(REPORTS, other)
    assert first is not None
    assert (first.replica, first.step, first.key, first.recorded, first.found) == (1, 20, key, recorded, found)
    assert str(first) == f"trial 0, replica 1, update 20: {key} was {recorded!r} and is {found!r}"


def test_what_does_not_count_is_not_compared_and_what_lacks_is_told() -> None:
    same = {key: replace(report, token="b", device_s=3.0, engine="other") for key, report in REPORTS.items()}
    assert first_difference(REPORTS, same) is None
    less = {key: report for key, report in REPORTS.items() if key != (0, 0, 2)}
    first = first_difference(REPORTS, less)
    assert first is not None
    assert (first.rung, first.key, first.recorded, first.found) == (2, "report", "there", "absent")


def test_a_plain_trial_is_trained_again_too_and_a_changed_record_is_found(tmp_path) -> None:
    sweep = rnnsweep.launch("search", overrides=["name=p", *TINY, "budget.trials=2", "seed=5"], store=tmp_path)
    assert rnnsweep.replay(sweep, 1).equal
    with pytest.raises(ConfigError, match="no such trial"):
        rnnsweep.replay(sweep, 7)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    text = "UPDATE ledger_reports SET data = replace(data, '\"valid/error\":', '\"valid/error\":1') WHERE rung = 2"
    ledger.database.write(lambda c: c.exec_driver_sql(text))
    ledger.close()
    done = CliRunner().invoke(app, ["replay", "p", "--trial", "1", "--store", str(tmp_path)])
    assert done.exit_code == 1
    assert "DIFFERS: trial 1, replica 0, update 20: valid/error was 1" in done.output
