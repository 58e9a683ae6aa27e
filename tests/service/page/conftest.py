"""One small sweep for all tests of the page that only look, and a client of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rnnsweep.service.front import QueuedSweep, QueueState
from tests.kit.live_page import NAME, TWO, NotingFront, WrittenSweep, page_app


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    sweep = WrittenSweep(tmp_path_factory.mktemp("page"), 40, overrides=[TWO], budget=60)
    yield sweep
    sweep.close()


@pytest.fixture
def front(written) -> NotingFront:
    return NotingFront(written.place, [QueuedSweep(NAME, QueueState.RUNNING, "ada")])


@pytest.fixture
def client(front) -> Callable[..., Any]:
    """A client with a role and a user."""

    def make(**who: Any) -> TestClient:
        return TestClient(page_app(front, **who), follow_redirects=False)

    return make
