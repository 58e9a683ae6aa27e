"""Layers of one family; oracles: torch.nn's modules with `num_layers`, and finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.diagnostics import weights
from rnnsweep.core.families.base import Family
from rnnsweep.core.families.enrnn import Enrnn
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.momentum_srn import MomentumSrn
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.families.srn_feedback import SrnFeedback
from rnnsweep.core.layered import layered
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.learners.hessian_free import HessianFree
from rnnsweep.core.learners.rflo import Rflo
from rnnsweep.core.learners.rtrl import Rtrl
from rnnsweep.core.network import Parts, RecurrentNetwork
from rnnsweep.core.pack import Pack
from rnnsweep.core.stack import Stack
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.tile import update
from rnnsweep.core.training import tiles, train_batch, train_rung
from rnnsweep.core.types import Capability, Wanted
from rnnsweep.errors import ConfigError
from tests.contract.test_engines import assert_close
from tests.contract.test_rows import found
from tests.core.families.test_own import FAMILIES as OWN
from tests.kit.networks import Setup, assert_same_row, loss_at
from tests.kit.ragged import Ragged, one_by_one

F64 = torch.float64
TORCH = {"srn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
OURS = {"srn": Srn, "lstm": Lstm, "gru": Gru}
ALONE = {"srn_feedback", "stack"}
STACKED = [(name, cls) for name, cls, _ in found("family") if name not in ALONE]
EVERY = pytest.mark.parametrize(("name", "family"), both := [*STACKED, *OWN.items()], ids=[name for name, _ in both])


def torch_module(name: str, values: dict[str, torch.Tensor], inputs: int, hidden: int, layers: int) -> torch.nn.Module:
    """torch's module with our parameters of row 0; of its two biases the first one is ours."""
    module = TORCH[name](inputs, hidden, num_layers=layers, dtype=F64)
    with torch.no_grad():
        for layer in range(1, layers + 1):
            end = "" if layer == layers else f"_l{layer}"
            places = {"weight_hh": "w_rec", "weight_ih": "w_in", "bias_ih": "b"}
            for theirs, ours in places.items():
                value = values[ours + end][0]
                getattr(module, f"{theirs}_l{layer - 1}").copy_(value.T if value.ndim == 2 else value)
            inner = getattr(module, f"bias_hh_l{layer - 1}").zero_()
            if name == "gru":
                inner[2 * hidden :] = values["b_n" + end][0]
    return module


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("name", list(TORCH))
def test_a_pack_of_one_is_torchs_module(name: str, layers: int, engine: str) -> None:
    hidden = 6
    setup = Setup(family=layered(OURS[name](hidden, layers=layers)), task=TemporalOrder(length=10), engine=engine)
    pack = setup.pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    values = program.layout.view(tile.params)
    module = torch_module(name, values, batch.inputs.shape[-1], hidden, layers)
    outputs = module(batch.inputs[0])[0][-1] @ values["w_out"][0] + values["b_out"][0]
    loss = torch.nn.functional.cross_entropy(outputs, batch.targets[0])
    loss.backward()
    learned = program.learner.learn(program, tile.params, tile.unit_hypers("family"), batch, Wanted(), {})
    assert_close(learned.loss[0], loss.detach(), 1e-12, "loss")
    gradients = program.layout.view(learned.gradients)
    for layer in range(1, layers + 1):
        end = "" if layer == layers else f"_l{layer}"
        for theirs, ours in {"weight_hh": "w_rec", "weight_ih": "w_in", "bias_ih": "b"}.items():
            true = getattr(module, f"{theirs}_l{layer - 1}").grad
            assert_close(gradients[ours + end][0], true.T if true.ndim == 2 else true, 1e-12, ours + end)
            assert true.abs().max() > 1e-9


@pytest.mark.parametrize(
    ("name", "family"), [*STACKED, *OWN.items()], ids=[name for name, _ in [*STACKED, *OWN.items()]]
)
def test_gradients_are_central_differences_for_every_family(name: str, family: type[Family]) -> None:
    one = family() if name in OWN else family(hidden=8)
    setup = Setup(family=layered(replace(one, layers=2)), task=Ragged(every=True), batch=3, sigma=0.8)
    pack = setup.pack([0])
    (_, tile), *_ = tiles(pack)
    program = pack.program
    learned = program.learner.learn(
        program, tile.params, tile.unit_hypers("family"), train_batch(tile), Wanted(), tile.learner_own()
    )
    drawn = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
    names = [spec.name for spec in program.layout.specs if name != "esn" or spec.name.startswith(("w_out", "b_out"))]
    trained = program.layout.mask(names)  # an echo state's loop is fixed
    direction = torch.where(trained, drawn, torch.zeros_like(drawn))
    small = 1e-6
    up, down = (loss_at(pack, tile, tile.params + sign * small * direction) for sign in (1, -1))
    assert_close((learned.gradients * direction).sum(1), (up - down) / (2 * small), 1e-7, "slope")
    lower = [spec.name for spec in program.layout.specs if spec.name.endswith("_l1")]
    assert lower
    if name != "esn":
        assert any(program.layout.view(learned.gradients)[name].any() for name in lower)


def test_sequences_of_different_lengths_are_each_what_they_are_alone() -> None:
    pack = Setup(family=layered(Lstm(5, layers=3)), task=Ragged(), engine="cpu").pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)

    def learned(one):
        return program.learner.learn(program, tile.params, tile.unit_hypers("family"), one, Wanted(), {})

    parts = [learned(one) for _, one in one_by_one(batch)]
    assert_close(learned(batch).gradients, sum(part.gradients for part in parts) / len(parts), 1e-12, "gradients")


@pytest.mark.parametrize(
    ("family", "engine", "gates"),
    [(Srn(8, layers=2), "cpu", True), (Lstm(8, layers=2), "cpu", False), (Gru(8, layers=3), "reference", False)],
)
def test_a_row_is_to_the_bit_what_it_is_alone(family: Family, engine: str, gates: bool) -> None:
    controllers = {"omega": Omega()} | ({"sampling": Sampling()} if gates else {})
    setup = Setup(family=layered(family), engine=engine, dtype=torch.float32, controllers=controllers)
    wide, alone = setup.pack([0, 1, 2, 3, 4]), setup.pack([3])
    for _ in range(2):
        train_rung(wide, 3, 1)
        train_rung(alone, 3, 1)
    assert_same_row(wide.row(3), alone.row(0))


@pytest.mark.parametrize(
    ("name", "family"), [*STACKED, *OWN.items()], ids=[name for name, _ in [*STACKED, *OWN.items()]]
)
def test_a_loaded_network_steps_through_all_layers(name: str, family: type[Family]) -> None:
    one = family() if name in OWN else family(hidden=8)
    setup = Setup(family=layered(replace(one, layers=3)), task=Ragged(every=True), batch=3)
    pack = setup.pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch, hypers = pack.program, train_batch(tile), tile.unit_hypers("family")
    values = program.layout.view(tile.params)
    network = RecurrentNetwork(Parts(program.family, program.readout, 2, True), values, hypers)
    feed = program.family.feed(values, hypers, batch.inputs, batch.lengths, program.engine)
    record = program.engine.forward(
        feed.inputs, program.family.weights(values, hypers), program.activation, batch.lengths
    )
    true = program.family.visible(record.h[0, 1:]) @ values["w_out"][0]
    true = true + values["b_out"][0] if "b_out" in values else true
    with torch.no_grad():
        outputs = network(batch.inputs[0], batch.lengths[0])
        for b, length in enumerate(batch.lengths[0].tolist()):
            assert_close(outputs[-length:, b], true[-length:, b], 1e-12, "outputs")
        state, parts = None, []
        longest = batch.inputs[0, :, :1]
        for t in range(longest.shape[0]):
            out, state = network.stream(longest[t : t + 1], state)
            parts.append(out)
        assert_close(torch.cat(parts)[:, 0], network(longest)[:, 0], 1e-12, "stream")


def test_layers_begin_with_numbers_of_their_own() -> None:
    family = layered(Lstm(4, forget_bias=2.0, layers=2))
    specs = family.parameters(2, 3)
    found = family.initial({}, specs, torch.tensor([rng.key(0, 0, "init")]))
    assert found["b"][0, 4:8].tolist() == found["b_l1"][0, 4:8].tolist() == [2.0] * 4
    esn = dict(STACKED)["esn"]
    family = layered(esn(hidden=6, layers=2))
    found = family.initial({}, family.parameters(6, 3), torch.tensor([rng.key(0, 0, "init")]))
    assert not torch.equal(found["w_rec"], found["w_rec_l1"])


def test_what_cannot_be_stacked_says_why() -> None:
    with pytest.raises(ConfigError, match="cannot be stacked"):
        layered(SrnFeedback(4, layers=2))
    with pytest.raises(ConfigError, match="layers"):
        Srn(4, layers=0)
    with pytest.raises(ConfigError, match="layers"):
        Srn(4, layers=17)
    stacked, task = layered(Srn(4, layers=2)), TemporalOrder(length=20)
    with pytest.raises(ConfigError, match=r"learner\.horizon.*past cuts"):
        Bptt(horizon=5).check_with(layered(MomentumSrn(4, layers=2)), task)
    Bptt(horizon=20).check_with(layered(MomentumSrn(4, layers=2)), task)
    for learner in (Rflo(), Rtrl(), HessianFree()):
        with pytest.raises(ConfigError, match=r"other layers before it|sends errors to one loop"):
            learner.check_with(stacked, task)
    assert Capability.GRAPH not in stacked.capabilities
    assert layered(Srn(4)) == Srn(4)


@pytest.mark.parametrize(
    ("family", "ends"),
    [
        (layered(Enrnn(6, layers=3)), {"1": "_l1", "2": "_l2", "3": ""}),
        (layered(Enrnn(6, bidirectional=True)), {"1": "", "1_reverse": "_reverse"}),
        (Stack(first=Enrnn(6), second=Srn(5), third=Enrnn(8)), {"1": "_l1", "3": ""}),
        (Stack(first=Enrnn(6), second=Gru(5), bidirectional=True), {"1": "_l1", "1_reverse": "_l1_reverse"}),
    ],
    ids=["layers", "both ways", "stack", "stack both ways"],
)
def test_row_state_is_each_loops_own(family: Family, ends: dict[str, str]) -> None:
    """ENRNN latches where a loop's own spectral radius has been above 1; a resumed row goes on with it."""
    assert family.slots == tuple(f"{slot}{end}" for end in ends.values() for slot in ("latched", "tied"))
    setup = Setup(family=family, task=TemporalOrder(length=10), engine="cpu", dtype=torch.float32, sigma=0.7)
    pack = setup.pack([0, 1, 2])
    seen = {end: torch.zeros(3, dtype=torch.bool) for end in ends.values()}
    (_, tile), *_ = tiles(pack)
    for _ in range(4):
        update(tile, tile.tally)
        values = pack.program.layout.view(pack.params)
        for end in ends.values():
            radius = torch.linalg.eigvals(values[f"w_short{end}"].double()).abs().amax(-1)
            seen[end] |= radius > 1
            assert torch.equal(tile.slots[f"family.latched{end}"] > 0, seen[end]), end
    assert {bool(flag) for flags in seen.values() for flag in flags} == {True, False}, "else this shows nothing"
    counted = weights(family, pack.program.layout.view(pack.params), tile.unit_hypers("family"))
    assert {key for key in counted if "tied." in key} == {f"weights/tied.{label}" for label in ends}
    assert ("weights/tied" in counted) is ("" in ends.values())
    alone = setup.pack([1])
    (_, one), *_ = tiles(alone)
    for _ in range(4):
        update(one, one.tally)
    assert torch.equal(pack.params[1], alone.params[0])
    resumed = Pack(alone.program)
    resumed.join([(setup.member(1), alone.row(0))])
    (_, two), *_ = tiles(resumed)
    update(one, one.tally)
    update(two, two.tally)
    assert torch.equal(alone.params, resumed.params)
