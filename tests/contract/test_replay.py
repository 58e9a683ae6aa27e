"""Updates ask nothing of the host and can be replayed, whatever the unit, unless it says so: what CUDA graphs need."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnsweep.adapters.hydra.yaml_files import read_yaml
from rnnsweep.app.config.load import load, search_path
from rnnsweep.app.config.point import resolve_point
from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
from rnnsweep.core.families import spectral
from rnnsweep.core.pack import Member, Pack, Streams
from rnnsweep.core.recurrence.gpu import available
from rnnsweep.core.replay import Repeated, cuda_graph
from rnnsweep.core.tile import Tile, tiles, update
from rnnsweep.core.training import train_rung
from tests.kit.networks import assert_same_row
from tests.kit.replayed import HostRead, as_on_a_device, without_host

CONF = search_path().packaged
GROUPS = ("family", "task", "optimizer", "learner", "embedding", "readout", "controllers")
ON = {
    "omega": {"weight": 1.0},
    "l1": {"weight": 0.1},
    "l2": {"weight": 0.1},
    "l1_proximal": {"weight": 0.1},
    "gradient_flossing": {"weight": 0.1},
    "sampling": {"q_min": -3.0, "q_max": 3.0, "r0": 10.0},
    "clip_autoclip": {"percentile": 50.0},
    "clip_zclip": {"warmup": 1, "z_max": 0.1},
}
"""Values that switch a controller on."""
SHORT = ["task.length=12", "training.batch=3", "training.eval_size=3", "engine=reference", "dtype=float64"]


def cases() -> list[Any]:
    files = [
        (group, file) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml")) if file.stem != "stack"
    ]
    return [pytest.param(group, file, id=f"{group}-{file.stem}") for group, file in files]


@functools.cache
def composed(*overrides: str) -> dict[str, Any]:
    """A config is composed once: that takes as long as the updates of most units."""
    return resolve_point(load(None, ["name=t", *overrides], check_units=False).variants, {})


def config_with(group: str, file: Path) -> dict[str, Any]:
    """The base config with this unit in it."""
    name = file.stem
    # It needs a target at every step, and outputs that are fed back.
    short = [*SHORT, "task=periodic_output", "family=srn_feedback"] if name == "teacher_forcing" else SHORT
    config = copy.deepcopy(composed(*short))
    block = {key: value for key, value in read_yaml(file).items() if key != "_search_"}
    if group == "controllers":
        config["controllers"] = {name: {**block, **ON.get(name, {})}}
        return config
    if group == "family":
        block["hidden"] = 6
    if group == "task" and "length" in block:
        block["length"] = 12
    if "generate" in block:
        block["generate"] = 5
    return {**config, group: {**block, "_name_": name}}


def pack_of(config: dict[str, Any], updates: int, device: str = "cpu") -> Pack:
    units = build_units(config)
    pack = Pack(build_program(config, units, torch.device(device)))
    members = [Member(row, updates, row_hypers(units), Streams(0, row)) for row in range(2)]
    pack.join([(member, initial_state(pack.program, units, member.streams)) for member in members])
    return pack


def asks_host(pack: Pack) -> bool:
    program = pack.program
    return any(
        unit.asks_host for unit in (*program.row_units.values(), program.task, program.readout, program.embedding)
    )


def record(work: Callable[[], object]) -> Callable[[], object]:
    """As `replay.cuda_graph`: do it once, then replay."""
    with without_host() as recorded:
        work()
    return recorded.replay


@pytest.mark.parametrize(("family", "maps"), [("scornn", 1), ("momentum_scornn", 1), ("enrnn", 1), ("srn", 0)])
def test_a_map_is_made_once_in_an_update(family, maps):
    """For the loop and for the way back, though a device does not tell whether it is the same one."""
    pack = pack_of(config_with("family", Path(f"conf/family/{family}.yaml")), 5)
    with as_on_a_device():
        ((_, tile),) = tiles(pack)
        update(tile, tile.tally)
        with without_host() as recorded:
            update(tile, tile.tally)
    inverses = [func for func, *_ in recorded.calls if func is torch.ops.rnnsweep_tests.inverse.default]
    assert len(inverses) == maps


def test_eigenvalues_are_asked_for_once_before_a_step_and_once_after_it(monkeypatch):
    asked = []
    by_squaring = spectral.leaders_by_squaring
    monkeypatch.setattr(spectral, "leaders_by_squaring", lambda *args: asked.append(1) or by_squaring(*args))
    pack = pack_of(config_with("family", Path("conf/family/enrnn.yaml")), 5)
    with as_on_a_device():
        ((_, tile),) = tiles(pack)
        update(tile, tile.tally)
    assert len(asked) == 2


@pytest.mark.parametrize(("group", "file"), cases())
def test_replayed_updates_are_the_same_bits(group, file):
    config = config_with(group, file)
    plain, replayed = pack_of(config, 5), pack_of(config, 5)
    with as_on_a_device():
        ((_, tile),) = tiles(replayed)
        if asks_host(replayed):
            update(tile, tile.tally)
            with pytest.raises(HostRead):
                record(lambda: update(tile, tile.tally))
            return
        tile.once_more = Repeated(lambda: update(tile, tile.tally), record)
        # Two rungs: what was recorded in the first is replayed in the second, with other totals in the tally.
        found = [train_rung(replayed, 4, 1), train_rung(replayed, 4, 1)]
        wanted = [train_rung(plain, 4, 1), train_rung(plain, 4, 1)]
    assert found == wanted
    for row in range(2):
        assert_same_row(replayed.row(row), plain.row(row))


@pytest.mark.parametrize("family", ["scornn", "exprnn", "scurnn", "enrnn"])
def test_maps_are_replayed_by_their_kernels_alone(family, monkeypatch):
    """Without them (no Triton) an inverse is cuSOLVER's, which no graph can record: the contract sees that."""
    with as_on_a_device():
        ((_, tile),) = tiles(pack_of(config_with("family", CONF / "family" / f"{family}.yaml"), 5))
        update(tile, tile.tally)
        record(lambda: update(tile, tile.tally))
        monkeypatch.setattr(available, "map_kernels", lambda *tensors: None)
        with pytest.raises(HostRead, match="linalg_inv_ex"):
            record(lambda: update(tile, tile.tally))


def test_what_cannot_be_recorded_is_called_and_said(monkeypatch: pytest.MonkeyPatch):
    done: list[int] = []

    def refuse(graph: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", refuse)
    again = Repeated(lambda: done.append(1), cuda_graph)
    again()
    with pytest.warns(RuntimeWarning, match="not replayed: operation not permitted when stream is capturing$"):
        again()
    again()
    assert len(done) == 3


def test_a_tile_is_cut_anew_when_rows_join_or_leave():
    pack = pack_of(config_with("family", CONF / "family" / "srn.yaml"), 5)
    ((_, first),) = tiles(pack)
    assert tiles(pack)[0][1] is first
    pack.leave([0])
    ((_, second),) = tiles(pack)
    assert isinstance(second, Tile)
    assert second is not first
    assert second.params.data_ptr() == pack.params.data_ptr()
