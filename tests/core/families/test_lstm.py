"""A pack of one equals torch.nn.LSTM and torch.nn.GRU, forward and backward."""

from __future__ import annotations

import torch

from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from tests.kit.gradients import Parts, assert_equals


def through(module: torch.nn.RNNBase, values: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    """Run a torch module with weights given as live tensors."""
    return torch.func.functional_call(module.double(), values, (inputs,))[0]


def test_lstm_equals_torch():
    def states(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
        module = torch.nn.LSTM(inputs.shape[-1], 7)
        names = {
            "weight_ih_l0": parts["w_in"].T,
            "weight_hh_l0": parts["w_rec"].T,
            "bias_ih_l0": parts["b"],
            "bias_hh_l0": torch.zeros_like(parts["b"]),
        }
        return through(module, names, inputs)

    assert_equals(Lstm(hidden=7), states)


def test_gru_equals_torch():
    def states(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
        hidden_bias = torch.cat((torch.zeros(14, dtype=torch.float64), parts["b_n"]))
        names = {
            "weight_ih_l0": parts["w_in"].T,
            "weight_hh_l0": parts["w_rec"].T,
            "bias_ih_l0": parts["b"],
            "bias_hh_l0": hidden_bias,
        }
        return through(torch.nn.GRU(inputs.shape[-1], 7), names, inputs)

    assert_equals(Gru(hidden=7), states)


def test_forget_bias_is_the_initial_bias_of_the_forget_gate_only():
    family = Lstm(hidden=3, forget_bias=1.5)
    found = family.initial({}, (), torch.zeros(2, dtype=torch.int64))["b"]
    assert found.tolist() == [[0.0] * 3 + [1.5] * 3 + [0.0] * 6] * 2
    assert family.initial({"b": found}, (), torch.zeros(2, dtype=torch.int64)) == {}
