"""Regularisers of networks; oracle: a plain torch program that is given the same masks, step by step, by autograd."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, layer_norm
from torch.nn.utils.parametrizations import weight_norm

from rnnsweep.core.families.base import RATES, Family
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.layered import layered
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.loops import loops_of, run
from rnnsweep.core.network import Parts, RecurrentNetwork
from rnnsweep.core.regularised import regularised
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import tiles, train_batch, train_rung
from rnnsweep.core.types import Batch, Wanted
from rnnsweep.core.wires import wire
from rnnsweep.errors import ConfigError
from tests.contract.test_engines import assert_close
from tests.contract.test_rows import found
from tests.kit.covering import covered
from tests.kit.networks import Setup, assert_same_row
from tests.kit.ragged import Ragged

F64 = torch.float64
OURS = {"srn": Srn, "lstm": Lstm, "gru": Gru}
RANDOM: dict[str, dict[str, Any]] = {
    "between": {"dropout": 0.4},
    "in and out": {"input_dropout": 0.3, "output_dropout": 0.4},
    "variational": {"input_dropout": 0.3, "dropout": 0.5, "output_dropout": 0.4, "variational": True},
    "recurrent": {"recurrent_dropout": 0.4},
    "zoneout": {"zoneout": 0.3},
    "weight drop": {"weight_drop": 0.4},
}
EVERYTHING = {
    "dropout": 0.3, "input_dropout": 0.2, "output_dropout": 0.3, "recurrent_dropout": 0.3, "zoneout": 0.3,
    "weight_drop": 0.3, "layer_norm": True, "weight_norm": True,
}  # fmt: skip
KEYS = {**RANDOM, "layer norm": {"layer_norm": True}, "weight norm": {"weight_norm": True}, "all": EVERYTHING}


def family(name: str, *, hidden: int = 6, layers: int = 2, **keys: Any) -> Family:
    return layered(regularised(OURS[name](hidden, layers=layers, **keys)))


def norm(x: torch.Tensor, gain: torch.Tensor, parts: tuple[int, ...]) -> torch.Tensor:
    """layer_norm of neighbouring blocks."""
    pairs = zip(x.split(parts, -1), gain.split(parts, -1), strict=True)
    return torch.cat([layer_norm(part, part.shape[-1:], weight=own) for part, own in pairs], -1)


class Oracle:
    """One row of a network with masks, in the words of the papers; values are leaves."""

    def __init__(self, name: str, fam: Family, values: dict[str, torch.Tensor], batch: Batch) -> None:
        self.name, self.family, self.batch, self.H = name, fam, batch, fam.hidden
        self.values = {key: value[0].clone().requires_grad_() for key, value in values.items()}

    def rate(self, key: str) -> torch.Tensor:
        return torch.tensor([getattr(self.family, key)], dtype=F64)

    def factor(self, key: str, layer: int, width: int) -> torch.Tensor | float:
        """[T or 1, B, K]"""
        masks, T = self.batch.masks, self.batch.inputs.shape[1]
        if masks is None or not getattr(self.family, key):
            return 1.0
        draws = masks.of_layer(layer)
        if self.family.variational or key == "recurrent_dropout":
            return draws.sequences(key, self.rate(key), width)[0]
        return draws.steps(key, self.rate(key), T, width)[0]

    def matrix(self, key: str, end: str) -> torch.Tensor:
        v = self.values[key + end]
        return v if not self.family.weight_norm else self.values[f"{key}_length{end}"] * v / v.norm(dim=0)

    def zone(self, key: str, layer: int) -> torch.Tensor | float:
        masks, T = self.batch.masks, self.batch.inputs.shape[1]
        if not getattr(self.family, key):
            return 0.0
        if masks is None:
            return getattr(self.family, key)
        return masks.of_layer(layer).zones(key, self.rate(key), T, self.H)[0]

    def layer(self, x: torch.Tensor, number: int) -> torch.Tensor:
        """[T, B, K] -> [T, B, H]"""
        fam, H, T = self.family, self.H, len(x)
        end = "" if number == fam.layers else f"_l{number}"
        x = x * self.factor("input_dropout" if number == 1 else "dropout", number, x.shape[-1])
        w_rec, w_in = self.matrix("w_rec", end), self.matrix("w_in", end)
        own = {key.removesuffix(end): value for key, value in self.values.items() if key.endswith(end)}
        own = {**own, "b": self.values["b" + end]}
        if fam.weight_drop and self.batch.masks is not None:
            shape = (w_rec.shape[0], w_rec.shape[1])
            w_rec = w_rec * self.batch.masks.of_layer(number).weights("weight_drop", self.rate("weight_drop"), shape)[0]
        seen = self.factor("recurrent_dropout", number, H)
        seen = seen[0] if isinstance(seen, torch.Tensor) else seen
        zones = self.zone("zoneout", number), self.zone("zoneout_cell", number)
        h = c = torch.zeros(x.shape[1], H, dtype=F64)
        states = []
        for t in range(T):
            new, cell = self.step(own, (seen * h) @ w_rec, x[t] @ w_in, h, c)
            mix = [zone if isinstance(zone, float) else zone[t] for zone in zones]
            h, c = mix[0] * h + (1 - mix[0]) * new, mix[1] * c + (1 - mix[1]) * cell
            states.append(h)
        return torch.stack(states)

    def step(self, own: Any, a: torch.Tensor, d: torch.Tensor, h: torch.Tensor, c: torch.Tensor):
        H, normed = self.H, self.family.layer_norm
        if self.name == "srn":
            total = layer_norm(a + d, (H,), own["gain"]) if normed else a + d
            return torch.tanh(total + own["b"]), c
        blocks = (4 * H,) if self.name == "lstm" else (2 * H, H)
        if normed:
            a, d = norm(a, own["gain"], blocks), norm(d, own["gain_in"], blocks)
        d = d + own["b"]
        if self.name == "lstm":
            i, f, g, o = (a + d).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            shown = layer_norm(c, (H,), own["cell_gain"], own["cell_bias"]) if normed else c
            return torch.sigmoid(o) * torch.tanh(shown), c
        r, z = torch.sigmoid(a[:, : 2 * H] + d[:, : 2 * H]).chunk(2, -1)
        n = torch.tanh(d[:, 2 * H :] + r * (a[:, 2 * H :] + own["b_n"]))
        return (1 - z) * n + z * h, c

    def loss(self) -> torch.Tensor:
        x = self.batch.inputs[0]
        for number in range(1, self.family.layers + 1):
            x = self.layer(x, number)
        factor = self.factor("output_dropout", self.family.layers, self.H)
        last = x[-1] * (factor[-1] if isinstance(factor, torch.Tensor) else factor)
        return cross_entropy(last @ self.values["w_out"] + self.values["b_out"], self.batch.targets[0])


@covered(whole=3, engine=["reference", "cpu"], name=list(OURS), keys=list(KEYS), layers=[1, 3])
def test_loss_and_gradients_are_those_of_a_plain_torch_program(engine: str, name: str, keys: str, layers: int) -> None:
    own = {**KEYS[keys], **({"zoneout_cell": 0.4} if name == "lstm" and "zoneout" in KEYS[keys] else {})}
    fam = family(name, layers=layers, **own)
    pack = Setup(family=fam, task=TemporalOrder(length=10), engine=engine, sigma=0.7).pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    assert (batch.masks is not None) == bool(fam.random)
    values = program.layout.view(tile.params)
    for given in (batch, replace(batch, masks=None)):
        learned = program.learner.learn(program, tile.params, tile.unit_hypers("family"), given, Wanted(), {})
        oracle = Oracle(name, fam, values, given)
        loss = oracle.loss()
        loss.backward()
        assert_close(learned.loss[0], loss.detach(), 1e-12, "loss")
        mine = program.layout.view(learned.gradients)
        assert mine.keys() == oracle.values.keys()
        for key, value in oracle.values.items():
            assert value.grad is not None
            assert (mine[key][0] - value.grad).abs().max() <= 1e-11 * max(1.0, float(value.grad.abs().max())), key


def test_dropout_between_layers_is_torchs_lstm_with_the_mask_between() -> None:
    """torch.nn.LSTM(num_layers=2, dropout=p): its second layer sees the first one's states times such a mask."""
    fam = family("lstm", dropout=0.4)
    pack = Setup(family=fam, task=TemporalOrder(length=10), engine="cpu").pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    values, masks = program.layout.view(tile.params), batch.masks
    assert masks is not None
    modules = []
    for end, inputs in (("_l1", 6), ("", 6)):
        module = torch.nn.LSTM(inputs, 6, dtype=F64)
        with torch.no_grad():
            module.weight_hh_l0.copy_(values["w_rec" + end][0].T)
            module.weight_ih_l0.copy_(values["w_in" + end][0].T)
            module.bias_ih_l0.copy_(values["b" + end][0])
            module.bias_hh_l0.zero_()
        modules.append(module)
    factor = masks.of_layer(2).steps("dropout", torch.tensor([0.4]), 10, 6)[0]
    seen = modules[1](modules[0](batch.inputs[0])[0] * factor)[0][-1]
    loss = cross_entropy(seen @ values["w_out"][0] + values["b_out"][0], batch.targets[0])
    loss.backward()
    learned = program.learner.learn(program, tile.params, tile.unit_hypers("family"), batch, Wanted(), {})
    mine = program.layout.view(learned.gradients)
    assert_close(learned.loss[0], loss.detach(), 1e-12, "loss")
    for end, module in zip(("_l1", ""), modules, strict=True):
        assert_close(mine["w_rec" + end][0], module.weight_hh_l0.grad.T, 1e-12, "w_rec" + end)
        assert_close(mine["w_in" + end][0], module.weight_ih_l0.grad.T, 1e-12, "w_in" + end)


@pytest.mark.parametrize("name", list(OURS))
def test_weight_norm_is_torchs(name: str) -> None:
    """First values, gradients of directions and lengths, and the weights after a step."""
    kind = {"srn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name]
    pack = Setup(family=family(name, layers=1, weight_norm=True), task=TemporalOrder(length=10), engine="cpu").pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    values = program.layout.view(tile.params)
    first = program.family.initial(values, program.layout.specs, torch.tensor([0]))
    module = kind(6, 6, dtype=F64)
    with torch.no_grad():
        module.weight_hh_l0.copy_(values["w_rec"][0].T)
        module.weight_ih_l0.copy_(values["w_in"][0].T)
        module.bias_ih_l0.copy_(values["b"][0])
        module.bias_hh_l0.zero_()
        if name == "gru":
            module.bias_hh_l0[12:] = values["b_n"][0]
    places = {"w_rec": "weight_hh_l0", "w_in": "weight_ih_l0"}
    for ours, theirs in places.items():
        weight_norm(module, theirs, dim=0)
        lengths = module.parametrizations[theirs].original0
        assert torch.allclose(first[f"{ours}_length"][0], lengths[:, 0], rtol=1e-14)
        with torch.no_grad():
            lengths.copy_(values[f"{ours}_length"][0][:, None])
    outputs = module(batch.inputs[0])[0][-1] @ values["w_out"][0] + values["b_out"][0]
    cross_entropy(outputs, batch.targets[0]).backward()
    learned = program.learner.learn(program, tile.params, tile.unit_hypers("family"), batch, Wanted(), {})
    mine = program.layout.view(learned.gradients)
    for ours, theirs in places.items():
        parts = module.parametrizations[theirs]
        assert_close(mine[f"{ours}_length"][0], parts.original0.grad[:, 0], 1e-11, ours)
        assert_close(mine[ours][0], parts.original1.grad.T, 1e-11, ours)
    step, small = program.layout.view(torch.randn_like(tile.params)), 1e-6
    moved = program.family.recurrent_step(values, {}, step)
    up, down = (
        program.family.weights(
            {k: v + sign * small * step[k] for k, v in values.items()}, {"leak": torch.ones(1)}
        ).w_rec
        for sign in (1, -1)
    )
    assert_close(moved, (up - down) / (2 * small), 1e-8, "first-order change")


@pytest.mark.parametrize("keys", list(KEYS))
@pytest.mark.parametrize("name", list(OURS))
def test_a_row_is_to_the_bit_what_it_is_alone(name: str, keys: str) -> None:
    fam = family(name, hidden=9, **KEYS[keys])
    setup = Setup(family=fam, engine="cpu", dtype=torch.float32)
    wide, alone = setup.pack([0, 1, 2, 3, 4]), setup.pack([3])
    for _ in range(2):
        train_rung(wide, 3, 1)
        train_rung(alone, 3, 1)
    assert_same_row(wide.row(3), alone.row(0))


@pytest.mark.parametrize("name", list(OURS))
def test_interrupted_equals_uninterrupted(name: str) -> None:
    setup = Setup(family=family(name, **EVERYTHING), engine="cpu", dtype=torch.float32)
    whole, half = setup.pack([0, 1]), setup.pack([0, 1])
    for _ in range(2):
        train_rung(whole, 3, 1)
    train_rung(half, 3, 1)
    again = setup.pack([])
    again.join([(setup.member(replica), half.row(place)) for place, replica in ((1, 1), (0, 0))])
    train_rung(again, 3, 1)
    for place in (0, 1):
        assert_same_row(whole.row(place), again.row(1 - place))


@pytest.mark.parametrize("keys", list(RANDOM))
def test_a_rate_of_0_is_bit_for_bit_without(keys: str) -> None:
    off = {key: 0.0 for key in RANDOM[keys] if key in RATES}
    packs = [Setup(family=fam, engine="cpu").pack([0]) for fam in (family("lstm", **off), family("lstm"))]
    for pack in packs:
        train_rung(pack, 3, 1)
    assert_same_row(packs[0].row(0), packs[1].row(0))
    on = family("lstm", **RANDOM[keys])
    assert on.structure() != family("lstm").structure(), "rows with masks have packs of their own"
    assert family("lstm", **off).structure() == family("lstm").structure()


def test_rates_are_per_row_and_masks_differ_from_update_to_update() -> None:
    setup = Setup(family=family("lstm", dropout=0.4), engine="cpu")
    pack = setup.pack([0])
    pack.join([(setup.member(0, family__dropout=0.1), setup.state(pack.program, 0))])
    (_, tile), *_ = tiles(pack)
    one = train_batch(tile).masks
    assert one is not None
    rates = tile.unit_hypers("family")["dropout"]
    shares = (one.steps("dropout", rates, 200, 50) == 0).double().mean((1, 2, 3))
    assert torch.allclose(shares, torch.tensor([0.4, 0.1]), atol=0.02)
    before = one.steps("dropout", rates, 5, 6)
    tile.step += 1
    after = train_batch(tile).masks
    assert after is not None
    assert not torch.equal(before, after.steps("dropout", rates, 5, 6))


@pytest.mark.parametrize("keys", ["zoneout", "layer norm", "weight norm", "all"])
@pytest.mark.parametrize("name", list(OURS))
def test_a_loaded_network_is_the_evaluation(name: str, keys: str) -> None:
    """Without dropout; zoneout by its expectation; whole and step by step."""
    own = {**KEYS[keys], **({"zoneout_cell": 0.4} if name == "lstm" and "zoneout" in KEYS[keys] else {})}
    fam = family(name, layers=3, **own)
    setup = Setup(family=fam, task=Ragged(every=True), batch=3, sigma=0.7)
    pack = setup.pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch, hypers = pack.program, train_batch(tile), tile.unit_hypers("family")
    values = program.layout.view(tile.params)
    states = run(loops_of(wire(fam, program.engines), values, hypers), replace(batch, masks=None)).states[0, 1:]
    true = states @ values["w_out"][0] + values["b_out"][0]
    network = RecurrentNetwork(Parts(fam, program.readout, 2, True), values, hypers)
    whole = network(batch.inputs[0], batch.lengths[0])
    own_steps = torch.arange(7)[:, None] >= 7 - batch.lengths[0]
    assert (whole - true)[own_steps].abs().max() <= 1e-12
    first, state = network.stream(batch.inputs[0][:3])
    second, _ = network.stream(batch.inputs[0][3:], state)
    assert (torch.cat((first, second)) - network(batch.inputs[0])).abs().max() <= 1e-12


def refusal(one: Family) -> ConfigError | None:
    try:
        layered(regularised(one))
    except ConfigError as error:
        return error
    return None


REFUSED = ("recurrent_dropout", "zoneout", "zoneout_cell", "weight_drop", "layer_norm", "weight_norm")


@pytest.mark.parametrize("key", REFUSED)
@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kind, _ in found("family") if name != "stack"]
)  # keys of each layer
def test_every_family_trains_with_a_key_or_refuses_it_in_one_line(name: str, kind: type[Family], key: str) -> None:
    value = 0.3 if key in RATES else True
    one = kind(**{"hidden": 8, key: value})
    if (error := refusal(one)) is not None:
        assert error.key == f"family.{key}"
        assert "is not defined for the family" in str(error)
        assert "\n" not in str(error)
        assert kind not in (Srn, Lstm, Gru) or (key == "zoneout_cell" and kind is not Lstm)
        return
    fam = regularised(one)
    pack = Setup(family=fam, task=Ragged(every=True), batch=3).pack([0])
    before = pack.params.clone()
    train_rung(pack, 2, 1)
    assert pack.params.isfinite().all()
    assert not torch.equal(before, pack.params)


@pytest.mark.parametrize("key", ["input_dropout", "dropout", "output_dropout"])
@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kind, _ in found("family") if name != "stack"]
)  # keys of each layer
def test_what_comes_before_and_after_a_loop_is_there_for_every_family(name: str, kind: type[Family], key: str) -> None:
    """The loss of the masked mini-batch is not that without masks, and its gradient is a difference of losses."""
    layers = 2 if key == "dropout" else 1
    one = kind(**{"hidden": 8, "layers": layers, key: 0.4})
    if (error := refusal(one)) is not None:
        assert error.key == "family.layers"
        return
    fam = layered(regularised(one))
    pack = Setup(family=fam, task=Ragged(every=True), batch=3, sigma=0.8, learner=Bptt()).pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)

    def learned(params: torch.Tensor, given: Batch) -> Any:
        return program.learner.learn(program, params, tile.unit_hypers("family"), given, Wanted(), {})

    here = learned(tile.params, batch)
    assert not torch.equal(here.loss, learned(tile.params, replace(batch, masks=None)).loss)
    drawn = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
    fixed = name == "esn"
    names = [s.name for s in program.layout.specs if not fixed or s.name.startswith(("w_out", "b_out"))]
    direction, small = torch.where(program.layout.mask(names), drawn, torch.zeros_like(drawn)), 1e-5
    at = {n: learned(tile.params + n * small * direction, batch).loss for n in (-2, -1, 1, 2)}
    true = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * small)  # of fourth order
    assert_close((here.gradients * direction).sum(1), true, 1e-7, "slope")
