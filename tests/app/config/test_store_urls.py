"""What of a store's URL is kept, and where a resume finds the rest."""

from __future__ import annotations

import os

import pytest

from rnnsweep.app.config.load import from_json, load, to_json
from rnnsweep.app.config.store_urls import UrlFinder, kept, readable
from rnnsweep.errors import ConfigError

STARRED = "postgresql://me:***@db:5432/optuna"
URL = "postgresql://me:p%2Fw%40@db:5432/optuna"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith(("RNNSWEEP_", "PG", "MLFLOW_TRACKING"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))


@pytest.mark.parametrize(
    ("value", "written", "expected"),
    [
        (URL, URL, STARRED),
        (URL, "${oc.env:URL}", "${oc.env:URL}"),
        (URL, "postgresql://me:${oc.env:PW}@db:5432/optuna", "postgresql://me:${oc.env:PW}@db:5432/optuna"),
        (URL, f"${{oc.env:URL,{URL}}}", STARRED),  # the default is written in clear
        (URL, "postgresql://${name}:${oc.env:PW}@db/optuna", STARRED),  # not to be read without the config
        ("postgresql://db/optuna?user=me&password=S", None, "postgresql://db/optuna?user=me&password=***"),
        ("postgresql://db/optuna", "${oc.env:URL}", "postgresql://db/optuna"),  # no secret: a resume needs no variable
        ("sqlite:////a:b@c/x.db", None, "sqlite:////a:b@c/x.db"),
        (None, None, None),
    ],
)
def test_what_is_kept(value, written, expected):
    block = kept({"optuna": value, "root": "mlruns"}, {"optuna": written})
    assert block == {"optuna": expected, "root": "mlruns"}
    assert kept(block) == block


def test_a_config_holds_the_kept_form_everywhere_but_in_its_store(monkeypatch):
    monkeypatch.setenv("LEDGER", "postgresql://me:secret@db/ledger")
    typed = ["store.ledger=${oc.env:LEDGER}", f"store.optuna='{URL}'", "store.mlflow='http://me:secret@h'"]
    config = load("quickstart", typed, check_units=False)
    assert config.store.ledger.endswith("me:secret@db/ledger")
    assert (config.store.optuna, config.store.mlflow) == (URL, "http://me:secret@h")
    stored = to_json(config)
    for text in map(str, (stored, config.plan, config.variants, config.resolved, config)):
        assert "secret" not in text and "p%2Fw" not in text
    again = from_json(stored, find_urls=UrlFinder(ask=lambda question: "secret" if "mlflow" in question else "p/w@"))
    assert again.store == config.store
    assert to_json(again) == stored
    monkeypatch.delenv("LEDGER")
    assert from_json(stored).store.ledger == "${oc.env:LEDGER}"  # who only looks need not have it
    with pytest.raises(ConfigError, match="LEDGER is not set"):
        from_json(stored, find_urls=UrlFinder())


def test_a_config_of_before_gives_its_password_away_no_more():
    stored = to_json(load("quickstart", [f"store.optuna='{URL}'"], check_units=False))
    stored["variants"][0]["resolved"]["store"]["optuna"], stored["overrides"] = URL, [f"store.optuna={URL}"]
    config = from_json(stored, find_urls=UrlFinder())
    assert config.store.optuna == URL
    assert "p%2Fw" not in str(to_json(config))


def found(stored: str = STARRED, key: str = "optuna", **options: str) -> str:
    return UrlFinder(**options).url(stored, key)


def test_the_ledger_is_where_it_was_reached_and_its_password_serves_the_same_user(monkeypatch):
    reached = "postgresql+psycopg://me:p%2Fw%40@db/ledger"
    assert found("postgresql://me:***@db/ledger", "ledger", ledger=reached) == reached
    assert found(ledger=reached) == URL
    for other in ("postgresql://you:x@db/ledger", "postgresql://me:x@other/ledger", "postgresql://me:x@db:1/ledger"):
        with pytest.raises(ConfigError, match="RNNSWEEP_OPTUNA"):
            found(ledger=other)


def test_a_whole_url_from_the_environment_must_be_the_same_place(monkeypatch):
    monkeypatch.setenv("RNNSWEEP_OPTUNA", URL)
    assert found() == URL
    monkeypatch.setenv("RNNSWEEP_OPTUNA", URL.replace("optuna", "other"))
    with pytest.raises(ConfigError, match="another place") as error:
        found()
    assert "p%2Fw" not in str(error.value)


def test_what_was_typed_again_is_taken_where_it_is_the_same_place():
    assert UrlFinder(known={"optuna": URL}).url(STARRED, "optuna") == URL
    with pytest.raises(ConfigError, match="not kept"):
        UrlFinder(known={"optuna": URL.replace("db", "other")}).url(STARRED, "optuna")


def test_libpqs_own_places(monkeypatch, tmp_path):
    file = tmp_path / "pgpass"
    file.write_text("# a comment\ndb:5432:other:me:no\ndb:*:optuna:me:p/w\\:\\\\@\n*:*:*:*:never\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="pgpass"):  # libpq passes over a file that others may read
        found()
    file.chmod(0o600)
    assert found() == "postgresql://me:p%2Fw%3A%5C%40@db:5432/optuna"
    monkeypatch.setenv("PGPASSWORD", "x y")
    assert found() == "postgresql://me:x%20y@db:5432/optuna"
    with pytest.raises(ConfigError, match=r"RNNSWEEP_CHECKPOINTS to the whole URL\.$"):
        found("s3://me:***@bucket", "checkpoints")


def test_mlflows_own_variable(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "x@")
    assert found("https://me:***@host", "mlflow") == "https://me:x%40@host"


def test_who_only_looks_gets_what_is_known():
    assert readable({"optuna": STARRED, "root": "r"}) == {"optuna": STARRED, "root": "r"}


@pytest.mark.parametrize("url", ["postgresql://me:p@ss?x=1@db/o", "postgresql://db/o?password=a@b"])
def test_a_url_whose_password_has_no_clear_end_is_refused(url):
    with pytest.raises(ConfigError, match=r"not clear.*%40") as error:
        load("quickstart", [f"store.optuna='{url}'"], check_units=False)
    assert "ss" not in str(error.value).replace("password", "")


def test_a_password_elsewhere_than_in_store_is_refused():
    with pytest.raises(ConfigError, match=r"task\.path.*no place for a password") as error:
        load("pascanu_music", ["task.path='https://me:secret@host/data'"], check_units=False)
    assert "secret" not in str(error.value)
