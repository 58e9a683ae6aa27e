"""Accounts of a store's service: who may look, who may steer, and the first token."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app.stores import StorePlace, place
from rnnsweep.errors import ConfigError, StoreError, nearest

if TYPE_CHECKING:
    from rnnsweep.adapters.ledger.access_tables import AccountBook

TOKEN_FILE = "service.token"
"""Below the store's root: the token of whoever started the service first, for this machine's own commands."""
ROLES = ("reader", "operator")


@contextmanager
def account_book(store_place: StorePlace) -> Iterator[AccountBook]:
    """The accounts of a store, whose ledger is made if need be."""
    from rnnsweep.adapters.ledger.access_tables import AccountBook, make_tables
    from rnnsweep.adapters.ledger.sql_ledger import open_ledger

    ledger = open_ledger(store_place.ledger)
    try:
        make_tables(ledger.database)
        yield AccountBook(ledger.database)
    finally:
        ledger.close()


def first_token(store_place: StorePlace) -> str | None:
    """Make the first account, of whoever runs this, and its token; None where the store has accounts.

    The account is an operator's and sees every sweep. The token is also written to `TOKEN_FILE`, for its owner's eyes
    only, so that commands on this machine need not be told it.

    Raises:
        StoreError: the file cannot be written; then there is no account either.
    """
    from rnnsweep.adapters.ledger.access_tables import Account, Role

    with account_book(store_place) as book:
        if book.accounts():
            return None
        user = getpass.getuser()
        book.put(Account(user, Role.OPERATOR, every=True))
        token = book.issue(user)
        try:
            _write_private(store_place.root / TOKEN_FILE, token)
        except OSError as error:
            book.remove(user)
            raise StoreError("service", f"{store_place.root / TOKEN_FILE}: {error.strerror or error}") from None
        return token


def grant(user: str, role: str, every: bool, store: str | Path | StorePlace | None = None) -> str:
    """Make an account, or change what it may do; returns a further token of it, which is shown nowhere else.

    Raises:
        ConfigError: no such role, or the user's name is none.
    """
    from rnnsweep.adapters.ledger.access_tables import Account, Role

    if role not in ROLES:
        raise ConfigError("unknown role", key="--role", value=role, allowed=ROLES, hint=nearest(role, ROLES))
    with account_book(place(store)) as book:
        book.put(Account(user, Role(role), every))
        return book.issue(user)


def revoke(user: str, store: str | Path | StorePlace | None = None) -> None:
    """Remove an account and all its tokens; its sweeps stay.

    Raises:
        ConfigError: there is none; names those that there are.
    """
    with account_book(place(store)) as book:
        if not book.remove(user):
            known = [account.user for account in book.accounts()]
            raise ConfigError(
                "no such account", key="USER", value=user, allowed=known or "none", hint=nearest(user, known)
            )


def listing(store: str | Path | StorePlace | None = None) -> list[dict[str, Any]]:
    """All accounts by user: user, role, every; an absent store has none, and is not made."""
    store_place = place(store)
    if not store_place.exists:
        return []
    with account_book(store_place) as book:
        return [{"user": one.user, "role": one.role.value, "every": one.every} for one in book.accounts()]


def _write_private(path: Path, text: str) -> None:
    """A file for its owner's eyes only from its first moment on; one that stands there is replaced, link or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
