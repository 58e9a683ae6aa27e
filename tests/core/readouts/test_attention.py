"""The attention read-out against torch.nn.MultiheadAttention, forward and backward, for both kinds of tasks."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.build import build_units
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.readouts.attention import Attention
from rnnsweep.core.tasks.memorization import Memorization
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import tiles, train_batch, train_rung
from rnnsweep.core.types import Wanted
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, assert_same_row, context_of
from tests.kit.ragged import Ragged, one_by_one

H = 6


def theirs(parts: dict[str, torch.Tensor], states: torch.Tensor, per_step: bool, heads: int) -> torch.Tensor:
    """[T, B, H] of one row -> [T or 1, B, H], by torch."""
    module = torch.nn.MultiheadAttention(H, heads, dtype=torch.float64)
    # of a trained query there is no projection: torch's is the identity
    trained = {"w_query": torch.eye(H, dtype=torch.float64), "b_query": torch.zeros(H, dtype=torch.float64)}
    named, names = trained | parts, ("query", "key", "value")
    values = {
        "in_proj_weight": torch.cat([named[f"w_{name}"].T for name in names]),
        "in_proj_bias": torch.cat([named[f"b_{name}"] for name in names]),
        "out_proj.weight": parts["w_mix"].T,
        "out_proj.bias": parts["b_mix"],
    }
    T = len(states)
    mask = torch.triu(torch.ones(T, T, dtype=torch.bool), 1) if per_step else None
    asked = states if per_step else states[-1:]
    asked = parts["query"].expand_as(asked) if "query" in parts else asked
    return torch.func.functional_call(module, values, (asked, states, states), {"attn_mask": mask})[0]


def plain_states(parts: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    h, found = torch.zeros(inputs.shape[1], H, dtype=torch.float64), []
    for u in inputs:
        h = torch.tanh(u @ parts["w_in"] + h @ parts["w_rec"] + parts["b"])
        found.append(h)
    return torch.stack(found)


@pytest.mark.parametrize("query", ["state", "trained"])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("task", [TemporalOrder(length=(10, 16)), Memorization(length=4)], ids=["last", "every step"])
def test_gradients_of_all_parameters_equal_torch(task, heads, query):
    setup = Setup(
        family=Srn(hidden=H), readout=Attention(heads=heads, query=query), task=task, controllers={}, sigma=0.5
    )
    pack = setup.pack([0, 1])
    tile, context = context_of(pack)
    batch = train_batch(tile)
    ours = pack.program.layout.view(context.gradients)
    for row in range(2):
        length = int(batch.lengths[row])
        live = {key: value[row].clone().requires_grad_() for key, value in context.values.items()}
        seen = theirs(live, plain_states(live, batch.inputs[row][-length:]), task.per_step, heads)
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


@pytest.mark.parametrize("query", ["state", "trained"])
@pytest.mark.parametrize("every", [False, True])
def test_sequences_of_different_lengths_are_each_what_they_are_alone(every, query):
    """And so are their gradients: those of a mini-batch are the mean of theirs, each step with the same weight."""
    pack = Setup(family=Srn(hidden=H), readout=Attention(query=query), task=Ragged(every=every)).pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)

    def learned(one):
        return program.learner.learn(program, tile.params, tile.unit_hypers("family"), one, Wanted(), {})

    parts = [(length if every else 1, learned(one)) for length, one in one_by_one(batch)]
    total = sum(weight for weight, _ in parts)
    mean = sum(weight * part.gradients for weight, part in parts) / total
    torch.testing.assert_close(learned(batch).gradients, mean, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("every", [False, True])
def test_rows_are_the_same_alone_and_packed(every):
    setup = Setup(family=Srn(10), readout=Attention(query="trained"), task=Ragged(every=every), dtype=torch.float32)
    wide, alone = setup.pack([0, 1, 2, 3]), setup.pack([2])
    train_rung(wide, 3, 1)
    train_rung(alone, 3, 1)
    assert_same_row(wide.row(2), alone.row(0))
