"""Accounts of a store's service, as the command line gives and takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnsweep.app.accounts import TOKEN_FILE, first_token, grant, listing, revoke
from rnnsweep.app.stores import place
from rnnsweep.errors import ConfigError, StoreError


def test_an_absent_store_has_none_and_is_not_made(tmp_path: Path):
    assert listing(tmp_path / "store") == [] and not (tmp_path / "store").exists()


def test_the_first_token_is_made_once_for_its_owners_eyes(tmp_path: Path):
    store = place(tmp_path / "store")
    token = first_token(store)
    assert token is not None and len(token) >= 43  # 256 bits
    file = store.root / TOKEN_FILE
    assert file.read_text() == f"{token}\n" and file.stat().st_mode & 0o777 == 0o600
    assert first_token(store) is None
    (account,) = listing(store)
    assert account["role"] == "operator" and account["every"] is True


def test_a_link_that_lies_in_wait_is_not_written_through(tmp_path: Path):
    store, elsewhere = place(tmp_path / "store"), tmp_path / "elsewhere"
    store.root.mkdir()
    (store.root / TOKEN_FILE).symlink_to(elsewhere)
    first_token(store)
    assert not elsewhere.exists() and not (store.root / TOKEN_FILE).is_symlink()


def test_without_the_file_there_is_no_account(tmp_path: Path):
    store = place(tmp_path / "store")
    (store.root / TOKEN_FILE).mkdir(parents=True)  # what cannot be replaced
    with pytest.raises(StoreError, match=TOKEN_FILE):
        first_token(store)
    assert listing(store) == []


def test_give_and_take(tmp_path: Path):
    store = tmp_path / "store"
    assert grant("ada", "reader", False, store) != grant("ada", "operator", False, store)
    grant("bob", "reader", True, store)
    assert listing(store) == [
        {"user": "ada", "role": "operator", "every": False},
        {"user": "bob", "role": "reader", "every": True},
    ]
    with pytest.raises(ConfigError, match=r"--role='writer': unknown role; allowed: reader, operator"):
        grant("ada", "writer", False, store)
    with pytest.raises(ConfigError, match=r"no such account; allowed: ada, bob"):
        revoke("eve", store)
    revoke("ada", store)
    assert [account["user"] for account in listing(store)] == ["bob"]
