"""Rows that are put into a place: the tensors stay, neighbours do not notice, and what replays updates goes on."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.app.config.load import load
from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
from rnnsweep.core.pack import Member, Pack, Streams, taken_over
from rnnsweep.core.replay import Repeated
from rnnsweep.core.tile import tiles
from rnnsweep.core.training import train_rung
from tests.kit.replayed import as_on_a_device, without_host

KEYS = [
    "task=adding",
    "task.length=10",
    "family.hidden=5",
    "training.batch=3",
    "training.eval_size=4",
    "budget.updates=40",
    "engine=reference",
    "controllers=[clip,omega,l2]",
    "optimizer=adam",
    "dtype=float64",
    "space={}",
    "name=p",
]
POINTS = ({}, {"optimizer.lr": 0.03, "controllers.clip.threshold": 0.5}, {"controllers.omega.weight": 0.7})


def member(name: int, **changed: float) -> tuple[Member, torch.nn.Module]:
    config = load(None, KEYS, check_units=False).resolved
    units = build_units(config)
    hypers = row_hypers(units) | {key.replace("__", "."): value for key, value in changed.items()}
    return Member(name, 40, hypers, Streams(3, name)), units


def started(rungs: int = 2) -> Pack:
    """Three rows after some rungs of 5 updates."""
    config = load(None, KEYS, check_units=False).resolved
    units = build_units(config)
    pack = Pack(build_program(config, units, torch.device("cpu")))
    rows = [member(n, **{key.replace(".", "__"): v for key, v in point.items()}) for n, point in enumerate(POINTS)]
    pack.join([(one, initial_state(pack.program, units, one.streams)) for one, _ in rows])
    for _ in range(rungs):
        train_rung(pack, 5, 1)
    return pack


def everything(pack: Pack, index: int):
    row = pack.row(index)
    profile = None if row.profile is None else row.profile.tolist()
    tensors = {k: v.tolist() for k, v in {**row.params, **row.slots}.items()}
    numbers = {name: getattr(row, name) for name in ("step", "taken", "rung", "solved_at", "diverged_at", "best_rung")}
    return tensors, numbers, profile, row.profile_steps, row.best_loss


def test_a_state_taken_within_the_pack_is_the_one_that_comes_by_a_snapshot() -> None:
    inside, outside = started(), started()
    outside_row = taken_over(outside.row(1))
    inside.exploit(0, 1, member(0, optimizer__lr=0.02)[0])
    outside.replace(0, member(0, optimizer__lr=0.02)[0], outside_row)
    for _ in range(3):
        for index in range(3):
            assert everything(inside, index) == everything(outside, index)
        assert train_rung(inside, 5, 1) == train_rung(outside, 5, 1)


def test_neighbours_are_what_they_are_without_it() -> None:
    changed, calm = started(), started()
    changed.exploit(0, 1, member(0, optimizer__lr=0.02)[0])
    for _ in range(2):
        train_rung(changed, 5, 1)
        train_rung(calm, 5, 1)
    assert [everything(changed, index) for index in (1, 2)] == [everything(calm, index) for index in (1, 2)]
    assert everything(changed, 0) != everything(calm, 0)


def test_the_record_of_a_best_checkpoint_begins_anew() -> None:
    pack = started()
    assert pack.best[1][1] > 0
    pack.exploit(0, 1, member(0)[0])
    assert (pack.row(0).best_rung, pack.row(0).solved_at) == (0, pack.row(1).solved_at)
    train_rung(pack, 5, 1)
    assert pack.row(0).best_rung == 3


@pytest.mark.parametrize(
    ("point", "kept"),
    [
        ({"optimizer__lr": 0.02, "controllers__clip__threshold": 0.9}, True),
        ({"controllers__omega__weight": 0.4}, True),  # another row has it on
        ({"controllers__l2__weight": 0.1}, False),  # no row had it on: another program
    ],
)
def test_tiles_stay_where_they_do_what_the_new_values_ask_for(point: dict[str, float], kept: bool) -> None:
    pack = started()
    before = tiles(pack)[0][1]
    pack.exploit(0, 1, member(0, **point)[0])
    assert (tiles(pack)[0][1] is before) is kept
    fresh = started()
    fresh.exploit(0, 1, member(0, **point)[0])
    fresh.cuts = []  # cut anew whatever comes
    assert train_rung(pack, 5, 1) == train_rung(fresh, 5, 1)
    assert [everything(pack, n) for n in range(3)] == [everything(fresh, n) for n in range(3)]


def test_what_was_recorded_sees_the_new_values() -> None:
    def record(work):
        with without_host() as recorded:
            work()
        return recorded.replay

    with as_on_a_device():
        replayed, plain = started(), started()
        for pack in (replayed, plain):
            tile = tiles(pack)[0][1]
            if pack is replayed:
                tile.once_more = Repeated(tile.once_more, record)
            for point in ({"optimizer__lr": 0.02, "controllers__omega__weight": 0.4}, {"optimizer__lr": 0.05}):
                train_rung(pack, 5, 9)
                pack.exploit(0, 2, member(0, **point)[0])
                assert tiles(pack)[0][1] is tile
            train_rung(pack, 5, 9)
    assert [everything(replayed, n) for n in range(3)] == [everything(plain, n) for n in range(3)]
