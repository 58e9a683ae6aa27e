"""The door of HTTP: page, API and metrics of a running service, behind one token."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from rnnsweep.app.stores import StorePlace
from rnnsweep.errors import ConfigError
from rnnsweep.service.doors import HttpOptions, http_door
from tests.service.conftest import serving, submission


def fetched(url: str, token: str = "", accept: str = "*/*") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers={**headers, "Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_service_is_reached_by_the_token_of_whoever_started_it(where: StorePlace) -> None:
    with serving(where) as service:
        name = service.submit(submission("mine"))
        with http_door(HttpOptions("127.0.0.1", 0))(service) as line:
            where_, _, shown = line.partition("\n")
            kept = Path(shown.rpartition(" ")[2])
            url, token = where_.rpartition(" ")[2], kept.read_text().strip()
            assert kept == where.root / "service.token" and kept.stat().st_mode & 0o77 == 0
            assert token not in line, "no terminal sees it here, and a log must not keep it"
            assert fetched(f"{url}/api/v1/sweeps")[0] == 401
            assert fetched(f"{url}/metrics")[0] == 401
            status, text = fetched(f"{url}/api/v1/sweeps", token)
            assert status == 200 and name in json.dumps(json.loads(text))
            assert fetched(f"{url}/", token, "text/html")[1].lstrip().lower().startswith("<!doctype html>")
            status, text = fetched(f"{url}/metrics", token)
            assert status == 200 and "rnnsweep" in text
        with http_door(HttpOptions("127.0.0.1", 0))(service) as line:
            assert "token" not in line, "it is told once"
        with pytest.raises(ConfigError, match="--host"), http_door(HttpOptions("0.0.0.0", 0, open=True))(service):
            pass
