"""Without its driver, PostgreSQL is refused with the extra's name, before anything is opened or written."""

from __future__ import annotations

import pytest

from rnnsweep.adapters import postgres
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.app.cli.main import app
from rnnsweep.app.config.load import load
from rnnsweep.errors import ConfigError

URL = "postgresql://me:secret@db:5432/ledger"


@pytest.fixture
def _without_driver(monkeypatch):
    monkeypatch.setattr(postgres, "find_spec", lambda name: None)


@pytest.mark.usefixtures("_without_driver")
@pytest.mark.parametrize("key", ["store.ledger", "store.optuna"])
@pytest.mark.parametrize("url", [URL, URL.replace("://", "+psycopg://")])
def test_a_sweep_that_needs_it_is_refused(key, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"PostgreSQL needs psycopg.*pip install .*extra 'postgres'") as caught:
        load("quickstart", [f"{key}='{url}'"], check_units=False)
    assert key in str(caught.value)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_without_driver")
def test_so_is_a_store_that_needs_it(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="PostgreSQL needs psycopg"):
        open_ledger(URL)
    result = CliRunner().invoke(app, ["status", "quickstart", "--store", URL])
    assert result.exit_code == 2
    assert "extra 'postgres'" in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.usefixtures("_without_driver")
def test_sqlite_needs_no_driver(tmp_path):
    open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}").close()


def test_with_the_driver_nothing_is_said():
    postgres.require_driver(URL, "store.ledger")
