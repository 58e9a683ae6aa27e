"""Requests to a service: its address, the token, and its errors raised again as they were raised there."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from rnnsweep.app.accounts import TOKEN_FILE
from rnnsweep.app.stores import place
from rnnsweep.errors import ConfigError, LockedError, RnnsweepError, StoreError, printable
from rnnsweep.version import __version__

SERVICE, TOKEN, FILE = "RNNSWEEP_SERVICE", "RNNSWEEP_TOKEN", "RNNSWEEP_TOKEN_FILE"
"""Environment variables: the service's URL; its token; or a file, of mode 0600, that holds the token."""
TIMEOUT_S = 120.0
"""Patience with one reply: a launch builds and checks all units of its config."""
_API = "/api/v1"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ALLOWED = "http://127.0.0.1:PORT or https://HOST[:PORT]"


class ServiceError(RnnsweepError):
    """The service refuses, or something went wrong there.

    Attributes:
        status: of HTTP. exit_code: of the command line.
    """

    def __init__(self, detail: str, status: int, exit_code: int = 1) -> None:
        self.detail, self.status, self.exit_code = detail, status, exit_code
        super().__init__(detail)


class Connection:
    """A service's API.

    Each request is a connection of its own, and none is led elsewhere: a redirect would carry the token along.

    Attributes:
        url: the service's, without a slash at its end.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        """Nothing is asked yet.

        Args:
            url: of the service.
            token: None takes it from the environment, see `find_token`.

        Raises:
            ConfigError: no URL of a service; a token file that others may read.
        """
        parts = _parsed(url)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        self._parts, self._prefix = parts, parts.path.rstrip("/")
        self._token = find_token(self.local) if token is None else token
        if "\n" in self._token or not self._token.isascii():
            raise ConfigError("is no token", key=TOKEN, allowed="one word, as it was printed")

    def __repr__(self) -> str:
        return f"Connection({self.url})"

    @property
    def local(self) -> bool:
        """Whether the service is on this machine."""
        return self._parts.hostname in _LOOPBACK

    @property
    def safe(self) -> bool:
        """Whether nobody on the way can read the token."""
        return self.local or self._parts.scheme == "https"

    def get(self, *path: object, **query: Any) -> Any:
        """What a route of the API answers; infinities are numbers again."""
        return numbers(json.loads(self.read(*path, **query)))

    def read(self, *path: object, **query: Any) -> bytes:
        """The bytes that a route of the API answers."""
        with self._reply("GET", path, query) as reply:
            return reply.read()

    def save(self, target: Path, *path: object) -> None:
        """Write what a route answers into a file, which is there only when it is whole."""
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with self._reply("GET", path, {}) as reply, draft.open("wb") as file:
                while chunk := reply.read(1 << 18):
                    file.write(chunk)
                if reply.length:  # read in pieces, a reply that breaks off looks like one that has ended
                    raise StoreError("service", f"{self.url}: broke off; {reply.length} bytes are missing")
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def post(self, *path: object, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for a change."""
        with self._reply("POST", path, {}, body or {}) as reply:
            return json.loads(reply.read())

    @contextmanager
    def _reply(
        self, method: str, path: Sequence[object], query: Mapping[str, Any], body: Mapping[str, Any] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        target = "/".join([self._prefix + _API, *(quote(str(part), safe="/") for part in path)])
        given = {name: value for name, value in query.items() if value not in (None, (), [])}
        if given:
            target += "?" + urlencode(given, doseq=True)
        headers = {"Accept": "application/json", "User-Agent": f"rnnsweep/{__version__}"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(words(body), allow_nan=False).encode(), "application/json"
        connection = self._open()
        try:
            connection.request(method, target, data, headers)
            reply = connection.getresponse()
            if not 200 <= reply.status < 300:
                raise _raised(reply.status, reply.read(1 << 20), self.url)
            yield reply
        except (OSError, http.client.HTTPException) as error:
            raise StoreError("service", f"{self.url}: {_reason(error)}") from None
        finally:
            connection.close()

    def _open(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        raise _no_url("is no URL of a service", url) from None
    if not fine:
        raise _no_url("is no URL of a service", url)
    if parts.username is not None or parts.query or parts.fragment:
        raise _no_url("holds more than an address", url, f"The token comes from {TOKEN} or {FILE}.")
    return parts


def _no_url(problem: str, url: str, hint: str | None = None) -> ConfigError:
    from rnnsweep.adapters.ledger.secrets import without_secrets  # imports SQLAlchemy

    return ConfigError(problem, key="--service", value=without_secrets(url), allowed=_ALLOWED, hint=hint)


def find_token(local: bool) -> str:
    """The token of the environment, of a file that it names, or that a service of this user's store has left.

    Args:
        local: the service is on this machine: only then the store's own file is looked at.

    Returns:
        It; empty where there is none.

    Raises:
        ConfigError: a file that is not there, or that others than its owner may read.
    """
    if os.environ.get(TOKEN):
        return os.environ[TOKEN].strip()
    if os.environ.get(FILE):
        return _token_in(Path(os.environ[FILE]).expanduser(), FILE)
    own = place().root / TOKEN_FILE if local else None
    return _token_in(own, "--store") if own is not None and own.is_file() else ""


def _token_in(path: Path, key: str) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise ConfigError(
            f"cannot be read: {reason}", key=key, value=str(path), allowed="a file with a token"
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        hint = f"'chmod 600 {path}' makes it yours alone."
        raise ConfigError("others may read this token", key=key, value=str(path), allowed="mode 0600", hint=hint)
    return text


def _raised(status: int, text: bytes, url: str) -> RnnsweepError:
    """The error that a problem was made of."""
    try:
        data = json.loads(text)
        detail = printable(str(data["detail"]))
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"{url}: replies {status}, which no service of rnnsweep does", status)
    match data.get("error"):
        case "ConfigError":
            names = ("key", "value", "allowed", "file", "hint")
            return ConfigError(str(data.get("problem")), **{name: data.get(name) for name in names})
        case "StoreError":
            return StoreError(str(data.get("store")), str(data.get("reason")))
        case "LockedError":
            return LockedError(str(data.get("sweep")), str(data.get("holder")))
    code = data.get("exit_code")
    return ServiceError(detail, status, code if isinstance(code, int) else 1)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no reply within {TIMEOUT_S:.0f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def numbers(data: Any) -> Any:
    """Plain data with numbers where JSON has had the words Infinity and -Infinity."""
    if isinstance(data, dict):
        return {key: numbers(value) for key, value in data.items()}
    if isinstance(data, list):
        return [numbers(value) for value in data]
    return float(data) if data in ("Infinity", "-Infinity") else data


def words(data: Any) -> Any:
    """Plain data for JSON, which has no numbers for infinities; the opposite of `numbers`."""
    from rnnsweep.app.results.tables import jsonable

    return jsonable(data)
