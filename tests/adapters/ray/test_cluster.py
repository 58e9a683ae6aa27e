"""Settings: what is refused and what a node has room for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import yaml
from ray._private import ray_constants as constants

from rnnsweep.adapters.hydra.search import packaged_configs
from rnnsweep.adapters.ray import cluster as ray_cluster
from rnnsweep.adapters.ray.cluster import (
    Node,
    RaySettings,
    _own_folder,
    _start_here,
    check_token_file,
    connect,
)
from rnnsweep.errors import ConfigError

CONF = packaged_configs()[0] / "cluster"


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("workers", 0),
        ("workers", True),
        ("workers", 1.5),
        ("cores_per_worker", 0),
        ("gpus_per_worker", -1),
        ("gpus_per_worker", 0.5),
        ("gpus_per_worker", "all"),
        ("deadline_s", 0),
        ("deadline_s", float("nan")),
        ("deadline_s", "soon"),
        ("address", "ray://head:10001"),
        ("address", "http://head:8265"),
    ],
)
def test_a_wrong_setting_names_its_key_and_what_is_allowed(key: str, wrong: object) -> None:
    with pytest.raises(ConfigError) as caught:
        RaySettings(**{key: wrong})  # pyright: ignore[reportArgumentType]
    assert caught.value.key == f"cluster.{key}"
    assert caught.value.allowed


def test_more_cores_than_the_machine_has_are_refused_before_ray_starts() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.cores_per_worker=100000: more cores than this machine has"):
        _start_here(RaySettings(cores_per_worker=100_000))


@pytest.mark.parametrize(
    ("cpus", "gpus", "settings", "shape"),
    [
        (8, 0, {}, (8, 1, 0)),
        (8, 0, {"cores_per_worker": 3}, (2, 3, 0)),
        (16, 4, {}, (4, 1, 1)),
        (2, 4, {}, (2, 1, 1)),  # every worker needs a core
        (16, 4, {"gpus_per_worker": 2, "cores_per_worker": 4}, (2, 4, 2)),
        (16, 4, {"gpus_per_worker": 0}, (16, 1, 0)),
        (16, 0, {"gpus_per_worker": 1}, (0, 1, 1)),  # a head without a GPU trains nothing
        (0, 0, {}, (0, 1, 0)),
    ],
)
def test_room_on_a_node(cpus: int, gpus: int, settings: dict, shape: tuple[int, int, int]) -> None:
    assert Node("id", "label", cpus, gpus).shape(RaySettings(**settings)) == shape


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_packaged_cluster_config_builds_settings(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 20
    assert all("#" in line for line in text.splitlines())
    values = yaml.safe_load(text)
    assert values.pop("executor") == ("inline" if path.stem == "inline" else "ray")
    assert values.pop("rows") is None
    assert RaySettings(**values).address == ("auto" if path.stem == "ray" else None)


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o400, False), (0o640, True), (0o644, True)])
def test_a_token_that_others_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, refused: bool
) -> None:
    file = tmp_path / "token"
    file.write_text("0" * 64)
    file.chmod(mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    if refused:
        with pytest.raises(ConfigError, match=r"other users can read this token.*chmod 600"):
            check_token_file()
    else:
        check_token_file()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    check_token_file()


def test_an_address_where_nobody_listens_is_refused_before_ray_tries_for_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreached(**options: object) -> None:
        raise AssertionError("Ray would try to get through for 12 minutes")

    monkeypatch.setattr(ray_cluster.ray, "init", unreached)
    with socket.socket() as taken:  # bound, and not listening: nobody else can have the port meanwhile
        taken.bind(("", 0))  # Ray takes the machine's own address for a loopback one
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"cluster\.address=.*no Ray cluster answers here .*refused"):
            connect(RaySettings(address=address))
        monkeypatch.setenv("RAY_ADDRESS", address)  # what "auto" finds is gone
        with pytest.raises(ConfigError, match="no Ray cluster answers here"):
            connect(RaySettings(address="auto"))


def test_a_head_that_says_nothing_is_tried_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    monkeypatch.setattr(ray_cluster.ray, "init", lambda **more: tries.append(constants.NUM_REDIS_GET_RETRIES))
    before = constants.NUM_REDIS_GET_RETRIES
    with socket.create_server(("", 0)) as silent:
        connect(RaySettings(address=f"127.0.0.1:{silent.getsockname()[1]}"))
    assert tries == [3] and constants.NUM_REDIS_GET_RETRIES == before > 3


def test_a_ray_of_our_own_lies_where_nobody_else_enters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "get_default_system_temp_dir", lambda: str(tmp_path))
    monkeypatch.setattr(ray_cluster, "_LONGEST_PARENT", 200)
    usual = tmp_path / f"ray-{os.geteuid()}"
    before = os.umask(0)
    try:
        assert [_own_folder(), _own_folder()] == [usual, usual]
        assert usual.stat().st_mode & 0o777 == 0o700
        usual.chmod(0o701)  # what somebody else may enter is passed over
        other = _own_folder()
        assert other.parent == tmp_path and other != usual and other.stat().st_mode & 0o777 == 0o700
        usual.rmdir()
        usual.symlink_to(other)  # and so is what somebody may turn elsewhere
        assert _own_folder() not in (usual, other)
    finally:
        os.umask(before)


def test_sockets_have_short_paths_however_long_the_folder_for_temporary_files_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_cluster, "get_default_system_temp_dir", lambda: "/tmp/" + "x" * 40)
    longest = _own_folder() / "r" / "session_2026-01-01_00-00-00_000000_4194304" / "sockets" / "plasma_store"
    assert len(str(longest)) <= 107


def test_a_start_that_times_out_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict] = []

    def slow(**options: object) -> None:
        calls.append(options)
        if len(calls) < 3:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray_cluster.ray, "init", slow)
    monkeypatch.setattr(ray_cluster.ray, "shutdown", lambda: None)
    ray_cluster._init_patiently({"address": "local"})
    assert len(calls) == 3
    calls.clear()
    monkeypatch.setattr(ray_cluster, "_STARTS", 2)
    with pytest.raises(Exception, match="timed out during startup"):
        ray_cluster._init_patiently({})
