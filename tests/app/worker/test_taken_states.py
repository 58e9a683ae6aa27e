"""A row goes on from another one's state: in its pack, through a file, in another worker, all the same to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.sweep.rows import Orders, Source, Withdrawal
from rnnsweep.sweep.states import RowState
from tests.app.worker.test_trainer import numbers, run, spec, trainer

ADAM = ("optimizer=adam", "controllers=[clip,omega]", "task=adding", "engine=reference")
POINTS = ({"optimizer__lr": 0.01}, {"optimizer__lr": 0.05}, {"optimizer__lr": 0.02, "controllers__omega__weight": 1.5})
TAKES = Source(1, 0, ("0001",), 2)


def begun(place, rungs: int = 2):
    """A worker in which three rows have trained so many rungs."""
    worker = trainer(place, *ADAM)
    reports = worker.advance(Orders(join=tuple(spec(n, **point) for n, point in enumerate(POINTS))))[0]
    for _ in range(rungs - 1):
        reports += worker.advance(Orders())[0]
    return worker, reports


def taking(**point):
    """Orders by which row 0 goes on from row 1, with another rate."""
    new = replace(spec(0, "0002", **{"optimizer__lr": 0.04, **point}), source=TAKES)
    return Orders(join=(new,), leave=(Withdrawal(0, 0, "0001", keep_rung=2),))


def by_trial(reports, *trials):
    return [numbers([r for r in reports if r.rung > 2], trial) for trial in trials or (0, 1, 2)]


def test_in_its_place_it_is_what_it_is_from_the_file_of_another_worker(tmp_path):
    worker, _ = begun(tmp_path / "a")
    pack = next(iter(worker.packs.values()))
    slab = pack.params
    together = worker.advance(taking())[0]
    assert pack.params is slab  # nothing was built anew
    together += run(worker, Orders())
    assert [r.token for r in together if r.trial == 0] == ["0002"] * 2
    assert [r.state for r in together if r.trial == 0] == [RowState.ACTIVE, RowState.DONE]
    begun(tmp_path / "b")
    alone = run(trainer(tmp_path / "b", *ADAM), taking())
    assert by_trial(alone, 0) == by_trial(together, 0)
    calm, _ = begun(tmp_path / "c")
    undisturbed = run(calm, Orders())
    assert by_trial(undisturbed, 1, 2) == by_trial(together, 1, 2)
    assert by_trial(undisturbed, 0) != by_trial(together, 0)


def test_a_source_that_has_gone_on_is_read_from_its_file(tmp_path):
    worker, _ = begun(tmp_path / "a")
    expected = by_trial(worker.advance(taking())[0] + run(worker, Orders()), 0)
    late, _ = begun(tmp_path / "b", rungs=3)
    found = run(late, taking())
    assert by_trial([r for r in found if r.token == "0002"], 0) == expected


def test_an_order_that_comes_twice_is_obeyed_once(tmp_path):
    worker, _ = begun(tmp_path / "a")
    expected = by_trial(worker.advance(taking())[0] + run(worker, Orders()), 0)
    twice, _ = begun(tmp_path / "b")
    found = twice.advance(taking())[0] + run(twice, taking())
    assert by_trial(found, 0) == expected


def test_what_was_trained_beyond_the_rung_is_deleted_and_what_was_there_is_kept(tmp_path):
    late, _ = begun(tmp_path, rungs=3)
    run(late, taking())
    assert late.store.rungs(late.store.folder(0, 0, "0001"))[-1] == 2
    assert late.store.rungs(late.store.folder(0, 0, "0002")) == [3, 4]


def test_after_a_restart_its_own_checkpoint_counts_and_the_source_may_be_gone(tmp_path):
    worker, _ = begun(tmp_path / "a")
    expected = by_trial(worker.advance(taking())[0] + run(worker, Orders()), 0)[0]
    first, _ = begun(tmp_path / "b")
    first.advance(taking())
    first.store.prune(first.store.folder(1, 0, "0001"), [])
    again = replace(spec(0, "0003", restore=("0002",), optimizer__lr=0.04), source=TAKES)
    assert by_trial(run(trainer(tmp_path / "b", *ADAM), Orders(join=(again,))), 0)[0] == expected


def test_a_new_attempt_in_the_same_worker_goes_on_from_its_own_checkpoint_and_not_from_the_source_again(tmp_path):
    worker, _ = begun(tmp_path / "a")
    expected = by_trial(worker.advance(taking())[0] + run(worker, Orders()), 0)[0]
    worker, _ = begun(tmp_path / "b")
    first = worker.advance(taking())[0]
    worker.store.prune(worker.store.folder(1, 0, "0001"), [])  # nobody needs it any more
    again = replace(spec(0, "0003", restore=("0002",), optimizer__lr=0.04), source=TAKES)
    found = run(worker, Orders(join=(again,), leave=(Withdrawal(0, 0, "0002"),)))
    # what its checkpoint carries is told once more under the new token, then it goes on
    assert by_trial([r for r in [*first, *found] if r.trial == 0 and r.token == "0003"], 0)[0] == expected


@pytest.mark.parametrize("here", [True, False])
def test_no_other_rung_stands_in_for_a_state_that_is_gone(tmp_path, here):
    worker, _ = begun(tmp_path, rungs=3)
    worker.store.prune(worker.store.folder(1, 0, "0001"), [1, 3])
    reports, failures = (worker if here else trainer(tmp_path, *ADAM)).advance(taking())
    assert [(f.trial, f.token, f.kind) for f in failures] == [(0, "0002", "no_source")]
    assert failures[0].reason == "no readable checkpoint of trial 1, replica 0, at rung 2"
    assert {r.trial for r in reports} == ({1, 2} if here else set())


def prepared(**changes):
    """The same, to be done once both have come so far."""
    spec_ = replace(taking().join[0], **changes)
    return Orders(take=(spec_,))


def test_what_is_to_be_done_at_a_rung_is_done_there_though_it_is_told_before(tmp_path):
    worker, _ = begun(tmp_path / "a")
    expected = by_trial(worker.advance(taking())[0] + run(worker, Orders()), 0, 1, 2)
    early, _ = begun(tmp_path / "b", rungs=1)
    found = early.advance(prepared())[0]
    assert {r.token for r in found} == {"0001"}  # the rung before the copy is its own
    found += early.advance(Orders())[0]
    assert {r.token for r in found if r.trial == 0 and r.rung == 3} == {"0002"}
    # what its driver says of it later, when it has settled it, changes nothing any more
    found += run(early, taking())
    assert by_trial(found, 0, 1, 2) == expected


@pytest.mark.parametrize("how", ["revoked", "too late", "gone"])
def test_what_can_never_be_done_is_forgotten(tmp_path, how):
    worker, _ = begun(tmp_path, rungs=3 if how == "too late" else 1)
    reports, _ = worker.advance(prepared())
    leave = {"revoked": Withdrawal(0, 0, "0002"), "gone": Withdrawal(1, 0, "0001"), "too late": Withdrawal(9, 0, "")}
    reports += run(worker, Orders(leave=(leave[how],)))
    assert {r.token for r in reports} == {"0001"}
    assert not worker._takes
