"""Which part of a text is a secret: SQLAlchemy's parser says so, for every URL that is shown, stored or sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

STARS = "***"
REFERENCE = re.compile(r"\$\{oc\.env:([A-Za-z_]\w*)\}")
"""A value that the environment holds, by name and without a default: no secret, but the place of one."""
_MASK = "\ue000"  # of Unicode's private use: in no URL
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*://")
_OPTION_NAMES = r"pass|pwd|secret|token|credential|signature|(?:api|access|account|private)_?key"
_SECRET_OPTION = re.compile(_OPTION_NAMES, re.IGNORECASE)


def without_secrets(text: str) -> str:
    """The text with stars for the password of each URL, and for options that are secrets; `REFERENCE`s stay.

    A password may hold any sign, so everything up to the last ``@`` is one where the parser finds any.

    Example:
        >>> without_secrets("postgresql://me:p/w@host/db"), without_secrets("http://host:5000/#/runs")
        ('postgresql://me:***@host/db', 'http://host:5000/#/runs')
        >>> without_secrets("postgresql://host/db?user=me&password=S&sslmode=require")
        'postgresql://host/db?user=me&password=***&sslmode=require'
    """
    if "://" not in text:
        return text
    references = REFERENCE.findall(text)
    # masked: their own colons and dots would mislead every parser of URLs
    masked = REFERENCE.sub(_MASK, text)
    begins = [match.start() for match in _SCHEME.finditer(masked)]
    if not begins:
        return text
    # one text may hold several URLs, an override with a list for instance: each is parsed by itself
    ends = [*begins[1:], len(masked)]
    parts = [_hidden(masked[begin:end]) for begin, end in zip(begins, ends, strict=True)]
    # one that a wholly hidden URL has swallowed is gone, and nobody can tell which
    shown = masked[: begins[0]] + "".join(parts)
    if shown.count(_MASK) != len(references):
        return shown.replace(_MASK, STARS)
    return re.sub(_MASK, lambda _: f"${{oc.env:{references.pop(0)}}}", shown)


def has_secret(text: str) -> bool:
    """Whether some URL in the text holds one."""
    return without_secrets(text) != text


def hidden(data: Any) -> Any:
    """A copy of plain nested data in which no URL holds a secret; tuples come back as lists.

    Example:
        >>> hidden({"ledger": "postgresql://me:secret@host/db", "seed": 1})
        {'ledger': 'postgresql://me:***@host/db', 'seed': 1}
    """
    if isinstance(data, Mapping):
        return {hidden(key): hidden(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [hidden(value) for value in data]
    return without_secrets(data) if isinstance(data, str) and "://" in data else data


def with_password(url: str, password: str) -> str:
    """The URL with a password where its stars stand.

    Example:
        >>> with_password("postgresql://me:***@host/db", "p/w@x y")
        'postgresql://me:p%2Fw%40x%20y@host/db'
    """
    return url.replace(STARS, quote(password, safe=""))


def secret_words(url: URL) -> list[str]:
    """The secrets of a parsed URL themselves, to be cut out of what a driver says."""
    options = [value for option, value in url.query.items() if _SECRET_OPTION.search(option)]
    return [word for word in (url.password, *options) if isinstance(word, str) and word]


def _hidden(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if re.search(r"\?\w+=.*@", rest):  # an @ in an option, or options in a password: no parser can tell
        return f"{scheme}://{STARS}"
    password, options = _parsed(url, rest)
    if password:
        user, _, tail = rest.partition(":")
        before_options = tail.find("?", tail.index("@"))  # one before the first @ belongs to the password
        last = tail.rfind("@", 0, before_options if before_options >= 0 else len(tail))
        rest = f"{user}:{_starred(tail[:last])}{tail[last:]}"
    for option in options:
        value = re.compile(rf"([?&]{re.escape(option)}=)([^&]*?)(?=&|['\"]?$)")
        rest = value.sub(lambda match: match[1] + _starred(match[2]), rest)
    return f"{scheme}://{rest}"


def _starred(secret: str) -> str:
    return secret if secret == _MASK else STARS


def _parsed(url: str, rest: str) -> tuple[bool, list[str]]:
    """Whether the URL has a password, and which of its options are secrets."""
    # Here, not above: configs are read where no database can be, by benchmarks on a machine lent for an hour.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # no URL of a database, or a port that is no number
        return re.match(r"[^:/@]*:[^@]*@", rest) is not None, re.findall(
            rf"[?&](\w*(?:{_OPTION_NAMES})\w*)=", rest, re.IGNORECASE
        )
    return parsed.password is not None, [option for option in parsed.query if _SECRET_OPTION.search(option)]
