"""The API asked what its own description allows, and what it does not: no fault, and nothing written when refused."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from rnnsweep.service.http import API, build_app
from tests.service.conftest import GENEROUS, OF_ADA, Served, make_served

EXAMPLES = int(os.environ.get("RNNSWEEP_FUZZ", "15"))
"""Requests to each route, for each user and kind of input: the same ones each time, further ones are for studies."""
SETTLED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much),
)


def written(served: Served) -> dict[str, Any]:
    """All that a request might have changed: the ledger's tables but the audit, and the names of the store's files."""
    ledger = served.access.audit._database
    tables = ("sweeps", "trials", "attempts", "reports", "journal", "inbox", "accounts")
    counts = {
        name: ledger.read(lambda c, name=name: c.exec_driver_sql(_COUNT.format(name)).scalar()) for name in tables
    }
    root = served.front.place.root
    files = sorted(str(file.relative_to(root)) for file in root.rglob("*") if not file.name.startswith("ledger.db"))
    return {**counts, "files": files, "asked": list(served.front.asked), "queue": served.front.queue()}


_COUNT = "SELECT COUNT(*) FROM ledger_{}"


def ask(served: Served, case: Any, user: str) -> None:
    """One request, and what must hold of its reply whatever it was."""
    if "name" in case.path_parameters:  # half of them at sweeps that there are
        known = case.path_parameters["name"] if len(str(case.path_parameters["name"])) % 2 else OF_ADA
        case.path_parameters["name"] = known
    before = written(served)
    headers = {"Authorization": f"Bearer {served.tokens[user]}", "Host": "127.0.0.1"}
    reply = case.call(headers=headers)
    assert reply.status_code < 500, (case.method, case.path, case.body, reply.text)
    if reply.status_code >= 400:
        assert written(served) == before, (case.method, case.path, case.body)
        assert reply.headers["content-type"][0] == "application/problem+json"
        assert reply.json()["detail"]


@pytest.fixture
def fuzzed(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with ExitStack() as resources:
        served = make_served(filled, resources, replace(GENEROUS, stream_s=0.0))
        client = served.client("ada")
        client.get(f"{API}/sweeps/{OF_ADA}/report")  # drawn once, so that no file appears later
        yield served


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("user", ["ada", "eve"])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_no_fault_and_nothing_written_by_what_is_refused(fuzzed: Served, user: str, mode: GenerationMode):
    app = build_app(fuzzed.front, fuzzed.access)
    headers = {"Authorization": f"Bearer {fuzzed.tokens['root']}", "Host": "127.0.0.1"}
    schema = schemathesis.openapi.from_asgi(f"{API}/openapi.json", app, headers=headers)
    asked = sum(fuzz(fuzzed, result.ok(), user, mode) for result in schema.get_all_operations())
    assert asked > 10 * EXAMPLES  # a route without input has no wrong one


def fuzz(served: Served, operation: Any, user: str, mode: GenerationMode) -> int:
    """Ask one route; how often it was asked."""
    requests: list[Any] = []

    @SETTLED
    @given(case=operation.as_strategy(generation_mode=mode))
    def once(case: Any) -> None:
        requests.append(case)
        ask(served, case, user)

    with suppress(Unsatisfiable):
        once()
    return len(requests)
