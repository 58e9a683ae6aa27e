"""Short paths of ours lead to MLflow's own addresses; all others are MLflow's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rnnsweep.adapters.mlflow.gated_ui import COMPARISON, TRIALS, short_path, with_short_paths
from rnnsweep.adapters.mlflow.server import experiment_link


def asked(path: str, kind: str = "http") -> list[dict[str, Any]]:
    """What is sent for a request; `{"app": True}` where the application was asked."""
    sent: list[Any] = []

    async def app(scope, receive, send):
        await send({"app": True})

    async def send(message):
        sent.append(message)

    async def receive():
        return {}

    asyncio.run(with_short_paths(app)({"type": kind, "path": path}, receive, send))
    return sent


@pytest.mark.parametrize(("kind", "charts"), [(TRIALS, False), (COMPARISON, True)])
def test_a_short_path_leads_to_the_experiment(kind, charts):
    head, _ = asked(short_path(kind, "12"))
    assert head["status"] == 303
    assert dict(head["headers"])[b"location"].decode() == experiment_link("", "12", charts=charts)


@pytest.mark.parametrize(
    "path", ["/", "/trials", "/trials/x", "/trials//evil.org", "/trials/1/2", "/ajax-api/2.0/mlflow/runs"]
)
def test_everything_else_is_mlflows(path):
    assert asked(path) == [{"app": True}]
    assert asked("/trials/1", "websocket") == [{"app": True}]
