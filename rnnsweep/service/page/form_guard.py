"""Forms that only our own pages can send: a word in each that no other page can know."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from rnnsweep.errors import ConfigError

FIELD = "form_token"
LONGEST = 64 * 1024
"""Bytes of a form that are read: a point of the largest space has a few thousand."""
FIELDS = 2_000


class FormGuard:
    """Makes and checks the word; it changes with the user and with each start of the service."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def word(self, user: str) -> str:
        """The word in the forms of a user's pages."""
        return hmac.digest(self._secret, user.encode(), "sha256").hex()

    def right(self, request: Request, form: Mapping[str, str], user: str) -> bool:
        """Whether a form comes from a page of ours that this user has been shown."""
        # the browser's own word on who asks; programs without it have no cookies that a page could misuse
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        return hmac.compare_digest(form.get(FIELD, "").encode(), self.word(user).encode())


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form; of a name that comes twice the last one.

    Raises:
        ConfigError: it is too long, or no form.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST:
            raise ConfigError("is too long", key="form", allowed=f"{LONGEST} bytes")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS))
    except ValueError:
        raise ConfigError("is no form", key="form", allowed="application/x-www-form-urlencoded in UTF-8") from None
