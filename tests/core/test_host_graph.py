"""An update that is recorded on the CPU and repeated: the same bits as one that is called, or no graph at all."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnsweep.core import host_graph, remembered
from rnnsweep.core.pack import Pack
from rnnsweep.core.recurrence.cpu.engine.dispatch import RowThreads, Workspace
from rnnsweep.core.remembered import Remembered
from rnnsweep.core.replay import Repeated
from rnnsweep.core.tile import tiles, update
from rnnsweep.core.training import train_rung
from tests.contract.test_replay import asks_host, cases, config_with, pack_of
from tests.kit.networks import assert_same_row

CALLED = ("rtrl",)
"""Sensitivities of all weights are more than a graph may hold on to."""


def called(pack: Pack) -> Pack:
    """Its updates are called each time."""
    for _, tile in tiles(pack):
        tile.once_more = Repeated(lambda tile=tile: update(tile, tile.tally), None)
    return pack


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every repetition, whether it was done to its end."""
    found: list[bool] = []
    repeat = host_graph.HostGraph.repeat

    def told(graph: host_graph.HostGraph) -> bool:
        found.append(repeat(graph))
        return found[-1]

    monkeypatch.setattr(host_graph.HostGraph, "repeat", told)
    return found


@pytest.fixture
def made_twice(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was made a second time of the same numbers within one recorded update."""
    found: list[str] = []
    known: dict[host_graph.HostGraph, list[tuple[Remembered, tuple[object, ...]]]] = {}
    within = Remembered._within

    def seen(self: Remembered, graph: host_graph.HostGraph, arguments: tuple[object, ...]) -> object:
        before = len(graph.results)
        with host_graph.aside():
            copies = tuple(x.clone() if isinstance(x, torch.Tensor) else x for x in arguments)
        result = within(self, graph, arguments)
        if len(graph.results) > before:
            earlier = known.setdefault(graph, [])
            with host_graph.aside():
                if any(who is self and all(map(remembered._same, given, copies)) for who, given in earlier):
                    found.append(self._work.__qualname__)
            earlier.append((self, copies))
        return result

    monkeypatch.setattr(Remembered, "_within", seen)
    return found


@pytest.mark.parametrize(("group", "file"), cases())
def test_repeated_updates_are_the_same_bits(group: str, file: Path, ends: list[bool], made_twice: list[str]) -> None:
    config = {**config_with(group, file), "engine": "auto"}
    plain, repeated = called(pack_of(config, 30)), pack_of(config, 30)
    for _ in range(3):  # what was recorded in the first is repeated in the others, with other totals in the tally
        assert train_rung(repeated, 6, 1) == train_rung(plain, 6, 1)
    for row in range(2):
        assert_same_row(repeated.row(row), plain.row(row))
    if asks_host(plain) or file.stem in CALLED:
        assert not ends
    else:
        assert len(ends) >= 9
        assert all(ends)
    assert not made_twice


def test_sequences_of_several_lengths_are_the_same_bits(ends: list[bool]) -> None:
    """Whether all are as long as can be decides which way a loop goes: where that changes, an update is called."""
    config = config_with("family", Path("conf/family/momentum_srn.yaml"))  # of the reference engine: its filters ask
    config["task"] = {**config["task"], "length": [11, 13]}
    plain, repeated = called(pack_of(config, 60)), pack_of(config, 60)
    for _ in range(3):
        assert train_rung(repeated, 18, 1) == train_rung(plain, 18, 1)
    for row in range(2):
        assert_same_row(repeated.row(row), plain.row(row))
    assert set(ends) == {True, False}


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: float(x[0]),
        lambda x: x[0].item(),
        lambda x: np.asarray(x),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.rand(2),
        lambda x: x.normal_(),
        lambda x: x.data_ptr(),
        lambda x: repr(x),
    ],
    ids=["tolist", "numpy", "float", "item", "array", "bool", "flags", "nonzero", "rand", "normal", "address", "repr"],
)
def test_what_cannot_be_repeated_is_called(read: Callable[[torch.Tensor], object]) -> None:
    x, done = torch.ones(3), []

    def work() -> None:
        done.append(read(x))

    again = host_graph.record(work)
    again()
    assert again.graph.refused
    assert len(done) == 2


def test_operations_are_repeated_on_their_memory() -> None:
    x, total, index = torch.arange(4.0), torch.zeros(4), torch.tensor([3, 2, 1, 0])
    made: list[torch.Tensor] = []

    def work() -> None:
        y = torch.cat([x[:2], x[2:] * 2]).clone()
        z = torch.zeros_like(y)
        z += y[index]
        values, _ = torch.sort(z.view(2, 2), dim=1)
        made.append(values)
        total.add_(values.flatten())

    again = host_graph.record(work)
    assert not again.graph.refused
    x.mul_(-1)
    again()
    assert len(made) == 1  # no line of `work` ran again, and still
    torch.testing.assert_close(made[0], torch.tensor([[-6.0, -4.0], [-1.0, 0.0]]))
    torch.testing.assert_close(total, torch.tensor([-2.0, 2.0, -1.0, 1.0]))


def test_a_way_back_is_repeated_without_its_recording() -> None:
    x, found = torch.tensor([2.0]), torch.zeros(1)

    def work() -> None:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad((leaf**3).sum(), leaf)
        found.copy_(gradient)

    again = host_graph.record(work)
    x.fill_(3.0)
    again()
    assert not again.graph.refused
    assert found.item() == 27


def test_kernels_may_make_arrays() -> None:
    x, found = torch.tensor([1, 2]), torch.zeros(2, dtype=torch.int64)

    def work() -> None:
        doubled, squares = host_graph.launch_on_arrays(lambda a: (2 * a, a * a), x)
        found.copy_(doubled + squares)

    again = host_graph.record(work)
    x.add_(1)
    again()
    assert found.tolist() == [8, 15]


def test_a_number_that_comes_out_differently_gives_the_repetition_up() -> None:
    x, found = torch.ones(2), torch.zeros(2)

    def work() -> None:
        positive = host_graph.asked(lambda: bool((x > 0).all()))
        found.copy_(x * 2 if positive else x - 1)

    again = host_graph.record(work)
    for value, wanted in ((3.0, 6.0), (-1.0, -2.0), (4.0, 8.0)):
        x.fill_(value)
        again()
        assert found.tolist() == [wanted] * 2


def test_after_what_lasts_no_number_is_asked() -> None:
    x = torch.ones(2)

    def work() -> None:
        host_graph.lasts()
        assert host_graph.asked(lambda: 1) == 1
        x.add_(1)

    assert host_graph.record(work).graph.refused
    assert x.tolist() == [2, 2]


def test_a_graph_may_not_hold_on_to_much(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(64)
    monkeypatch.setattr(host_graph, "MOST_BYTES", 600)
    assert not host_graph.record(lambda: x.add_(x * 2)).graph.refused

    def work() -> None:
        x.copy_(x * 2 + 1)

    assert host_graph.record(work).graph.refused


def test_what_was_in_the_way_once_is_tried_again() -> None:
    x, reads = torch.ones(2), [True]

    def work() -> None:
        if reads:
            x.tolist()
        x.add_(1)

    again = host_graph.record(work)
    reads.clear()
    for done in range(2, 40):
        again()
        assert x.tolist() == [1.0 + done] * 2
    assert again.graph.refused is None


def test_graphs_share_a_workspace_and_wait_for_nobody_who_uses_it() -> None:
    workspace, x, found = Workspace(), torch.ones(3), [torch.zeros(3), torch.zeros(3)]
    calls: list[int] = []

    def work(which: int) -> None:
        calls.append(which)
        memory = workspace.take((3,), torch.float64)
        memory.copy_(x)
        memory.mul_(which + 2)
        found[which].copy_(memory)

    again = [host_graph.record(lambda which=which: work(which)) for which in range(2)]
    again[0]()
    again[1]()
    assert calls == [0, 1]
    held = workspace.take((3,), torch.float64)  # the one buffer that both were recorded with
    held.fill_(7)
    x.fill_(2)
    again[0]()  # recorded anew, with memory of its own
    again[0]()
    assert calls == [0, 1, 0]
    assert held.tolist() == [7, 7, 7]
    assert found[0].tolist() == [4, 4, 4]
    del held
    again[1]()
    assert calls == [0, 1, 0]
    assert found[1].tolist() == [6, 6, 6]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_of_rows_are_repeated(threads: int) -> None:
    rows, found = RowThreads(threads, Workspace()), torch.zeros(5)

    def kernel(zero, job, first, last, thread, scratch):
        found[first:last] += job

    def work() -> None:
        rows.run(kernel, 2, 5, torch.float64, 100)

    again = host_graph.record(work)
    again()
    assert not again.graph.refused
    assert found.tolist() == [4] * 5


def test_what_is_remembered_is_made_once_in_a_repetition() -> None:
    calls: list[int] = []

    def slow(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x * x

    squared, x, found = Remembered(slow), torch.tensor([2.0, 3.0]), torch.zeros(2)
    squared(x)

    def work() -> None:
        found.copy_(squared(x) + squared(x))

    again = host_graph.record(work)
    assert len(calls) == 2  # what was remembered from outside is not taken: it would never change
    x.fill_(5)
    again()
    assert found.tolist() == [50, 50]
    assert len(calls) == 2


def test_what_is_called_as_a_whole_keeps_its_own_results() -> None:
    """A repetition must not write into what a cache has: another update would take it for right."""
    squared = Remembered(lambda x: (x * x,))
    x, found = torch.tensor([2.0]), torch.zeros(1)

    def work() -> None:
        found.copy_(host_graph.called(squared, x)[0])

    again = host_graph.record(work)
    x.fill_(3)
    again()
    assert not again.graph.refused
    assert found.item() == 9
    assert squared(torch.tensor([2.0]))[0].item() == 4


@pytest.mark.parametrize("repeats", [True, False])
def test_eigenvalues_that_are_remembered_stay_right(repeats: bool) -> None:
    from rnnsweep.core.families import spectral

    spectral._leaders._last = ()
    pack = pack_of({**config_with("family", Path("conf/family/enrnn.yaml")), "engine": "auto"}, 30)
    train_rung(pack if repeats else called(pack), 8, 1)
    known = spectral._leaders._last
    spectral._leaders._last = ()
    assert known
    for (matrices,), result in known:
        for kept, fresh in zip(result, spectral._leaders(matrices), strict=True):
            assert torch.equal(kept, fresh)


@pytest.mark.parametrize("family", ["scornn", "momentum_scornn", "exprnn", "scurnn", "enrnn", "srn"])
def test_what_is_remembered_of_maps_is_in_no_graphs_way(
    family: str, ends: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory that is lent to a graph it would be busy for ever: hardly an update would be repeated."""
    recorded: list[int] = []
    record = host_graph._recorded
    monkeypatch.setattr(host_graph, "_recorded", lambda work: recorded.append(1) or record(work))
    config = {**config_with("family", Path(f"conf/family/{family}.yaml")), "engine": "auto"}
    packs = [pack_of(config, 60), pack_of(config, 60)]  # as tiles do, they share what makes maps
    for _ in range(4):  # a report at the end of each rung asks for weights beside the updates
        for pack in packs:
            train_rung(pack, 5, 5)
    assert len(recorded) == 2
    assert ends == [True] * 28  # the first is called, the second recorded, the last of each rung reported


def test_graphs_go_with_their_tiles() -> None:
    """At once, not when a collector comes by: rows join and leave all the time."""
    pack = pack_of(config_with("family", Path("conf/family/srn.yaml")), 30)
    gc.collect()
    gc.disable()
    try:
        train_rung(pack, 6, 1)
        ((_, tile),) = tiles(pack)
        graph = weakref.ref(tile.once_more._work.graph)
        assert graph() is not None
        del tile
        pack.leave([0])
        assert graph() is None
    finally:
        gc.enable()


def test_torchs_compiler_is_not_imported() -> None:
    script = """
import sys, torch
from rnnsweep.core import host_graph, remembered
x = torch.ones(2)
again = host_graph.record(lambda: x.add_(x.clone()))
again()
assert x.tolist() == [4, 4]
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_nothing_is_recorded_of_other_threads() -> None:
    from threading import Thread

    x, other = torch.zeros(1), torch.zeros(1)

    def work() -> None:
        thread = Thread(target=lambda: host_graph.launch(other.add_, 1))
        thread.start()
        thread.join()
        x.add_(1)

    again = host_graph.record(work)
    again()
    assert (x.item(), other.item()) == (2, 1)
