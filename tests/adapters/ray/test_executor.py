"""Workers on a cluster of several nodes: where they stand, what they see, how far they run ahead."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from counting_trainer import EVERY, broken_factory
from ray import cloudpickle

from rnnsweep.adapters.ray.executor import WorkerStartError
from rnnsweep.errors import ConfigError, MismatchError
from rnnsweep.sweep.ports import RungTrained, WorkerNews
from rnnsweep.sweep.rows import Orders, RowSpec


def endless(trial: int = 0, **params: object) -> RowSpec:
    return RowSpec(trial, 0, f"t{trial}", params, 10_000 * EVERY)


class Refuse:
    """Ships by value: this module is not importable in a worker."""

    def __call__(self, worker: str, cores: int) -> Any:
        raise ConfigError("no such task", key="task", value="tempral")


class Differs:
    """The workers of some nodes (all where None) have other code than the driver."""

    def __init__(self, node: str | None = None) -> None:
        self.node = node

    def __call__(self, worker: str, cores: int) -> Any:
        import ray
        from counting_trainer import CountingTrainer

        from rnnsweep.errors import MismatchError

        if self.node in (None, ray.get_runtime_context().get_node_id()):
            raise MismatchError(worker, ["lab/mine.py 0123abcd -> 4567cdef"])
        return CountingTrainer(worker, cores)


class Late:
    """The second worker takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, worker: str, cores: int) -> Any:
        from counting_trainer import CountingTrainer

        if worker.endswith("-2"):
            time.sleep(self.seconds)
        return CountingTrainer(worker, cores)


class FirstDies:
    """The first worker dies as soon as it stands; the second stands once the first's successor does.

    So the two are never ready together, however long a busy machine takes over any of it.
    """

    def __init__(self, folder: Path) -> None:
        self.third = folder / "third"

    def __call__(self, worker: str, cores: int) -> Any:
        import threading

        from counting_trainer import CountingTrainer

        if worker.endswith("-1"):
            threading.Timer(0.5, os._exit, [1]).start()
        if worker.endswith("-3"):
            self.third.touch()
        while worker.endswith("-2") and not self.third.exists():
            time.sleep(0.05)
        return CountingTrainer(worker, cores)


def test_a_node_with_other_code_gets_no_workers_and_the_others_train(cluster: Any, started: Any, watch: Any) -> None:
    executor = started(Differs(cluster.first[0].node_id))
    infos = watch.workers(executor, 2)
    assert len({info.node for info in infos}) == 1
    assert not infos[0].node.endswith(cluster.first[0].node_id[:8])
    assert executor.poll(1.0) == []


def test_a_cluster_with_other_code_is_refused_with_the_reason(started: Any, watch: Any) -> None:
    with pytest.raises(MismatchError, match=r"differs from its driver: lab/mine\.py 0123abcd -> 4567cdef"):
        watch.until(started(Differs()), bool)


def test_the_first_workers_join_together(started: Any, watch: Any) -> None:
    """Else the quickest would be given all rows of a small sweep, and the others nothing."""
    assert len(watch.joined(watch.until(started(Late(1.5), workers=2), bool))) == 2


def test_a_worker_that_dies_before_it_is_announced_is_never_heard_of(started: Any, watch: Any, tmp_path: Path) -> None:
    executor = started(FirstDies(tmp_path), workers=2)
    events = watch.until(executor, lambda found: len(watch.joined(found)) == 2)
    assert sorted(info.worker[-2:] for info in watch.joined(events)) == ["-2", "-3"]
    assert watch.lost(events) == []


def test_workers_spread_over_the_nodes_and_see_one_thread_and_no_gpu(started: Any, watch: Any) -> None:
    infos = watch.workers(started(workers=3), 3)
    assert len({info.worker for info in infos}) == 3
    assert sorted(sum(i.node == node for i in infos) for node in {i.node for i in infos}) == [1, 2]
    for info in infos:
        assert info.versions["OMP_NUM_THREADS"] == "1"
        assert info.versions["NUMBA_NUM_THREADS"] == "1"
        assert info.versions["CUDA_VISIBLE_DEVICES"] == ""
        assert info.versions["torch"] == "False"  # this package imports nothing heavy on its own


def test_cores_per_worker_groups_cores(started: Any, watch: Any) -> None:
    infos = watch.workers(started(cores_per_worker=2), 2)
    assert {info.versions["NUMBA_NUM_THREADS"] for info in infos} == {"2"}
    assert len({info.node for info in infos}) == 2


def test_a_gpu_node_gets_one_worker_per_gpu_and_each_sees_its_own(cluster: Any, started: Any, watch: Any) -> None:
    node = cluster.add_node(num_cpus=4, num_gpus=2)
    try:
        executor = started(gpus_per_worker=1)
        infos = watch.workers(executor, 2)
        assert sorted(info.versions["CUDA_VISIBLE_DEVICES"] for info in infos) == ["0", "1"]
        executor.stop(graceful=False)
    finally:
        cluster.remove_node(node)


def test_two_rungs_are_handed_over_and_the_third_waits_for_the_driver(started: Any, watch: Any, tmp_path: Path) -> None:
    executor = started(workers=1)
    (info,) = watch.workers(executor, 1)
    trace = tmp_path / "trace"
    executor.order(info.worker, Orders(join=(endless(),)))
    early = executor.poll(0.0)  # hands both over; on a busy machine the first may be through before it returns
    end = time.monotonic() + 20
    while trace.read_text().count("done") < 2 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    assert trace.read_text().count("done") == 2  # both run while the driver does nothing
    (first,) = early or watch.until(executor, bool)
    assert [r.rung for r in first.reports] == [1]
    executor.order(info.worker, Orders(join=(endless(1),)))
    time.sleep(0.3)
    assert trace.read_text().count("done") == 2  # the order waits for the next poll, rung 3 with it
    events = watch.until(executor, lambda found: any(r.trial == 1 for r in watch.reports(found)))
    meeting = next(e for e in events if isinstance(e, RungTrained) and len(e.reports) == 2)
    assert {(r.trial, r.rung) for r in meeting.reports} == {(0, 3), (1, 1)}


def test_a_graceful_stop_does_not_begin_a_queued_rung(started: Any, watch: Any, tmp_path: Path) -> None:
    executor = started(workers=1)
    (info,) = watch.workers(executor, 1)
    executor.order(info.worker, Orders(join=(endless(do="sleep", seconds=1.0),)))
    watch.until(executor, bool)  # rung 1 is over, 2 runs
    while (tmp_path / "trace").read_text().count(" advance ") < 2:
        time.sleep(0.05)
    executor.poll(0.0)  # 3 is queued
    executor.stop(graceful=True)
    assert [r.rung for r in watch.reports(executor.poll(0.0))] == [2]
    lines = [line.split() for line in (tmp_path / "trace").read_text().splitlines()]
    assert [words[2] for words in lines] == ["built", "advance", "done", "advance", "done", "closed"]
    assert len({words[3] for words in lines if words[2] in ("built", "done")}) == 1  # libraries see one thread only


def test_a_rung_that_is_over_has_compiled_whatever_comes_later(started: Any, watch: Any) -> None:
    """A worker's word that it has compiled and its rung's answer travel by two threads."""
    told: list[WorkerNews | str] = []
    executor = started(workers=1)
    executor.watch(told.append)
    (info,) = watch.workers(executor, 1)
    executor.order(info.worker, Orders(join=(RowSpec(0, 0, "t0", {"do": "compile late"}, EVERY),)))
    watch.until(executor, bool)
    told.append("trained")
    time.sleep(1.5)
    executor.poll(0.5)
    assert told == [WorkerNews(info.worker, True), WorkerNews(info.worker, False), "trained"]


def test_an_idle_worker_gets_no_rungs(started: Any, watch: Any, tmp_path: Path) -> None:
    executor = started(workers=1)
    watch.workers(executor, 1)
    assert executor.poll(1.5) == []
    assert "advance" not in (tmp_path / "trace").read_text()


def test_wrong_input_found_by_the_trainer_comes_out_as_it_is(started: Any, watch: Any) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.raises(ConfigError, match="task='tempral': no such task"):
        watch.until(started(Refuse(), workers=1), bool)


def test_trainers_that_can_never_be_built_end_the_waiting(started: Any, watch: Any) -> None:
    before = time.monotonic()
    with pytest.raises(WorkerStartError, match="RuntimeError: no trainer for 1 cores"):
        watch.until(started(broken_factory, workers=1), bool)
    assert time.monotonic() - before < 50


def test_user_modules_come_from_py_paths_not_from_the_working_directory(
    started: Any, watch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "their_units.py").write_text("from counting_trainer import CountingTrainer as Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path / "theirs"))
    import their_units  # pyright: ignore[reportMissingImports]

    paths = (str(tmp_path / "theirs"), str(Path(sys.modules["counting_trainer"].__file__ or "").parent))
    (info,) = watch.workers(started(their_units.Mine, workers=1, py_paths=paths), 1)
    assert info.versions["cwd"] != str(tmp_path)
    assert int(info.versions["pid"]) != os.getpid()
