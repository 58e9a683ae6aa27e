"""Layers of different families; oracles: torch.nn's modules on each other, LRU and S5 as written, differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.embedded import embedded
from rnnsweep.core.families.base import Family
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.indrnn import IndRnn
from rnnsweep.core.families.lru import Lru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.momentum_srn import MomentumSrn
from rnnsweep.core.families.s5 import S5
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.families.srn_feedback import SrnFeedback
from rnnsweep.core.loop_place import LoopPlace
from rnnsweep.core.network import Parts, RecurrentNetwork
from rnnsweep.core.pack import Pack
from rnnsweep.core.sizes import loop_entries
from rnnsweep.core.stack import Stack
from rnnsweep.core.training import tiles, train_batch, train_rung
from rnnsweep.core.types import Batch, Wanted
from rnnsweep.errors import ConfigError
from tests.contract.test_engines import assert_close
from tests.contract.test_rows import found
from tests.core.families.test_state_space import s5
from tests.kit.networks import Setup, assert_same_row, loss_at
from tests.kit.ragged import Ragged

F64 = torch.float64
TORCH = {Srn: torch.nn.RNN, Lstm: torch.nn.LSTM, Gru: torch.nn.GRU}
STACKED = [(name, cls) for name, cls, _ in found("family") if name not in ("srn_feedback", "stack")]


def stack(*layers: Family) -> Stack:
    return Stack(**dict(zip(("first", "second", "third", "fourth"), layers, strict=False)))


def small(family: type[Family], hidden: int = 6) -> Family:
    return family(hidden=hidden)


def learned(pack: Pack, batch: Batch | None = None) -> Any:
    (_, tile), *_ = tiles(pack)
    batch = train_batch(tile) if batch is None else batch
    own = tile.learner_own()
    return pack.program.learner.learn(pack.program, tile.params, tile.unit_hypers("family"), batch, Wanted(), own)


def torchs(family: Family, x: torch.Tensor, values: dict[str, torch.Tensor], end: str) -> torch.Tensor:
    """What torch's module of a family makes of [T, B, K], its weights tied to ours."""
    module = TORCH[type(family)](x.shape[-1], family.hidden, dtype=F64)
    inner = torch.zeros_like(module.bias_hh_l0)
    if isinstance(family, Gru):
        inner = torch.cat((inner[: 2 * family.hidden], values[f"b_n{end}"]))
    tied = {
        "weight_hh_l0": values[f"w_rec{end}"].T,
        "weight_ih_l0": values[f"w_in{end}"].T,
        "bias_ih_l0": values[f"b{end}"],
        "bias_hh_l0": inner,
    }
    return torch.func.functional_call(module, tied, (x,))[0]


def lru(x: torch.Tensor, values: dict[str, torch.Tensor], end: str) -> torch.Tensor:
    """Orvieto et al. (2023), equation 6, in complex numbers, step by step."""
    lam = torch.exp(torch.complex(-torch.exp(values[f"nu_log{end}"]), torch.exp(values[f"theta_log{end}"])))
    re, im = values[f"w_in{end}"].chunk(2, -1)
    drive = (x.to(lam.dtype) @ torch.complex(re, im)) * torch.sqrt(1 - lam.abs() ** 2)
    state, shown = torch.zeros_like(drive[0]), []
    for u in drive:
        state = lam * state + u
        shown.append(torch.cat((state.real, state.imag), -1))
    return torch.stack(shown)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("every", [False, True], ids=["end", "every"])
@pytest.mark.parametrize("lower", [Lru(5), Gru(5), S5(6, states=4)], ids=lambda family: family.unit_name)
def test_a_row_is_its_families_one_on_the_other(lower: Family, every: bool, engine: str) -> None:
    upper = Srn(7) if isinstance(lower, Gru) else Lstm(7)
    pack = Setup(family=stack(lower, upper), task=Ragged(every=every), engine=engine, batch=1).pack([0])
    (_, tile), *_ = tiles(pack)
    batch, program = train_batch(tile), pack.program
    leaves = {name: value[0].clone().requires_grad_() for name, value in program.layout.view(tile.params).items()}
    x = batch.inputs[0, batch.inputs.shape[1] - int(batch.lengths.flatten()[0]) :]
    if isinstance(lower, Lru):
        h = lru(x, leaves, "_l1")
    elif isinstance(lower, S5):
        h = s5(lower)({name.removesuffix("_l1"): value for name, value in leaves.items() if "_l1" in name}, x, {})
    else:
        h = torchs(lower, x, leaves, "_l1")
    h = torchs(upper, h, leaves, "")
    y = h @ leaves["w_out"] + leaves["b_out"]
    if every:
        loss = torch.nn.functional.cross_entropy(y[:, 0], batch.targets[0, -len(x) :, 0])
    else:
        loss = torch.nn.functional.cross_entropy(y[-1], batch.targets[0])
    loss.backward()
    ours = learned(pack, batch)
    assert_close(ours.loss[0], loss.detach(), 1e-11, "loss")
    for name, gradient in program.layout.view(ours.gradients).items():
        true = leaves[name].grad
        assert true is not None
        assert_close(gradient[0], true, 1e-11, name)
        assert true.abs().max() > 1e-9


PAIRS = [(STACKED[i - 1], one) for i, one in enumerate(STACKED)]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[1][0]}-on-{pair[0][0]}")
def test_gradients_are_central_differences_and_a_loaded_network_steps_through(pair: Any) -> None:
    (lower, first), (upper, second) = pair
    family = stack(small(first), small(second, 8))
    pack = Setup(family=family, task=Ragged(every=True), batch=3, sigma=0.8).pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    fixed = {end for name, end in ((lower, "_l1"), (upper, "")) if name == "esn"}
    names = [spec.name for spec in program.layout.specs]
    if "_l1" in fixed:
        names = [name for name in names if not name.endswith("_l1")]
    if "" in fixed:
        names = [name for name in names if name.endswith("_l1") or name.startswith(("w_out", "b_out"))]
    drawn = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
    direction = torch.where(program.layout.mask(names), drawn, torch.zeros_like(drawn))
    up, down = (loss_at(pack, tile, tile.params + sign * 2e-7 * direction) for sign in (1, -1))
    assert_close((learned(pack).gradients * direction).sum(1), (up - down) / 4e-7, 1e-7, "slope")
    values, hypers = program.layout.view(tile.params), tile.unit_hypers("family")
    network = RecurrentNetwork(Parts(program.family, program.readout, 2, True), values, hypers)
    with torch.no_grad():
        outputs, state, parts = network(batch.inputs[0, :, :1]), None, []
        for t in range(batch.inputs.shape[1]):
            out, state = network.stream(batch.inputs[0, t : t + 1, :1], state)
            parts.append(out)
        assert_close(torch.cat(parts), outputs, 1e-12, "stream")


@pytest.mark.parametrize(
    "form",
    [
        {"bidirectional": True},
        {"residual": True},
        {"first": Srn(6, dropout=0.0, input_dropout=0.3), "second": Lstm(6, layer_norm=True, zoneout=0.2, dropout=0.3)},
        {"third": Gru(4)},
        {"third": MomentumSrn(4), "fourth": IndRnn(5)},
    ],
    ids=["both", "residual", "regularised", "three", "four"],
)
def test_forms_have_the_gradients_of_central_differences(form: dict[str, Any]) -> None:
    family = Stack(**{"first": Srn(6), "second": Lstm(6), **form})
    pack = Setup(family=family, task=Ragged(every=True), batch=3, sigma=0.8).pack([0])
    (_, tile), *_ = tiles(pack)
    direction = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
    direction = torch.where(pack.program.layout.mask([s.name for s in pack.program.layout.specs]), direction, 0.0)
    up, down = (loss_at(pack, tile, tile.params + sign * 2e-7 * direction) for sign in (1, -1))
    if not family.random:
        assert_close((learned(pack).gradients * direction).sum(1), (up - down) / 4e-7, 1e-7, "slope")
    else:
        batch = train_batch(tile)
        ends = []
        for sign in (1, -1):
            moved = tile.params + sign * 2e-7 * direction
            rule, own = pack.program.learner, tile.learner_own()
            ends.append(rule.learn(pack.program, moved, tile.unit_hypers("family"), batch, Wanted(), own).loss)
        assert_close((learned(pack, batch).gradients * direction).sum(1), (ends[0] - ends[1]) / 4e-7, 1e-7, "slope")


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_a_row_is_to_the_bit_what_it_is_alone_and_rows_have_hyperparameters_of_their_own(engine: str) -> None:
    setup = Setup(family=stack(Gru(8), Lstm(8)), engine=engine, dtype=torch.float32, controllers={"omega": Omega()})
    wide, alone = setup.pack([0, 1, 2, 3, 4]), setup.pack([3])
    for _ in range(2):
        train_rung(wide, 3, 1)
        train_rung(alone, 3, 1)
    assert_same_row(wide.row(3), alone.row(0))


def test_hyperparameters_reach_the_layer_that_they_are_of() -> None:
    family = stack(Lstm(4, forget_bias=2.0), Lstm(3, forget_bias=-1.0))
    specs = family.parameters(2, 3)
    first = family.initial({}, specs, torch.tensor([1]))
    assert first["b_l1"][0, 4:8].tolist() == [2.0] * 4
    assert first["b"][0, 3:6].tolist() == [-1.0] * 3
    assert family.row_values()["first.forget_bias"] == 2.0
    hypers = {name: torch.tensor([value]) for name, value in family.row_values().items()}
    assert family.part_hypers(LoopPlace(2, 2), hypers)["forget_bias"].item() == -1.0


def test_every_kind_of_loop_has_an_engine_of_its_own() -> None:
    program = Setup(family=stack(Gru(6), Lstm(6), Srn(6), Lstm(6)), engine="cpu").pack([0]).program
    names = [type(engine).__name__ for engine in program.engines]
    assert len(set(names)) == 3
    assert program.engines[1] is program.engines[3] is program.engine


def test_memory_is_that_of_all_layers() -> None:
    lower, upper = Gru(6), Lstm(8)
    between = 2 * lower.width + 2 * upper.cell.drive
    assert loop_entries(stack(lower, upper)) == loop_entries(lower) + loop_entries(upper) + between


def test_a_shape_key_has_all_layers_and_no_hyperparameter() -> None:
    one = stack(Lru(4), Lstm(5))
    assert one.identity() == stack(Lru(4, r_max=0.9), Lstm(5, forget_bias=3.0)).identity()
    others = [stack(Lru(5), Lstm(5)), stack(Gru(4), Lstm(5)), stack(Lru(4), Lstm(5), Srn(3))]
    others.append(stack(Lru(4), Lstm(5, zoneout=0.1)))
    assert all(one.identity() != other.identity() for other in others)


def test_an_embedding_stands_before_the_first_layer() -> None:
    behind = embedded(stack(Gru(4), Srn(5)))
    assert [type(part) for part in behind.parts] == [Gru, Srn]
    assert set(behind.rows) == set(stack(Gru(4), Srn(5)).rows)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"second": SrnFeedback(4)}, "family.second"),
        ({"second": Stack()}, "family.second"),
        ({"second": Lstm(4, layers=2)}, "family.second.layers"),
        ({"first": Lstm(4, bidirectional=True)}, "family.first.bidirectional"),
        ({"first": Srn(4, widths=(4,))}, "family.first.widths"),
        ({"first": None}, "family.first"),
        ({"second": None}, "family.second"),
        ({"fourth": Srn(4)}, "family.third"),
        ({"first": "lru"}, "family.first"),
        ({"dropout": 0.1}, "family.dropout"),
        ({"layer_norm": True}, "family.layer_norm"),
        ({"residual": True, "first": Srn(4), "second": Srn(5)}, "family.residual"),
        ({"first": {"_target_": "rnnsweep.core.families.lru.Lru", "r_max": 2.0}}, "family.first.r_max"),
        ({"first": {"_target_": "rnnsweep.core.families.lru.Lru", "r": 2.0}}, "family.first.r"),
    ],
)
def test_what_is_wrong_is_said_of_the_right_key(given: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Stack(**given)
    assert refused.value.key == key


def test_a_copy_is_the_same() -> None:
    one = stack(Gru(4), Lstm(5, layer_norm=True))
    assert replace(one) == one
    assert replace(one).parts == one.parts
