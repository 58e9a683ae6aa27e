"""Settings: what is refused and what a node has room for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rnnsweep.adapters.hydra.search import packaged_configs
from rnnsweep.adapters.ray import cluster as ray_cluster
from rnnsweep.adapters.ray.cluster import Node, RaySettings, _start_here, check_token_file
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
