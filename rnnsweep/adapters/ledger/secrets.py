"""Which part of a text is a secret: SQLAlchemy's parser says so, for every URL that is shown, stored or sent."""

from __future__ import annotations

import re

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

STARS = "***"
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*://")
_SECRET_OPTION = re.compile(r"pass|pwd|secret|token|credential|api_?key", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """The text with stars for the password of each URL, and for options that are secrets.

    A password may hold any sign, so everything up to the last ``@`` is one where the parser finds any.

    Example:
        >>> without_secrets("postgresql://me:p/w@host/db"), without_secrets("http://host:5000/#/runs")
        ('postgresql://me:***@host/db', 'http://host:5000/#/runs')
        >>> without_secrets("postgresql://host/db?user=me&password=S&sslmode=require")
        'postgresql://host/db?user=me&password=***&sslmode=require'
    """
    begins = [match.start() for match in _SCHEME.finditer(text)]
    if not begins:
        return text
    # one text may hold several URLs, an override with a list for instance: each is parsed by itself
    ends = [*begins[1:], len(text)]
    return text[: begins[0]] + "".join(_hidden(text[begin:end]) for begin, end in zip(begins, ends, strict=True))


def has_secret(text: str) -> bool:
    """Whether some URL in the text holds one."""
    return without_secrets(text) != text


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
        rest = f"{user}:{STARS}{tail[last:]}"
    for option in options:
        rest = re.sub(rf"([?&]{re.escape(option)}=)[^&]*?(?=&|['\"]?$)", rf"\1{STARS}", rest)
    return f"{scheme}://{rest}"


def _parsed(url: str, rest: str) -> tuple[bool, list[str]]:
    """Whether the URL has a password, and which of its options are secrets."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # no URL of a database, or a port that is no number
        return re.match(r"[^:/@]*:[^@]*@", rest) is not None, re.findall(
            r"[?&](\w*(?:pass|pwd|secret|token)\w*)=", rest
        )
    return parsed.password is not None, [option for option in parsed.query if _SECRET_OPTION.search(option)]
