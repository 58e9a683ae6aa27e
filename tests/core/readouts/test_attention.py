"""The attention read-out against torch.nn.MultiheadAttention, forward and backward, for both kinds of tasks."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.build import build_units
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.readouts.attention import Attention
from rnnsweep.core.tasks.memorization import Memorization
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_batch
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, context_of

H, HEADS = 6, 3


def theirs(parts: dict[str, torch.Tensor], states: torch.Tensor, per_step: bool) -> torch.Tensor:
    """[T, B, H] of one row -> [T or 1, B, H], by torch."""
    module = torch.nn.MultiheadAttention(H, HEADS, dtype=torch.float64)
    names = ("query", "key", "value")
    values = {
        "in_proj_weight": torch.cat([parts[f"w_{name}"].T for name in names]),
        "in_proj_bias": torch.cat([parts[f"b_{name}"] for name in names]),
        "out_proj.weight": parts["w_mix"].T,
        "out_proj.bias": parts["b_mix"],
    }
    T = len(states)
    mask = torch.triu(torch.ones(T, T, dtype=torch.bool), 1) if per_step else None
    asked = states if per_step else states[-1:]
    return torch.func.functional_call(module, values, (asked, states, states), {"attn_mask": mask})[0]


def plain_states(parts: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    h, found = torch.zeros(inputs.shape[1], H, dtype=torch.float64), []
    for u in inputs:
        h = torch.tanh(u @ parts["w_in"] + h @ parts["w_rec"] + parts["b"])
        found.append(h)
    return torch.stack(found)


@pytest.mark.parametrize("task", [TemporalOrder(length=(10, 16)), Memorization(length=4)], ids=["last", "every step"])
def test_gradients_of_all_parameters_equal_torch(task):
    setup = Setup(family=Srn(hidden=H), readout=Attention(heads=HEADS), task=task, controllers={}, sigma=0.5)
    pack = setup.pack([0, 1])
    tile, context = context_of(pack)
    batch = train_batch(tile)
    ours = pack.program.layout.view(context.gradients)
    for row in range(2):
        length = int(batch.lengths[row])
        live = {key: value[row].clone().requires_grad_() for key, value in context.values.items()}
        seen = theirs(live, plain_states(live, batch.inputs[row][-length:]), task.per_step)
        y = seen @ live["w_out"] + live["b_out"]
        targets = batch.targets[row][-length:] if task.per_step else batch.targets[row][None]
        torch.nn.functional.cross_entropy(y.flatten(0, 1), targets.flatten()).backward()
        for key, value in live.items():
            torch.testing.assert_close(
                ours[key][row], value.grad, rtol=1e-11, atol=1e-12, msg=lambda m, k=key: f"{k}: {m}"
            )


def test_heads_must_divide_the_states():
    with pytest.raises(ConfigError, match=r"readout\.heads"):
        Attention(heads=2).parameters(7)


def test_variants_that_need_the_plain_graph_are_refused(tmp_path):
    from rnnsweep.app.config.load import load

    for extra in (
        ["family=lstm", "+controllers=sampling"],
        ["readout=attention", "+controllers=omega", "controllers.omega.gradient=full"],
    ):
        with pytest.raises(ConfigError, match="needs"):
            load(None, ["name=t", *extra], store=tmp_path)
    config = load(None, ["name=t", "readout=attention", "family=gru", "+controllers=omega"], store=tmp_path)
    assert isinstance(build_units(config.resolved).readout, Attention)
