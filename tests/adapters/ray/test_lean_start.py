"""What a private Ray does without, and that Ray is as it was afterwards."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ray._private import services, utils

from rnnsweep.adapters.ray import lean_start
from rnnsweep.adapters.ray.lean_start import PRESTART, lean


class Cluster:
    """Stands for Ray's view of a cluster whose node is registered at the third look."""

    looks = 0

    def _initialize_global_state(self, options: Any) -> None:
        del options

    def node_table(self) -> list[dict[str, str]]:
        Cluster.looks += 1
        return [{"NodeID": "ours"}] if Cluster.looks >= 3 else [{"NodeID": "another"}]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What Ray's own `get_node` is asked; a node needs three looks."""
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(services, "get_node", lambda address, node: calls.append((address, node)) or "node")
    monkeypatch.setattr(services, "_get_gcs_client_options", lambda address: address)
    monkeypatch.setattr(lean_start, "GlobalState", Cluster)
    monkeypatch.setattr(lean_start, "LOOK_S", 0.0)
    monkeypatch.setattr(Cluster, "looks", 0)
    return calls


def test_the_node_is_asked_for_once_it_is_there(asked) -> None:
    with lean():
        assert services.get_node("head", "ours") == "node"
    assert Cluster.looks == 3
    assert asked == [("head", "ours")]


def test_ray_looks_by_itself_where_we_cannot(asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Cluster, options: Any) -> None:
        raise RuntimeError("another version")

    monkeypatch.setattr(Cluster, "_initialize_global_state", refuse)
    with lean():
        assert services.get_node("head", "ours") == "node"
    assert asked == [("head", "ours")]


def test_ray_looks_by_itself_where_the_node_does_not_come(asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean_start, "PATIENCE_S", 0.0)
    with lean():
        assert services.get_node("head", "ours") == "node"
    assert Cluster.looks == 0


def test_everything_is_as_before_also_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PRESTART, raising=False)
    before = {(owner, name): getattr(owner, name) for owner, name in lean_start._INSTEAD}
    with lean():
        assert os.environ[PRESTART] == "0"
        assert utils.get_dashboard_dependency_error() is not None
        assert services.start_api_server() == (None, None)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ZeroDivisionError), lean():
        print(1 / 0)
    assert {(owner, name): getattr(owner, name) for owner, name in lean_start._INSTEAD} == before
    assert PRESTART not in os.environ


def test_what_the_user_says_of_workers_in_advance_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRESTART, "1")
    with lean():
        assert os.environ[PRESTART] == "1"
    assert os.environ[PRESTART] == "1"


def test_a_function_that_this_ray_does_not_have_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(services, "start_api_server")
    with lean():
        assert not hasattr(services, "start_api_server")
