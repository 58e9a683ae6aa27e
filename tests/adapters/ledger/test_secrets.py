"""Passwords in URLs, in whatever form: no part of one is left, and nothing else is changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from rnnsweep.adapters.ledger.secrets import has_secret, without_secrets

PASSWORDS = ["secret", "se/cret", "se@cret", "se cret", "se@/cr@et", "se:cret", "s%40ecret", "se?cret", "se#cret"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "http", "https", "s3"])
def test_no_part_of_a_password_is_left(scheme: str, password: str) -> None:
    url = f"{scheme}://me:{password}@host:5432/data"
    for text in (url, f"store.ledger={url}", f"store.ledger='{url}'", f"[1, {url}]"):
        assert without_secrets(text) == text.replace(password, "***")
        assert has_secret(text)


@pytest.mark.parametrize("option", ["password", "sslpassword", "PWD", "access_token", "api_key", "client_secret"])
def test_options_that_are_secrets(option: str) -> None:
    url = f"postgresql://host/data?user=me&{option}=S e/cr&sslmode=require"
    assert without_secrets(url) == f"postgresql://host/data?user=me&{option}=***&sslmode=require"
    last = f"x='postgresql://me:one@host/data?{option}=two'"
    assert without_secrets(last) == f"x='postgresql://me:***@host/data?{option}=***'"


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////data/a@b/ledger.db",
        "sqlite:////data/a:b/c.db",
        "http://127.0.0.1:5000/#/experiments/1",
        "postgresql://me@host/data",
        "family.activation=choice(tanh,relu)",
        "me:secret@nowhere",
        "postgresql://me:***@host/data",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text
    assert not has_secret(text)


@pytest.mark.parametrize("url", ["postgresql://h:1/d?user=me&password=S@cret", "postgresql://me:se?c=ret@host/d"])
def test_of_what_no_parser_can_tell_apart_nothing_is_shown(url: str) -> None:
    assert without_secrets(f"store.ledger={url}") == "store.ledger=postgresql://***"


def test_urls_that_no_parser_takes_and_several_in_one_text() -> None:
    assert without_secrets("postgresql://me:secret@host:xx/d") == "postgresql://me:***@host:xx/d"
    text = "a=postgresql://me:one@h/d,b=http://u:two@h/x?token=three"
    assert without_secrets(text) == "a=postgresql://me:***@h/d,b=http://u:***@h/x?token=***"


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=4, max_size=12))
def test_whatever_sqlalchemy_writes_is_hidden(password: str) -> None:
    url = URL.create("postgresql", "me", password, "host", 5432, "data").render_as_string(hide_password=False)
    assert without_secrets(url) == "postgresql://me:***@host:5432/data"
