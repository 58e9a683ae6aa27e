"""Sending one message over HTTP: what counts as delivered, as away, and as refused.

The address is a secret: what goes wrong is told with the host alone.
"""

from __future__ import annotations

import json
import math
import urllib.parse
from collections.abc import Mapping
from typing import Any
from urllib.error import URLError
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from rnnsweep.adapters.webhooks.messages import in_words
from rnnsweep.errors import StoreError

TIMEOUT_S = 10.0
"""Seconds that a receiver may be silent."""
_AGAIN = (408, 425, 429)
"""Answers that mean later, beside all of 5xx."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class RefusedError(Exception):
    """The receiver will never take this message; carries its answer."""


def body(form: str, payload: Mapping[str, Any]) -> bytes:
    """A message as its receiver expects it: ``generic`` is the payload, ``slack`` one text."""
    if form == "slack":
        text = in_words(payload)
        for sign, escape in {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.items():
            text = text.replace(sign, escape)
        payload = {"text": text}
    return json.dumps(_plain(payload), ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """What JSON has words for: infinities are strings."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def post(name: str, url: str, content: bytes, identity: str, timeout: float = TIMEOUT_S) -> None:
    """Send a message.

    Args:
        name: whose errors these are.
        url: http or https, checked.
        content: JSON.
        identity: the message's id; the same for every try.
        timeout: seconds.

    Raises:
        StoreError: not delivered, but later it may be.
        RefusedError: the receiver will not have it; redirections count, since the address would be told to another.
    """
    host = urllib.parse.urlsplit(url).hostname or ""
    headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": identity, "User-Agent": "rnnsweep"}
    try:
        with _opener(host).open(Request(url, content, headers, method="POST"), timeout=timeout) as answer:
            status = int(answer.status)
    except Exception as error:  # noqa: BLE001 - http.client's own errors would repeat the address
        raise StoreError(name, f"{host}: {_why(error)}") from None
    if 200 <= status < 300:
        return
    if status >= 500 or status in _AGAIN:
        raise StoreError(name, f"{host} answers {status}")
    raise RefusedError(f"{host} answers {status}")


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return "no answer in time" if isinstance(reason, TimeoutError) else type(reason).__name__


def _opener(host: str) -> OpenerDirector:
    """HTTP and HTTPS alone: no other scheme, no redirection, no error for an answer."""
    opener = OpenerDirector()
    for handler in (HTTPHandler(), HTTPSHandler(), *([] if host in _LOOPBACK else [ProxyHandler()])):
        opener.add_handler(handler)
    return opener
