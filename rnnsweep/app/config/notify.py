"""The ``notify`` list: who is told of what, at addresses that are never stored, as they may be all that protects them.

as written ─► kept (its ``${oc.env:NAME}``, or an address of this machine) ─► ledger, copies, workers
                                                            address() ◄─┘    where messages are sent
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from rnnsweep.adapters.ledger.secrets import REFERENCE
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.unit import Range, check_field

EVENTS = ("end", "failure", "divergence", "best")
FORMS = ("generic", "slack")
DEFAULTS: Mapping[str, Any] = {"events": ["end"], "form": "generic", "diverged_above": 0.5, "link": None}
KEYS = ("url", *DEFAULTS)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ALLOWED = "${oc.env:NAME}, or http:// on this machine (localhost)"


def check_notify(blocks: Any) -> None:
    """Check everything but the addresses.

    Raises:
        ConfigError: no list of mappings, an unknown key, a value that is not allowed.
    """
    if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
        raise ConfigError("is no list of mappings", key="notify", allowed="[{url: ..., events: [end]}, ...]")
    for index, block in enumerate(blocks):
        key = f"notify.{index}"
        for name in block:
            if name not in KEYS:
                # yaml reads a bare `on` as true, which is why the key has another name
                hint = "events" if name is True or name == "on" else nearest(str(name), KEYS)
                raise ConfigError("unknown key", key=f"{key}.{name}", allowed=KEYS, hint=hint)
        if not isinstance(block.get("url"), str) or not block["url"]:
            raise ConfigError("names no address", key=f"{key}.url", allowed=_ALLOWED)
        _check_events(block.get("events", DEFAULTS["events"]), f"{key}.events")
        check_field(f"{key}.form", block.get("form", "generic"), FORMS)
        check_field(f"{key}.diverged_above", block.get("diverged_above", 0.5), Range(0, 1))
        link = block.get("link")
        if link is not None and not isinstance(link, str):
            raise ConfigError("is no text", key=f"{key}.link", value=link, allowed="a URL; {sweep} becomes the name")


def _check_events(events: Any, key: str) -> None:
    if not isinstance(events, list) or not events:
        raise ConfigError("is no list of events", key=key, value=events, allowed=EVENTS)
    for event in events:
        if event not in EVENTS:
            hint = nearest(str(event), EVENTS)
            raise ConfigError("unknown event", key=key, value=event, allowed=EVENTS, hint=hint)


def kept_notify(blocks: Sequence[Mapping[str, Any]], written: Any) -> list[dict[str, Any]]:
    """The blocks with their defaults, and with addresses as they may be stored.

    Args:
        blocks: checked by `check_notify`, interpolations resolved.
        written: the same as they were written.

    Raises:
        ConfigError: an address that is no web address, or that stands in the config though it leaves this machine.
    """
    texts = [item.get("url") if isinstance(item, Mapping) else None for item in written or ()]
    if len(texts) != len(blocks):
        texts = [None] * len(blocks)
    return [
        {
            "url": _kept(block["url"], text, f"notify.{index}.url"),
            **DEFAULTS,
            **{k: v for k, v in block.items() if k != "url"},
        }
        for index, (block, text) in enumerate(zip(blocks, texts, strict=True))
    ]


def _kept(url: str, written: Any, key: str) -> str:
    host = check_address(url, key)
    if isinstance(written, str) and REFERENCE.search(written) and "${" not in REFERENCE.sub("", written):
        return written
    if host not in LOOPBACK:
        problem = "is stored with the sweep, and such an address is a secret"  # whoever has it may post
        raise ConfigError(problem, key=key, value=f"{host}/...", allowed=_ALLOWED)
    return url


def check_address(url: str, key: str) -> str:
    """The host of a web address.

    Raises:
        ConfigError: it is none; the message shows nothing but its scheme or host.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, user, _ = parts.hostname, parts.username or parts.password, parts.port
    except ValueError:
        raise ConfigError("is no web address", key=key, allowed="http://... or https://...") from None
    if parts.scheme not in ("http", "https") or not host or any(ord(sign) <= 32 for sign in url):
        shown = f"{parts.scheme}://..." if "://" in url else "..."
        raise ConfigError("is no web address", key=key, value=shown, allowed="http://... or https://...")
    if user:
        raise ConfigError("has a user in it", key=key, value=f"{host}/...", allowed="a token in its path or options")
    return host


def address(url: str, key: str) -> str:
    """The address that a kept one stands for.

    Raises:
        ConfigError: the environment has not what it refers to, or that is no web address.
    """
    for name in REFERENCE.findall(url):
        if name not in os.environ:
            hint = f"Set {name} as it was when the sweep was launched."
            raise ConfigError(f"the variable {name} is not set", key=key, value=url, hint=hint)
    found = REFERENCE.sub(lambda match: os.environ[match[1]], url)
    check_address(found, key)
    return found
