"""A trained row as a plain module: it says what training says, whole or in pieces, alone or among others."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass

import pytest
import torch

from rnnsweep.core import families as package
from rnnsweep.core.families.antisymmetric import Antisymmetric
from rnnsweep.core.families.base import Family, Feed
from rnnsweep.core.families.linoss import LinOss
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.mlstm import Mlstm
from rnnsweep.core.families.momentum_lstm import MomentumLstm
from rnnsweep.core.families.nesterov_lstm import NesterovLstm
from rnnsweep.core.families.nesterov_lstm_diff import NesterovLstmDiff
from rnnsweep.core.families.own import family_of
from rnnsweep.core.families.rate import Rate
from rnnsweep.core.families.sbo import Sbo
from rnnsweep.core.families.slstm import Slstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.network import Parts, RecurrentNetwork
from rnnsweep.core.readout import Readout, read_out
from rnnsweep.core.readouts.attention import Attention
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.rng import Draws
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.errors import ConfigError, RnnsweepError
from tests.kit.covering import covered
from tests.kit.networks import Setup, context_of
from tests.kit.own_cells import branching
from tests.kit.units import concrete

FAMILIES = [kind(hidden=8) for kind in concrete(package, Family)]
VARIANTS = [
    Srn(hidden=8, leak=0.3),
    Srn(hidden=8, activation="oplu"),
    Srn(hidden=8, activation="modrelu", output_bias=False),
    Rate(hidden=8, activation="modrelu"),
    Sbo(hidden=8, method="sgd", coupling="sparse"),
    Sbo(hidden=8, method="heavy_ball", step_size="trained"),
    NesterovLstm(hidden=8, restart=3),
    NesterovLstmDiff(hidden=8, restart=3),
    Antisymmetric(hidden=8, gated=True),
    LinOss(hidden=8, scheme="im"),
    Slstm(hidden=8, heads=2, forget_gate="exp"),
    Mlstm(hidden=8, heads=2),
    family_of(torch.nn.GRUCell)(hidden=8),
    family_of(torch.nn.LSTMCell)(hidden=8),
    family_of(branching)(hidden=8, shapes={"w": ["hidden", "hidden"]}),
]
READOUTS = [Readout(), Attention(heads=2)]
TASKS = [TemporalOrder(length=12), Copying(length=4)]
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def named(unit: object) -> str:
    return repr(unit)


def row(family: Family, task: Task | None = None, readout: Readout | None = None):
    """A program, and a random row of it with its hyperparameters."""
    setup = Setup(family=family, task=task or TemporalOrder(length=12), readout=readout or Readout(), sigma=0.5)
    pack = setup.pack([3])
    tile, context = context_of(pack)
    return pack.program, context.values, tile.unit_hypers("family")


def network_of(program, values, hypers) -> RecurrentNetwork:
    parts = Parts(program.family, program.readout, program.task.n_inputs, program.task.per_step)
    return RecurrentNetwork(parts, values, hypers).eval()


def network(family: Family, **units) -> RecurrentNetwork:
    return network_of(*row(family, **units))


def sequences(steps: int, batch: int = 3, width: int = 6) -> torch.Tensor:
    return torch.randn(steps, batch, width, dtype=torch.float64, generator=torch.Generator().manual_seed(steps))


@covered(family=FAMILIES + VARIANTS, readout=READOUTS, task=TASKS)
def test_outputs_are_those_of_the_training_program(family, readout, task):
    """The same batch through the engine, as an evaluation does it: `core.evaluation`."""
    program, values, hypers = row(family, task, readout)
    batch = task.batch(
        Draws(torch.tensor([5]), torch.arange(4)[None], torch.zeros(1, dtype=torch.int64), torch.float64)
    )
    weights, fed = (
        family.weights(values, hypers),
        family.feed(values, hypers, batch.inputs, batch.lengths, ReferenceEngine()).inputs,
    )
    record = program.engine.forward(fed, weights, program.activation, batch.lengths)
    seen = readout.see(values, family.visible(record.h), batch.lengths, task.per_step)
    theirs = read_out(task, values, seen.states, batch, program.engine, gradients=False).outputs[0]
    start = batch.inputs.shape[1] - int(batch.lengths)
    ours = network_of(program, values, hypers)
    whole = ours(batch.inputs[0], batch.lengths.expand(4))
    cut = ours(batch.inputs[0, start:])
    if task.per_step:
        theirs, whole = theirs[start:], whole[start:]
    torch.testing.assert_close(whole, theirs, **EXACT)
    torch.testing.assert_close(cut, theirs, **EXACT)


@pytest.mark.parametrize("family", FAMILIES + VARIANTS, ids=named)
def test_a_hundred_steps_are_two_halves_are_a_hundred_calls(family):
    ours, x = network(family, task=Copying(length=4)), sequences(100, width=10)
    at_once, last = ours.stream(x)
    torch.testing.assert_close(ours(x), at_once, **EXACT)
    for size in (50, 1):
        state, pieces = None, []
        for piece in x.split(size):
            y, state = ours.stream(piece, state)
            pieces.append(y)
        torch.testing.assert_close(torch.cat(pieces), at_once, **EXACT)
        torch.testing.assert_close(state, last, **EXACT)


@pytest.mark.parametrize("readout", READOUTS, ids=named)
@pytest.mark.parametrize("family", [Srn(hidden=8), Rate(hidden=8), NesterovLstm(hidden=8, restart=3)], ids=named)
def test_a_sequence_among_longer_ones_is_what_it_is_alone(family, readout):
    ours, x, lengths = network(family, readout=readout), sequences(9), torch.tensor([9, 4, 1])
    for index, length in enumerate(lengths.tolist()):
        x[: 9 - length, index] = float("nan")  # what stands before a sequence's start has no effect
    together = ours(x, lengths)
    for index, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(together[index], ours(x[9 - length :, index : index + 1])[0], **EXACT)


def test_a_plain_module_by_all_that_one_does_with_it():
    ours, x = network(MomentumLstm(hidden=8)), sequences(7)
    other = copy.deepcopy(ours)
    for parameter in other.parameters():
        parameter.zero_()
    assert not torch.equal(other(x), ours(x))
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), ours(x))
    single = copy.deepcopy(ours).to(torch.float32)
    assert single(x).dtype is torch.float32
    torch.testing.assert_close(single(x).double(), ours(x), rtol=1e-4, atol=1e-5)
    assert torch.equal(single.to(torch.float64).train().eval()(x).float().double(), single(x).float().double())


def test_parameters_can_be_thawed_and_what_a_map_made_stays():
    ours = network(next(kind for kind in FAMILIES if type(kind).__name__ == "Scornn"))
    assert "w_rec" in dict(ours.named_buffers()) and "w_in" in dict(ours.named_parameters())
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    ours.requires_grad_()
    ours(sequences(5)).sum().backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())


@dataclass(frozen=True)
class Halved(Lstm):
    """A family with a filter that is known over whole sequences only."""

    def feed(self, values, hypers, inputs, lengths, engine):
        return Feed(inputs / 2)


@dataclass(frozen=True)
class Silent(MomentumLstm):
    """One that changes the filter, but not its form for one step."""

    def feed(self, values, hypers, inputs, lengths, engine):
        return super().feed(values, hypers, inputs * 0, lengths, engine)


@pytest.mark.parametrize("family", [Halved(hidden=8), Silent(hidden=8)], ids=named)
def test_a_filter_of_ones_own_runs_on_whole_sequences(family):
    ours, plain = network(family), network(Lstm(hidden=8) if type(family) is Halved else MomentumLstm(hidden=8))
    x = sequences(6)
    torch.testing.assert_close(ours(x), plain(x / 2 if type(family) is Halved else x * 0), **EXACT)
    with pytest.raises(RnnsweepError, match="filters whole sequences"):
        ours.stream(x)


def test_what_looks_back_is_not_taken_in_pieces():
    with pytest.raises(RnnsweepError, match="looks back over all steps"):
        network(Srn(hidden=8), readout=Attention(heads=2)).stream(sequences(3))


def test_wrong_states_and_lengths_are_named():
    ours, x = network(Lstm(hidden=8)), sequences(4)
    with pytest.raises(ConfigError, match=r"state=\[3, 8\].*\[B, 16\]"):
        ours.stream(x, torch.zeros(3, 8))
    for wrong in ([4, 4], [0, 1, 2], [5, 1, 1], [1.0, 2.0, 3.0]):
        with pytest.raises(ConfigError, match=r"lengths=.*1\.\.4"):
            ours(x, torch.tensor(wrong))
