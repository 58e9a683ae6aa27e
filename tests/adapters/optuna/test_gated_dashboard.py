"""optuna-dashboard behind the gate, as a real server that ends with its starter."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request

import optuna
import pytest

from rnnsweep.adapters.dependent import DependentProcess
from rnnsweep.adapters.gate import VARIABLE
from tests.chaos.nodes import free_port

pytest.importorskip("optuna_dashboard")


def ask(url: str, token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


@pytest.mark.slow
def test_only_who_has_the_token_sees_the_studies(tmp_path, monkeypatch):
    url, port = f"sqlite:///{tmp_path / 'optuna.db'}", free_port()
    optuna.create_study(storage=url, study_name="mine")
    monkeypatch.setenv(VARIABLE, "T")
    server = DependentProcess(
        [sys.executable, "-m", "rnnsweep.adapters.optuna.gated_dashboard", url, "127.0.0.1", str(port)]
    )
    try:
        place, deadline = f"http://127.0.0.1:{port}/api/studies", time.monotonic() + 120
        while True:
            try:
                status, text = ask(place, "T")
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        assert (status, "mine" in text) == (200, True)
        assert ask(place) == ask(place, "no") == (401, "")
    finally:
        server.terminate()
        server.wait(timeout=30)
