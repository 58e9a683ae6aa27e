"""What older versions have stored is removed to the last byte, and what this one stores never holds a password."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import rnnsweep
from rnnsweep.app.config.load import from_json
from rnnsweep.app.doctor import mirrors
from rnnsweep.app.run.redaction import redact_config, redact_ledger
from rnnsweep.app.stores import place
from rnnsweep.errors import ConfigError
from tests.kit.passwords import PASSWORD, places_with, role_url
from tests.kit.tiny import TINY

__all__ = ["role_url"]

OLD = "postgresql://me:s3cret-of-old@127.0.0.1:1/optuna"
SECRET = "s3cret-of-old"


@pytest.mark.slow
@pytest.mark.postgres
def test_a_sweep_on_postgresql_keeps_no_byte_of_its_password_and_goes_on(role_url, tmp_path, monkeypatch, capfd):
    for name in ("PGPASSWORD", "RNNSWEEP_OPTUNA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    small = [text for text in TINY if not text.startswith(("store.optuna", "tracker"))]
    typed = ["name=s", "budget.trials=2", f"store.optuna='{role_url}'", *small]
    store = tmp_path / "store"
    assert rnnsweep.launch("search", typed, store=store).outcome.exit_code == 0
    assert places_with(PASSWORD, store) == []
    with pytest.raises(ConfigError, match=r"store\.optuna.*\*\*\*.*not kept.*RNNSWEEP_OPTUNA"):
        rnnsweep.resume("s", ["budget.trials=3"], store=store, progress=False)
    asked = []
    resumed = rnnsweep.resume(
        "s", ["budget.trials=3"], store=store, ask=lambda question: asked.append(question) or PASSWORD
    )
    assert resumed.outcome.exit_code == 0 and resumed.outcome.behind == ()
    assert len(asked) == 1 and "store.optuna" in asked[0]
    assert places_with(PASSWORD, store) == []
    shown = "".join(capfd.readouterr())
    assert PASSWORD not in shown and PASSWORD[:4] not in shown


def as_of_old(store: Path) -> None:
    """Give a sweep of the store the URL with a password that older versions kept, in rows and in freed pages."""
    with closing(sqlite3.connect(store / "ledger.db")) as connection:
        (text,) = connection.execute("SELECT data FROM ledger_sweeps").fetchone()
        view = json.loads(text)
        for variant in view["config"]["variants"]:
            variant["resolved"]["store"]["optuna"] = OLD
        view["config"]["overrides"] = view["overrides"] = [f"store.optuna={OLD}"]
        for padding in ("x" * 9000, "", "y" * 30000, ""):
            view["reason"] = padding
            connection.execute("UPDATE ledger_sweeps SET data = ?", (json.dumps(view),))
            connection.commit()


def test_what_an_older_version_stored_is_removed(store):
    as_of_old(store)
    assert places_with(SECRET, store)
    url = f"sqlite:///{store / 'ledger.db'}"
    assert redact_ledger(url) == 1
    assert places_with(SECRET, store) == []
    assert redact_ledger(url) == 0


def test_doctor_removes_it_and_says_so(store, monkeypatch):
    as_of_old(store)
    monkeypatch.setenv("RNNSWEEP_OPTUNA", "sqlite:///elsewhere")
    findings = list(mirrors(place(store)))
    assert "held passwords of URLs in 1 rows" in findings[0].detail
    assert not findings[1].ok and "RNNSWEEP_OPTUNA names another place" in findings[1].detail
    assert places_with(SECRET, store) == []


def test_the_copy_beside_the_checkpoints_too(store):
    with closing(sqlite3.connect(store / "ledger.db")) as connection:
        (text,) = connection.execute("SELECT data FROM ledger_sweeps").fetchone()
    config = from_json(json.loads(text)["config"], store)
    assert not redact_config(config)  # there is none
    copy = Path(config.checkpoints) / "sweep.json"
    copy.parent.mkdir(parents=True)
    copy.write_text(json.dumps({"overrides": [f"store.optuna={OLD}"], "config": {"seed": 1}}))
    assert redact_config(config) and not redact_config(config)
    assert json.loads(copy.read_text()) == {
        "overrides": [f"store.optuna={OLD.replace(SECRET, '***')}"],
        "config": {"seed": 1},
    }
