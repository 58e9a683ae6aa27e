"""The URLs of a sweep's stores: what is kept of them, and where a resume finds what was not kept.

    as configured ─► kept (a `${oc.env:NAME}`, or stars for the password) ─► ledger, copies, workers
                                                                   found ◄─┘

A sweep's config holds the kept form everywhere but in its `StoreConfig`, so that nothing that is made of the config can
hold a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.adapters.ledger.passwords import borrowed, from_libpq, same_place
from rnnsweep.adapters.ledger.secrets import REFERENCE, STARS, has_secret, with_password, without_secrets
from rnnsweep.errors import ConfigError

KEYS = ("ledger", "optuna", "mlflow", "artifacts", "checkpoints")
"""Keys of ``store`` that may be URLs."""
VARIABLE = "RNNSWEEP_"
"""What the name of the variable begins with that holds a whole URL: RNNSWEEP_OPTUNA for ``store.optuna``."""

Ask = Callable[[str], str]
"""Asks a person for a password, which it returns; the text says which."""


def kept(block: Mapping[str, Any], written: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The ``store`` block without secrets.

    Args:
        block: as it is meant, interpolations resolved.
        written: the same as it was written; a URL that refers to the environment stays as it was written.

    Example:
        >>> kept({"optuna": "postgresql://me:secret@host/db"}, {"optuna": "${oc.env:OPTUNA}"})
        {'optuna': '${oc.env:OPTUNA}'}
        >>> kept({"optuna": "postgresql://me:secret@host/db"})
        {'optuna': 'postgresql://me:***@host/db'}
    """
    return {**block, **{key: _kept(block[key], (written or {}).get(key)) for key in KEYS if key in block}}


def _kept(value: Any, written: Any) -> Any:
    if not isinstance(value, str) or not has_secret(value):
        return value
    if isinstance(written, str) and REFERENCE.search(written):
        # whatever else it may interpolate cannot be read again without the config around it
        alone = "${" not in REFERENCE.sub("", written)
        return written if alone and not has_secret(written) else without_secrets(value)
    return without_secrets(value)


def without_typed_secrets(overrides: Sequence[str]) -> tuple[str, ...]:
    """Overrides as they are kept: without the passwords of their URLs."""
    return tuple(map(without_secrets, overrides))


def refuse_secrets(resolved: Mapping[str, Any]) -> None:
    """Refuse passwords in URLs anywhere but in ``store``: they would be in the ledger and in every copy of the config.

    Raises:
        ConfigError: the first one.
    """
    for key, value in _texts(resolved, ""):
        if has_secret(value):
            allowed = "a URL without a password; credentials come from the environment"
            raise ConfigError("is no place for a password", key=key, value=without_secrets(value), allowed=allowed)


def refuse_unclear(url: str, key: str) -> None:
    """Refuse a URL of which nobody can tell where its password ends.

    Raises:
        ConfigError: it is one.
    """
    if _unclear(without_secrets(url)) and not _unclear(url):
        allowed = "an @ in a password is written %40, a ? as %3F"
        raise ConfigError("where the host begins is not clear", key=key, value=without_secrets(url), allowed=allowed)


def _texts(node: Any, key: str) -> Iterator[tuple[str, str]]:
    children = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield from _texts(child, f"{key}.{name}" if key else str(name))
    if isinstance(node, str) and "://" in node:
        yield key, node


def readable(block: Mapping[str, Any]) -> dict[str, Any]:
    """The block for commands that only look: what is not found stays as it is kept."""
    urls = dict(block)
    for key in KEYS:
        try:
            urls |= {key: UrlFinder().url(block[key], key)} if key in block else {}
        except ConfigError:
            continue
    return urls


@dataclass(frozen=True)
class UrlFinder:
    """Finds the URLs of a kept ``store`` block again, for a sweep that goes on.

    In this order: the variable that was written, the URL by which the ledger was reached, RNNSWEEP_LEDGER,
    RNNSWEEP_OPTUNA, ..., the password that the ledger's URL has for the same user of the same server, PGPASSWORD and
    libpq's password file, MLFLOW_TRACKING_PASSWORD, and whoever can be asked.

    Attributes:
        ledger: URL of the ledger as the user gave it; empty where it is a file.
        ask: who is asked where nothing else helps; None: nobody.
        known: whole URLs, by key, that were given just now; those of other places are passed over.
    """

    ledger: str = ""
    ask: Ask | None = None
    known: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"], repr=False)

    def __call__(self, block: Mapping[str, Any]) -> dict[str, Any]:
        """The block with all of its URLs.

        Raises:
            ConfigError: one is not found; says what to set.
        """
        return {**block, **{key: self.url(block[key], key) for key in KEYS if key in block}}

    def url(self, stored: Any, key: str) -> Any:
        """One URL.

        Raises:
            ConfigError: it is not found, or the variable for it names another place.
        """
        if not isinstance(stored, str):
            return stored
        text = REFERENCE.sub(lambda match: _variable(match[1], stored, key), stored)
        if not _starred(text):
            return text
        found = self._given(text, key)
        if found is None and not _unclear(text):
            found = self._derived(text, key)
        if found is None and not _unclear(text) and self.ask is not None:
            answer = self.ask(f"Password for store.{key}, {text}: ")
            found = with_password(text, answer) if answer else None
        if found is None:
            raise ConfigError("its password is not kept", key=f"store.{key}", value=text, hint=_hint(text, key))
        return found

    def _given(self, text: str, key: str) -> str | None:
        """A whole URL that somebody has given.

        Raises:
            ConfigError: it is another place's.
        """
        if key == "ledger" and self.ledger:
            return self.ledger
        just_now = self.known.get(key)
        if just_now is not None and same_place(just_now, text):
            return just_now
        url = os.environ.get(VARIABLE + key.upper())
        if url is not None and not _unclear(text) and not same_place(url, text):
            problem = f"{VARIABLE}{key.upper()} names another place than the sweep"
            raise ConfigError(problem, key=f"store.{key}", value=without_secrets(url), allowed=text)
        return url

    def _derived(self, text: str, key: str) -> str | None:
        """The URL with a password that is known otherwise."""
        password = os.environ.get("MLFLOW_TRACKING_PASSWORD")
        if key == "mlflow" and password and text.startswith(("http://", "https://")):
            return with_password(text, password)
        return borrowed(text, self.ledger) or from_libpq(text)


def _starred(text: str) -> bool:
    """Whether a URL lacks its password."""
    return "://" in text and re.search(rf"[:=/]{re.escape(STARS)}(@|&|$)", text) is not None


def _unclear(text: str) -> bool:
    """Whether a URL is hidden as a whole, since no parser could tell where its password ends."""
    return text.endswith(f"://{STARS}")


def _variable(name: str, stored: str, key: str) -> str:
    if name not in os.environ:
        hint = f"Set {name} as it was when the sweep was launched."
        raise ConfigError(f"the variable {name} is not set", key=f"store.{key}", value=stored, hint=hint)
    return os.environ[name]


def _hint(text: str, key: str) -> str:
    ways = [f"{VARIABLE}{key.upper()} to the whole URL"]
    if text.startswith("postgres") and not _unclear(text):
        ways.append("PGPASSWORD or ~/.pgpass to the password")
    return f"Set {' or '.join(ways)}."
