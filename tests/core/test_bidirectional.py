"""Networks that read sequences from both ends, and layers that add; oracles: torch.nn's modules, finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.families.base import Family
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.families.srn_feedback import SrnFeedback
from rnnsweep.core.layered import layered
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.learners.hessian_free import HessianFree
from rnnsweep.core.learners.rflo import Rflo
from rnnsweep.core.learners.rtrl import Rtrl
from rnnsweep.core.learners.teacher_forcing import TeacherForcing
from rnnsweep.core.loops import loops_of, run
from rnnsweep.core.network import Parts, RecurrentNetwork
from rnnsweep.core.pack import Pack
from rnnsweep.core.readout import Readout
from rnnsweep.core.readouts.attention import Attention
from rnnsweep.core.readouts.pooling import Pooling
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import tiles, train_batch, train_rung
from rnnsweep.core.types import Batch, Wanted
from rnnsweep.core.wires import places_of
from rnnsweep.errors import ConfigError, RnnsweepError
from tests.contract.test_engines import assert_close
from tests.core.families.test_own import FAMILIES as OWN
from tests.core.test_layered import OURS, STACKED, TORCH
from tests.kit.covering import covered, covering
from tests.kit.networks import Setup, assert_same_row, loss_at
from tests.kit.ragged import Ragged, one_by_one

USUAL = ("srn", "lstm", "gru", "momentum_srn", "lru", *OWN)
F64 = torch.float64
FORMS = [
    {"bidirectional": True},
    {"layers": 2, "bidirectional": True},
    {"layers": 2, "residual": True},
    {"layers": 2, "widths": (6, 4)},
]
ALL_AT_ONCE = {"layers": 3, "bidirectional": True, "residual": True}
WIDTHS = {"layers": 2, "bidirectional": True, "widths": (4, 6)}
READOUTS = [Readout(), Pooling(), Pooling(kind="max"), Attention()]
KINDS = [*STACKED, *OWN.items()]
SHAPES = [*FORMS, ALL_AT_ONCE, WIDTHS]
PAIRS = covering([len(KINDS), len(SHAPES), 2])
CASES = [
    pytest.param(name, kind, form, every, id=f"{name}-{form}-{'every' if every else 'end'}", marks=marks)
    for i, (name, kind) in enumerate(KINDS)
    for j, form in enumerate(SHAPES)
    for every in (False, True)
    for quick in [() if name in USUAL and not every else pytest.mark.slow]
    # a loss of every step differs from one of the last in the read-out, which knows no families
    for marks in [quick if (i, j, every) in PAIRS or name in ("srn", "lstm") else pytest.mark.study]
]


def learned(pack: Pack, batch: Batch | None = None):
    (_, tile), *_ = tiles(pack)
    batch = train_batch(tile) if batch is None else batch
    program = pack.program
    return program.learner.learn(program, tile.params, tile.unit_hypers("family"), batch, Wanted(), tile.learner_own())


def torchs(name: str, values: dict[str, torch.Tensor], inputs: int, hidden: int, layers: int) -> torch.nn.Module:
    """torch's bidirectional module with our parameters of row 0; of its two biases the first one is ours."""
    module = TORCH[name](inputs, hidden, num_layers=layers, bidirectional=True, dtype=F64)
    with torch.no_grad():
        for theirs, ours in names(layers).items():
            value = values[ours][0]
            getattr(module, theirs).copy_(value.T if value.ndim == 2 else value)
        for layer in range(layers):
            for way in ("", "_reverse"):
                inner = getattr(module, f"bias_hh_l{layer}{way}").zero_()
                if name == "gru":
                    end = "" if layer == layers - 1 else f"_l{layer + 1}"
                    inner[2 * hidden :] = values[f"b_n{end}{way}"][0]
    return module


def names(layers: int) -> dict[str, str]:
    """torch's names of the parameters that both have -> ours."""
    kinds = {"weight_hh": "w_rec", "weight_ih": "w_in", "bias_ih": "b"}
    places = [(layer, "" if layer == layers - 1 else f"_l{layer + 1}") for layer in range(layers)]
    return {
        f"{theirs}_l{layer}{way}": f"{ours}{end}{way}"
        for layer, end in places
        for way in ("", "_reverse")
        for theirs, ours in kinds.items()
    }


def packed_run(module: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """torch's output [T, B, 2H] and h_n of the last layer [B, 2H] of ragged sequences, right-aligned as ours."""
    T, lengths = batch.inputs.shape[1], batch.lengths[0].tolist()
    alone = [batch.inputs[0, T - length :, b] for b, length in enumerate(lengths)]
    packed = torch.nn.utils.rnn.pack_sequence(alone, enforce_sorted=False)
    outputs, last = module(packed)
    h = last[0] if isinstance(last, tuple) else last
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs)
    right = [torch.nn.functional.pad(padded[:n, b], (0, 0, T - n, 0)) for b, n in enumerate(lengths)]
    return torch.stack(right, 1), torch.cat((h[-2], h[-1]), -1)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("every", [False, True], ids=["end", "every"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", list(TORCH))
def test_a_pack_of_one_is_torchs_bidirectional_module(name: str, layers: int, every: bool, engine: str) -> None:
    hidden, task = 5, Ragged(every=every)
    pack = Setup(family=layered(OURS[name](hidden, layers=layers, bidirectional=True)), task=task, engine=engine).pack(
        [0]
    )
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    values = program.layout.view(tile.params)
    module = torchs(name, values, 2, hidden, layers)
    outputs, h_n = packed_run(module, batch)
    seen = (outputs if every else h_n) @ values["w_out"][0] + values["b_out"][0]
    if every:
        counted = torch.arange(7)[:, None] >= 7 - batch.lengths[0]
        loss = torch.nn.functional.cross_entropy(seen[counted], batch.targets[0][counted])
    else:
        loss = torch.nn.functional.cross_entropy(seen, batch.targets[0])
    loss.backward()
    got = learned(pack)
    assert_close(got.loss[0], loss.detach(), 1e-12, "loss")
    gradients = program.layout.view(got.gradients)
    for theirs, ours in names(layers).items():
        true = getattr(module, theirs).grad
        assert_close(gradients[ours][0], true.T if true.ndim == 2 else true, 1e-12, ours)
        assert true.abs().max() > 1e-9
    found = run(loops_of(program.wires, values, tile.unit_hypers("family")), batch)
    own = (torch.arange(7)[:, None] >= 7 - batch.lengths[0])[..., None]
    assert_close(torch.where(own, found.states[0, 1:], 0.0), outputs.detach(), 1e-12, "outputs")
    assert_close(found.see(Readout(), values, per_step=False).states[0, -1], h_n.detach(), 1e-12, "h_n")


@pytest.mark.parametrize(("name", "family", "form", "every"), CASES)
def test_gradients_are_central_differences_for_every_family(
    name: str, family: type[Family], form: dict, every: bool
) -> None:
    one = family() if name in OWN else family(hidden=4)
    setup = Setup(family=layered(replace(one, **form)), task=Ragged(every=every, length=5), batch=4, sigma=0.8)
    pack = setup.pack([0])
    (_, tile), *_ = tiles(pack)
    program = pack.program
    gradients = learned(pack).gradients
    drawn = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
    trained = [spec.name for spec in program.layout.specs if name != "esn" or spec.name.startswith(("w_out", "b_out"))]
    direction = torch.where(program.layout.mask(trained), drawn, torch.zeros_like(drawn))
    small = 1e-5  # five points: three leave 1e-7 of the blocks' third derivatives
    losses = [loss_at(pack, tile, tile.params + by * small * direction) for by in (1, -1, 2, -2)]
    slope = (8 * (losses[0] - losses[1]) - (losses[2] - losses[3])) / (12 * small)
    assert_close((gradients * direction).sum(1), slope, 1e-7, "slope")
    reverse = [spec.name for spec in program.layout.specs if spec.name.endswith("_reverse")]
    assert bool(reverse) == form.get("bidirectional", False)
    if name != "esn":
        assert not reverse or any(program.layout.view(gradients)[one].any() for one in reverse)


@pytest.mark.parametrize("readout", READOUTS, ids=str)
@pytest.mark.parametrize("every", [False, True], ids=["end", "every"])
def test_read_outs_have_the_gradients_of_central_differences(readout: Readout, every: bool) -> None:
    family = layered(Lstm(3, **ALL_AT_ONCE))
    pack = Setup(family=family, task=Ragged(every=every, length=5), readout=readout, sigma=0.8).pack([0])
    (_, tile), *_ = tiles(pack)
    direction = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
    up, down = (loss_at(pack, tile, tile.params + sign * 1e-6 * direction) for sign in (1, -1))
    assert_close((learned(pack).gradients * direction).sum(1), (up - down) / 2e-6, 1e-7, "slope")


@pytest.mark.parametrize("layers", [2, 3])
def test_residual_layers_are_torchs_modules_added_by_hand(layers: int) -> None:
    hidden = 5
    pack = Setup(family=layered(Gru(hidden, layers=layers, residual=True)), task=TemporalOrder(length=10)).pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    values = {name: value[0].clone().requires_grad_() for name, value in program.layout.view(tile.params).items()}
    shown = batch.inputs[0]
    for layer in range(1, layers + 1):
        end = "" if layer == layers else f"_l{layer}"
        module = torch.nn.GRU(shown.shape[-1], hidden, dtype=F64)
        inner = torch.cat((torch.zeros(2 * hidden, dtype=F64), values["b_n" + end]))
        own = {"weight_hh_l0": values["w_rec" + end].T, "weight_ih_l0": values["w_in" + end].T}
        own |= {"bias_ih_l0": values["b" + end], "bias_hh_l0": inner}
        h = torch.func.functional_call(module, own, (shown,))[0]
        shown = h if layer == 1 else h + shown
    loss = torch.nn.functional.cross_entropy(shown[-1] @ values["w_out"] + values["b_out"], batch.targets[0])
    loss.backward()
    got = learned(pack)
    assert_close(got.loss[0], loss.detach(), 1e-12, "loss")
    for name, value in program.layout.view(got.gradients).items():
        assert_close(value[0], values[name].grad, 1e-12, name)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("name", list(TORCH))
def test_widths_are_those_of_torchs_modules_wired_by_hand(name: str, engine: str) -> None:
    widths = (5, 3, 4)
    family = layered(OURS[name](9, layers=3, widths=widths))
    pack = Setup(family=family, task=TemporalOrder(length=10), engine=engine).pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    assert {one.name for one in program.engines} == {engine}
    values = {name: value[0].clone().requires_grad_() for name, value in program.layout.view(tile.params).items()}
    shown = batch.inputs[0]
    for layer, width in enumerate(widths, 1):
        end = "" if layer == 3 else f"_l{layer}"
        module = TORCH[name](shown.shape[-1], width, dtype=F64)
        inner = torch.zeros_like(values["b" + end])
        inner = torch.cat((inner[: 2 * width], values["b_n" + end])) if name == "gru" else inner
        own = {"weight_hh_l0": values["w_rec" + end].T, "weight_ih_l0": values["w_in" + end].T}
        own |= {"bias_ih_l0": values["b" + end], "bias_hh_l0": inner}
        shown = torch.func.functional_call(module, own, (shown,))[0]
    loss = torch.nn.functional.cross_entropy(shown[-1] @ values["w_out"] + values["b_out"], batch.targets[0])
    loss.backward()
    got = learned(pack)
    assert_close(got.loss[0], loss.detach(), 1e-12, "loss")
    for key, value in program.layout.view(got.gradients).items():
        assert_close(value[0], values[key].grad, 1e-12, key)


@pytest.mark.parametrize("family", [Srn(4, **ALL_AT_ONCE), Gru(4, layers=2, bidirectional=True)], ids=str)
def test_sequences_of_different_lengths_are_each_what_they_are_alone(family: Family) -> None:
    pack = Setup(family=layered(family), task=Ragged(), engine="cpu").pack([0])
    (_, tile), *_ = tiles(pack)
    batch = train_batch(tile)
    parts = [learned(pack, one) for _, one in one_by_one(batch)]
    whole = sum(part.gradients for part in parts) / len(parts)
    assert_close(learned(pack, batch).gradients, whole, 1e-12, "gradients")


@pytest.mark.parametrize(
    ("family", "engine", "sampled"),
    [
        (Srn(8, bidirectional=True), "cpu", True),
        (Lstm(8, **ALL_AT_ONCE), "cpu", False),
        (Gru(8, layers=2, residual=True), "reference", False),
        (Gru(8, layers=2, widths=(8, 5)), "cpu", False),
    ],
)
def test_a_row_is_to_the_bit_what_it_is_alone(family: Family, engine: str, sampled: bool) -> None:
    controllers = {"omega": Omega()} | ({"sampling": Sampling()} if sampled else {})
    setup = Setup(family=layered(family), engine=engine, dtype=torch.float32, controllers=controllers)
    wide, alone = setup.pack([0, 1, 2, 3, 4]), setup.pack([3])
    for _ in range(2):
        train_rung(wide, 3, 1)
        train_rung(alone, 3, 1)
    assert_same_row(wide.row(3), alone.row(0))
    restored, other = setup.pack([0]), setup.pack([3])
    train_rung(other, 3, 1)
    restored.join([(setup.member(3), other.row(0))])
    train_rung(restored, 3, 1)
    assert_same_row(restored.row(1), alone.row(0))


def test_passes_are_one_per_loop_in_a_fixed_order() -> None:
    pack = Setup(family=layered(Srn(4, layers=2, bidirectional=True))).pack([0])
    (_, tile), *_ = tiles(pack)
    want, program = Wanted(trace=True), pack.program
    found = program.learner.learn(program, tile.params, tile.unit_hypers("family"), train_batch(tile), want, {})
    assert [one.loop.place.label for one in found.passes] == ["1", "1_reverse", "2", "2_reverse"]
    assert found.trace is found.passes[2].trace is not None
    assert [place.name("b") for place in places_of(program.family)] == ["b_l1", "b_l1_reverse", "b", "b_reverse"]


@covered(
    name=["srn", "lstm", "lru", "momentum_lstm", "nesterov_lstm", "sbo"],
    form=[*FORMS, ALL_AT_ONCE, WIDTHS],
    every=[False, True],
    readout=READOUTS,
)
def test_a_loaded_network_answers_as_the_program(name: str, form: dict, every: bool, readout: Readout) -> None:
    family = layered(replace(dict(STACKED)[name](hidden=4), **form))
    pack = Setup(family=family, task=Ragged(every=every, length=5), readout=readout).pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch, hypers = pack.program, train_batch(tile), tile.unit_hypers("family")
    values = program.layout.view(tile.params)
    network = RecurrentNetwork(Parts(program.family, readout, 2, every), values, hypers)
    found = run(loops_of(program.wires, values, hypers), batch)
    seen = found.see(readout, values, per_step=every).states[0]
    true = (seen[1:] if every else seen[-1]) @ values["w_out"][0] + values["b_out"][0]
    with torch.no_grad():
        outputs = network(batch.inputs[0], batch.lengths[0])
        own = (torch.arange(5)[:, None] >= 5 - batch.lengths[0])[..., None] if every else torch.tensor(True)
        assert_close(torch.where(own, outputs, 0.0), torch.where(own, true, 0.0), 1e-12, "outputs")
        full = batch.inputs[0, :, :1]
        whole = network(full)
        assert_close(whole, network(full, torch.tensor([5])), 1e-12, "without lengths")
        if family.bidirectional:
            with pytest.raises(RnnsweepError, match="both ends" if readout.carries else "looks back"):
                network.stream(full)
        elif readout.carries:
            steps, state = [], None
            for t in range(5):
                out, state = network.stream(full[t : t + 1], state)
                steps.append(out)
            assert_close(torch.cat(steps) if every else steps[-1], whole, 1e-12, "stream")


def test_what_cannot_be_says_why() -> None:
    with pytest.raises(ConfigError, match=r"family\.bidirectional.*cannot read sequences both ways"):
        layered(SrnFeedback(4, bidirectional=True))
    two, task = layered(Srn(4, bidirectional=True)), TemporalOrder(length=20)
    with pytest.raises(ConfigError, match=r"learner\.horizon.*both ends"):
        Bptt(horizon=5).check_with(two, task)
    for learner in (Rflo(), Rtrl(), HessianFree()):
        with pytest.raises(ConfigError, match=r"both ends|sends errors to one loop"):
            learner.check_with(two, task)
    for family in (two, layered(Srn(4, layers=2, residual=True))):
        with pytest.raises(ConfigError, match="sets states of one loop"):
            TeacherForcing(units=(0, 1)).check_with(family, Ragged(every=True))
    with pytest.raises(ConfigError, match=r"family\.bidirectional"):
        Srn(4, bidirectional="yes")  # pyright: ignore[reportArgumentType]
    for wrong in ((4,), (4, 5, 6), 4, (4, 0), (4, 2.5), "4/x", "4"):
        with pytest.raises(ConfigError, match=r"family\.widths"):
            layered(Lstm(4, layers=2, widths=wrong))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"family\.widths.*even"):
        layered(Srn(4, "oplu", layers=2, widths=(4, 5)))
    with pytest.raises(ConfigError, match=r"family\.residual.*different widths"):
        layered(Lstm(4, layers=2, widths=(4, 5), residual=True))
    assert layered(Lstm(4, widths=(7,))) == Lstm(7)
    # what says something of masks is unread where there are none
    masks = {"variational": "neither dropout nor input_dropout or output_dropout"}
    assert Lstm(4, layers=2, widths=(4, 5)).unread() == masks | {"hidden": "widths=4/5"}
    assert layered(Lstm(9, layers=2, widths="4/5")) == layered(Lstm(3, layers=2, widths=(4, 5)))
    assert Srn(4, residual=True).unread() == masks | {"residual": "layers=1", "dropout": "layers=1"}
    assert Srn(4, layers=2, residual=True).unread() == masks
