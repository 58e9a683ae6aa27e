"""What starts while a config is still being checked, on a double of Ray."""

from __future__ import annotations

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.live_display import Watcher
from rnnsweep.app.provenance.sessions import UNCHECKED
from rnnsweep.app.run import launch, wiring
from rnnsweep.app.run.ahead import Ahead
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.session import Outcome
from rnnsweep.sweep.states import SweepState


class Started:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.lingers = False

    def connect(self) -> None:
        self.calls.append("connect")

    def begin(self) -> None:
        self.calls.append("begin")

    def supply(self, factory: object) -> None:
        self.calls.append("supply")

    def stop(self, graceful: bool) -> None:
        assert not graceful
        self.calls.append("stop")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Started]:
    """Executors in the order in which they are made."""
    all_made: list[Started] = []
    monkeypatch.setattr(wiring, "ray_executor", lambda place: all_made.append(Started()) or all_made[-1])
    return all_made


def config(tmp_path, *overrides):
    return load("quickstart", list(overrides), store=tmp_path, check_units=False)


def test_what_was_started_is_handed_over_once(made, tmp_path):
    with Ahead() as ahead:
        ahead.begin(config(tmp_path))
        ahead.begin(config(tmp_path))
        assert ahead.executor(config(tmp_path), UNCHECKED) is made[0]
        assert ahead.executor(config(tmp_path), UNCHECKED) is not made[0]
    assert made[0].calls == ["connect", "begin", "supply"]  # who has it ends it
    assert made[0].lingers


def test_results_are_shown_before_ray_ends():
    started, watcher = Started(), Watcher("s")
    watcher.on_result = lambda outcome: started.calls.append(outcome.reason)
    launch._first_shown(watcher, started)(  # pyright: ignore[reportArgumentType] - a double
        Outcome(SweepState.COMPLETE, 0, "shown")
    )
    assert started.calls == ["shown", "stop"]


def test_what_nobody_took_is_ended(made, tmp_path):
    with Ahead() as ahead:
        ahead.begin(config(tmp_path))
    assert made[0].calls == ["connect", "begin", "stop"]


@pytest.mark.parametrize("cluster", ["cluster=inline", "cluster.address=auto"])
def test_only_a_ray_of_its_own_starts_ahead(made, tmp_path, cluster):
    with Ahead() as ahead:
        ahead.begin(config(tmp_path, cluster))
    assert made == []


@pytest.mark.parametrize("override", ["cluster.workers=1", "engine=cpu"])
def test_workers_of_another_kind_are_started_anew(made, tmp_path, override):
    with Ahead() as ahead:
        ahead.begin(config(tmp_path))
        assert ahead.executor(config(tmp_path, override), UNCHECKED) is not made[0]
    assert made[0].calls == ["connect", "begin", "stop"]


def test_a_config_that_its_units_refuse_ends_what_was_started(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="out of range"), Ahead() as ahead:
        launch.prepare("quickstart", ["controllers.clip.threshold=-1"], store=tmp_path, ahead=ahead)
    assert made[0].calls == ["connect", "begin", "stop"]


@pytest.mark.parametrize("wrong", ["nonsense=1", "cluster.cores_per_worker=0"])
def test_nothing_starts_for_what_is_refused_at_once(made, tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError), Ahead() as ahead:
        launch.prepare("quickstart", [wrong], store=tmp_path, ahead=ahead)
    assert made == []


def test_nothing_starts_for_a_name_that_is_taken(made, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="has a sweep of this name"), Ahead() as ahead:
        launch.prepare("quickstart", [], store=store, ahead=ahead)
    assert made == []
