"""The read-out with hidden layers against torch.nn.Sequential, forward and backward; its sizes and its rows."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.rtrl import Rtrl
from rnnsweep.core.network import Parts, RecurrentNetwork
from rnnsweep.core.readouts.mlp import Mlp
from rnnsweep.core.training import tiles, train_batch, train_rung
from rnnsweep.core.types import Wanted
from rnnsweep.errors import ConfigError
from tests.contract.test_engines import assert_close
from tests.core.test_layered import torch_module
from tests.kit.networks import Setup, assert_same_row
from tests.kit.ragged import Ragged, one_by_one

H = 6
FUNCTIONS = {
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
    "relu": torch.nn.ReLU,
    "leaky_relu": torch.nn.LeakyReLU,
    "elu": torch.nn.ELU,
}


def sequential(values: dict[str, torch.Tensor], widths: tuple[int, ...], activation: str) -> torch.nn.Sequential:
    """torch's modules with the numbers of row 0."""
    names = [(f"w_mlp{i}", f"b_mlp{i}") for i in range(1, len(widths) + 1)] + [("w_out", "b_out")]
    modules: list[torch.nn.Module] = []
    for weight, bias in names:
        linear = torch.nn.Linear(*values[weight].shape[1:], dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(values[weight][0].T)
            linear.bias.copy_(values[bias][0])
        modules += [linear, FUNCTIONS[activation]()]
    return torch.nn.Sequential(*modules[:-1])


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(("hidden", "activation"), [(7, "relu"), ((7, 3), "tanh"), (4, "sigmoid"), ((5, 5, 2), "elu"),
                                                    ([9], "leaky_relu")])  # fmt: skip
def test_gradients_of_all_parameters_are_torchs(hidden, activation: str, every: bool) -> None:
    readout = Mlp(hidden=hidden, activation=activation)
    pack = Setup(Lstm(H), Ragged(every=every), readout=readout, sigma=0.6, engine="cpu").pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    values = program.layout.view(tile.params)
    lstm, head = torch_module("lstm", values, 2, H, 1), sequential(values, readout.widths, activation)
    costs = []
    for _, one in one_by_one(batch):
        h = lstm(one.inputs[0])[0][:, 0]
        y = head(h if every else h[-1:])
        costs.append(torch.nn.functional.cross_entropy(y, one.targets[0].flatten(), reduction="sum"))
    loss = torch.stack(costs).sum() / (batch.lengths.sum() if every else batch.lengths.numel())
    loss.backward()
    learned = program.learner.learn(program, tile.params, tile.unit_hypers("family"), batch, Wanted(), {})
    assert_close(learned.loss[0], loss.detach(), 1e-12, "loss")
    ours = program.layout.view(learned.gradients)
    linears = [module for module in head if isinstance(module, torch.nn.Linear)]
    names = [f"mlp{i}" for i in range(1, len(linears))] + ["out"]
    for name, linear in zip(names, linears, strict=True):
        assert_close(ours[f"w_{name}"][0], linear.weight.grad.T, 1e-12, name)
        assert_close(ours[f"b_{name}"][0], linear.bias.grad, 1e-12, name)
    for theirs, name in {"weight_hh": "w_rec", "weight_ih": "w_in"}.items():
        assert_close(ours[name][0], getattr(lstm, f"{theirs}_l0").grad.T, 1e-12, name)


@pytest.mark.parametrize("every", [False, True])
def test_rows_are_the_same_alone_and_packed(every: bool) -> None:
    setup = Setup(Srn(9), Ragged(every=every), readout=Mlp(hidden=(33, 7)), dtype=torch.float32, engine="cpu")
    wide, alone = setup.pack([0, 1, 2, 3, 4]), setup.pack([2])
    for _ in range(2):
        train_rung(wide, 3, 1)
        train_rung(alone, 3, 1)
    assert_same_row(wide.row(2), alone.row(0))


def test_a_rule_of_single_steps_gives_the_gradient_of_backpropagation() -> None:
    gradients = []
    for options in ({}, {"learner": Rtrl()}):
        pack = Setup(Srn(H), Ragged(every=True), readout=Mlp(hidden=5, activation="tanh"), **options).pack([0])
        (_, tile), *_ = tiles(pack)
        program = pack.program
        learned = program.learner.learn(
            program, tile.params, tile.unit_hypers("family"), train_batch(tile), Wanted(), tile.learner_own()
        )
        gradients.append(learned.gradients)
    assert_close(gradients[0], gradients[1], 1e-11, "gradients")


def test_a_network_goes_on_from_a_state() -> None:
    pack = Setup(Lstm(H), Ragged(every=True), readout=Mlp(hidden=5)).pack([0])
    (_, tile), *_ = tiles(pack)
    values = pack.program.layout.view(tile.params)
    network = RecurrentNetwork(Parts(pack.program.family, pack.program.readout, 2, True), values, {})
    x = torch.randn(9, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        lstm, head = torch_module("lstm", values, 2, H, 1), sequential(values, (5,), "relu")
        true = head(lstm(x)[0])
        state, parts = None, []
        for piece in x.split(2):
            out, state = network.stream(piece, state)
            parts.append(out)
        assert_close(network(x), true, 1e-12, "whole")
        assert_close(torch.cat(parts), true, 1e-12, "stream")


def test_the_linear_map_has_the_size_of_what_it_sees() -> None:
    layout = Setup(Srn(H), readout=Mlp(hidden=(7, 3))).program().layout
    shapes = {spec.name: spec.shape for spec in layout.specs}
    assert shapes["w_out"] == (3, 4)
    assert shapes["w_mlp1"] == (H, 7)
    assert shapes["w_mlp2"] == (7, 3)


@pytest.mark.parametrize("hidden", [0, -3, 2.5, [], [4, 0], "wide", None, True])
def test_widths_are_whole_numbers(hidden) -> None:
    with pytest.raises(ConfigError, match=r"readout\.hidden.*a whole number >= 1 and <= 8192, or a list of such"):
        Mlp(hidden=hidden)


def test_a_number_written_as_a_float_is_whole() -> None:
    assert Mlp(hidden=16.0).widths == (16,)
    assert Mlp(hidden=[16.0, 4]) == Mlp(hidden=(16, 4))
    assert isinstance(Mlp(hidden=16.0).hidden, int)
