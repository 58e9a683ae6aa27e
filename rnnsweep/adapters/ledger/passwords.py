"""Where the password of a URL is found again that was stored without it: another URL, or libpq's own places."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rnnsweep.adapters.ledger.secrets import STARS, with_password, without_secrets
from rnnsweep.adapters.postgres import is_postgres

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_PORT = 5432
_FIELDS = 5  # of a line of libpq's password file: host, port, database, user, password


def same_place(url: str, stored: str) -> bool:
    """Whether a URL names what a stored one names, secrets and drivers apart.

    Example:
        >>> same_place("postgresql+psycopg://me:secret@host/db", "postgresql://me:***@host/db")
        True
        >>> same_place("postgresql://me:secret@host/other", "postgresql://me:***@host/db")
        False
    """
    return _without_driver(without_secrets(url)) == _without_driver(without_secrets(stored))


def borrowed(stored: str, url: str) -> str | None:
    """The stored URL with the password of another one for the same user of the same server; None where they differ.

    Example:
        >>> borrowed("postgresql://me:***@host/optuna", "postgresql://me:p%40w@host:5432/ledger")
        'postgresql://me:p%40w@host/optuna'
    """
    ours, theirs = _parsed(stored), _parsed(url)
    if ours is None or theirs is None or _login(ours) != _login(theirs):
        return None
    password = theirs.password or theirs.query.get("password")
    return with_password(stored, password) if isinstance(password, str) and password != STARS else None


def from_libpq(stored: str) -> str | None:
    """The stored PostgreSQL URL with the password of PGPASSWORD or of the password file; None where neither has one.

    References:
        PostgreSQL's manual, "The Password File": the first line that fits counts, and a file that others may read is
        passed over.
    """
    url = _parsed(stored) if is_postgres(stored) else None
    if url is None:
        return None
    password = os.environ.get("PGPASSWORD")
    if password is None:
        wanted = _login(url)
        names = [str(wanted[1] or "localhost"), str(wanted[2]), url.database or str(wanted[0]), str(wanted[0])]
        lines = (line for line in _password_file() if all(a in ("*", b) for a, b in zip(line, names, strict=False)))
        password = next((line[-1] for line in lines), None)
    return None if password is None else with_password(stored, password)


def _password_file() -> Iterator[list[str]]:
    file = Path(os.environ.get("PGPASSFILE") or Path.home() / ".pgpass")
    try:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):  # there is none, or it is not ours to read
        return
    for line in text.splitlines():
        fields = _fields(line)
        if len(fields) == _FIELDS and not line.startswith("#"):
            yield fields


def _fields(line: str) -> list[str]:
    # a backslash keeps a colon, or itself, from being taken for what it means
    return [re.sub(r"\\(.)", r"\1", part) for part in re.findall(r"(?:^|:)((?:\\.|[^:\\])*)", line)]


def _login(url: URL) -> tuple[object, object, object]:
    """Who logs in where."""
    user, host = url.username or url.query.get("user"), url.host or url.query.get("host")
    return user, host, url.port or (_PORT if url.get_backend_name() == "postgresql" else None)


def _parsed(url: str) -> URL | None:
    # Here, not above: as in `secrets`.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def _without_driver(url: str) -> str:
    return re.sub(r"^(\w+)\+\w+://", r"\1://", url).replace("postgres://", "postgresql://", 1)
