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


def test_a_service_is_reached_by_the_token_that_is_shown_once(where: StorePlace) -> None:
    with serving(where) as service:
        name = service.submit(submission("mine"))
        with http_door(HttpOptions("127.0.0.1", 0))(service) as line:
            where_, _, shown = line.partition("\n")
            url, token = where_.rpartition(" ")[2], shown.rpartition(" ")[2]
            assert Path(where.root / "service.token").read_text().strip() == token
            assert fetched(f"{url}/api/v1/sweeps")[0] == 401
            assert fetched(f"{url}/metrics")[0] == 401
            status, text = fetched(f"{url}/api/v1/sweeps", token)
            assert status == 200 and name in json.dumps(json.loads(text))
            assert fetched(f"{url}/", token, "text/html")[1].lstrip().lower().startswith("<!doctype html>")
            status, text = fetched(f"{url}/metrics", token)
            assert status == 200 and "rnnsweep" in text
        with http_door(HttpOptions("127.0.0.1", 0))(service) as line:
            assert "token" not in line, "it is shown once"
        with pytest.raises(ConfigError, match="--host"), http_door(HttpOptions("0.0.0.0", 0, open=True))(service):
            pass
