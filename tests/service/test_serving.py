"""What `rnnsweep serve` puts together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.service.front import Front
from rnnsweep.service.service import Rules, Service, ServiceRunningError
from rnnsweep.service.serving import PoolOptions, serve
from rnnsweep.sweep.fair_slots import Limits


@pytest.mark.parametrize(
    ("options", "overrides"),
    [
        (PoolOptions("inline", cores=2), ["cluster=inline", "cluster.cores_per_worker=2"]),
        (PoolOptions(workers=2), ["cluster=local", "cluster.workers=2"]),
        (PoolOptions(address="host:6379"), ["cluster=ray", "cluster.address=host:6379"]),
    ],
)
def test_options_are_overrides_of_a_cluster(options: PoolOptions, overrides: list[str]) -> None:
    assert options.overrides() == overrides


def test_doors_are_open_while_the_service_runs_and_closed_after(tmp_path: Path) -> None:
    said: list[str] = []
    seen: list[object] = []

    @contextmanager
    def door(front: Front) -> Iterator[str]:
        seen.append(front)
        assert isinstance(front, Service)
        front.interrupt()  # it ends as soon as it has begun
        yield "open on nothing"
        seen.append("closed")

    inline = PoolOptions("inline", rows=4)
    serve(str(tmp_path / "store"), [], inline, Rules(), Limits(), doors=[door], say=said.append)
    assert said[0] == "open on nothing"
    assert str(tmp_path / "store") in said[1]
    assert seen[1:] == ["closed"]


def test_wrong_options_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rows"):
        serve(str(tmp_path / "store"), [], PoolOptions("inline", rows=0), Rules(), Limits())
    assert not (tmp_path / "store").exists()


def test_a_second_service_lets_nobody_in(tmp_path: Path) -> None:
    opened: list[Front] = []

    @contextmanager
    def door(front: Front) -> Iterator[str]:
        opened.append(front)
        if len(opened) == 1:
            with pytest.raises(ServiceRunningError):
                serve(str(tmp_path / "store"), [], inline, Rules(), Limits(), doors=[door])
        assert isinstance(front, Service)
        front.interrupt()
        yield "open"

    inline = PoolOptions("inline", rows=4)
    serve(str(tmp_path / "store"), [], inline, Rules(), Limits(), doors=[door])
    assert len(opened) == 1
    serve(str(tmp_path / "store"), [], inline, Rules(), Limits(), doors=[door])  # the store was given back
