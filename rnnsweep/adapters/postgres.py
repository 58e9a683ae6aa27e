"""PostgreSQL is an extra: its driver is asked for before a URL that needs it is used."""

from __future__ import annotations

from importlib.util import find_spec

from rnnsweep.errors import ConfigError
from rnnsweep.extras import install_hint

DRIVER = "psycopg"


def is_postgres(url: str) -> bool:
    """Whether a URL names a PostgreSQL database, with or without a driver.

    Example:
        >>> is_postgres("postgresql+psycopg://db/ledger"), is_postgres("sqlite:///ledger.db")
        (True, False)
    """
    return url.partition("://")[0].partition("+")[0] in ("postgresql", "postgres")


def require_driver(url: str, key: str) -> None:
    """Refuse a PostgreSQL URL where its driver is not installed; the message shows nothing of the URL but its kind.

    Raises:
        ConfigError: it is not; names the extra.
    """
    if is_postgres(url) and find_spec(DRIVER) is None:
        kind = url.partition("://")[0]
        raise ConfigError(f"PostgreSQL needs {DRIVER}", key=key, value=f"{kind}://...", hint=install_hint("postgres"))
