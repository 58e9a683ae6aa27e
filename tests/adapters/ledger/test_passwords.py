"""Passwords that are found again: libpq's file against libpq itself, and URLs of one server."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from rnnsweep.adapters.ledger.passwords import borrowed, from_libpq, same_place
from tests.kit.passwords import PASSWORD, role_url

__all__ = ["role_url"]


@pytest.mark.parametrize("url", ["sqlite:///a", "not a url", "postgresql://me@h:xx/d", "http://me:***@h"])
def test_what_is_no_postgresql_url_is_none_of_libpqs(url, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "x")
    assert from_libpq(url) is None


def test_a_url_without_stars_lends_and_one_with_them_borrows():
    assert borrowed("postgresql://me:***@h/a", "postgresql://h/b?user=me&password=x y") == "postgresql://me:x%20y@h/a"
    assert borrowed("postgresql://me:***@h/a", "postgresql://me:***@h/b") is None
    assert borrowed("postgresql://me:***@h/a", "") is None


def test_a_driver_is_no_other_place():
    assert same_place("postgres://me:x@h/d", "postgresql+psycopg://me:***@h/d")
    assert not same_place("postgresql://you:x@h/d", "postgresql://me:***@h/d")


@pytest.mark.postgres
def test_the_password_file_is_read_as_libpq_reads_it(role_url, tmp_path, monkeypatch):
    """libpq says which password it would send: `PGconn.info` has what it took from the file."""
    monkeypatch.delenv("PGPASSWORD", raising=False)
    url = make_url(role_url)
    file = tmp_path / "pgpass"
    lines = ["# x:y", "*:1:*:*:wrong", "127.0.0.1:*:" + (url.database or "") + ":*:p/w@?x y\\:\\\\end", "*:*:*:*:last"]
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    host = {"host": url.host or "127.0.0.1", "port": str(url.port or 5432)}
    conninfo = make_conninfo("", **host, user=url.username or "", dbname=url.database or "")
    with psycopg.connect(conninfo) as connection:
        theirs = connection.info.password
    found = from_libpq(url.render_as_string(hide_password=True))
    assert found is not None and make_url(found).password == theirs == f"{PASSWORD}:\\end"
