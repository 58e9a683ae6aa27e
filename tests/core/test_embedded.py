"""Every family behind an embedding; oracles: finite differences, and the family on the vectors themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core.controllers.gradient_flossing import GradientFlossing, lyapunov_spectrum
from rnnsweep.core.controllers.omega import Omega, omega_of
from rnnsweep.core.embedded import embedded, plain
from rnnsweep.core.embedding import look_up
from rnnsweep.core.embeddings.learned import LearnedEmbedding
from rnnsweep.core.families.base import Family, Feed
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.families.srn_feedback import SrnFeedback
from rnnsweep.core.layered import layered
from rnnsweep.core.learners.teacher_forcing import TeacherForcing
from rnnsweep.core.network import Parts, RecurrentNetwork
from rnnsweep.core.recurrence.unrolled import Unrolled
from rnnsweep.core.training import tiles, train_batch
from rnnsweep.core.types import Wanted
from rnnsweep.errors import ConfigError
from tests.contract.test_engines import assert_close
from tests.contract.test_rows import found
from tests.core.families.test_own import FAMILIES as OWN
from tests.core.test_layered import ALONE
from tests.kit.networks import Setup, context_of, loss_at
from tests.kit.ragged import RaggedSymbols

F64 = torch.float64
TABLES = LearnedEmbedding(size=4)
KINDS = [(name, cls) for name, cls, _ in found("family")]
CASES = [
    (name, layers, cls) for name, cls in [*KINDS, *OWN.items()] for layers in (1, 2) if layers == 1 or name not in ALONE
]
EVERY = pytest.mark.parametrize(("name", "layers", "family"), CASES, ids=[f"{n}-{layers}" for n, layers, _ in CASES])


def pack_of(name: str, layers: int, family: type[Family], **options):
    one = family() if name in OWN else family(hidden=8)
    one = layered(replace(one, layers=layers)) if layers > 1 else one
    setup = Setup(family=one, task=RaggedSymbols(every=True), batch=3, sigma=0.8, embedding=TABLES, **options)
    return setup.pack([0])


@EVERY
def test_gradients_are_central_differences(name: str, layers: int, family: type[Family]) -> None:
    pack = pack_of(name, layers, family)
    (_, tile), *_ = tiles(pack)
    program, small = pack.program, 1e-6
    hypers = tile.unit_hypers("family")
    learned = program.learner.learn(program, tile.params, hypers, train_batch(tile), Wanted(), tile.learner_own())
    for names in (["embedding"], [spec.name for spec in program.layout.specs]):
        if name == "esn" and len(names) > 1:
            names = ["embedding", "w_out", "b_out"]  # an echo state's loop is fixed
        on = program.layout.mask(names)
        drawn = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
        direction = torch.where(on, drawn, torch.zeros_like(drawn))
        up, down = (loss_at(pack, tile, tile.params + sign * small * direction) for sign in (1, -1))
        assert_close((learned.gradients * direction).sum(1), (up - down) / (2 * small), 1e-7, "slope")
    assert program.layout.view(learned.gradients)["embedding"].abs().max() > 1e-8


@EVERY
def test_a_loaded_network_takes_codes_step_by_step(name: str, layers: int, family: type[Family]) -> None:
    pack = pack_of(name, layers, family)
    (_, tile), *_ = tiles(pack)
    program, batch, hypers = pack.program, train_batch(tile), tile.unit_hypers("family")
    values = program.layout.view(tile.params)
    network = RecurrentNetwork(Parts(program.family, program.readout, 5, True, TABLES), values, hypers)
    feed = program.family.feed(values, hypers, batch.inputs, batch.lengths, program.engine)
    weights = program.family.weights(values, hypers)
    record = program.engine.forward(feed.inputs, weights, program.activation, batch.lengths)
    true = program.family.visible(record.h[0, 1:]) @ values["w_out"][0]
    true = true + values["b_out"][0] if "b_out" in values else true
    with torch.no_grad():
        outputs = network(batch.inputs[0], batch.lengths[0])
        for b, length in enumerate(batch.lengths[0].tolist()):
            assert_close(outputs[-length:, b], true[-length:, b], 1e-12, "outputs")
        state, parts, longest = None, [], batch.inputs[0, :, :1]
        for t in range(len(longest)):
            out, state = network.stream(longest[t : t + 1], state)
            parts.append(out)
        assert_close(torch.cat(parts)[:, 0], network(longest)[:, 0], 1e-12, "stream")


def test_what_is_looked_up_is_what_the_family_sees() -> None:
    pack = pack_of("srn", 1, Srn)
    (_, tile), *_ = tiles(pack)
    family, batch = pack.program.family, train_batch(tile)
    values, hypers = pack.program.layout.view(tile.params), tile.unit_hypers("family")
    inner, x = plain(family), look_up(values["embedding"], batch.inputs)
    assert type(inner) is Srn
    assert embedded(inner) == family
    feed = family.feed(values, hypers, batch.inputs, batch.lengths, pack.program.engine)
    assert_close(feed.inputs, x @ values["w_in"][:, None] + values["b"][:, None, None], 1e-13, "drives")
    assert family.weights(values, hypers).w_in is None


@pytest.mark.parametrize("name", ["srn", "scornn"])
def test_omega_goes_through_the_look_up_by_its_whole_graph(name: str) -> None:
    """`gradient=full` against central differences of Omega itself."""
    omega, kinds = Omega(weight=1.0, gradient="full"), dict(KINDS)
    pack = pack_of(name, 1, kinds[name], controllers={"omega": omega})
    tile, context = context_of(pack, "controllers.omega")
    total = omega.add(context) - context.gradients
    small, on = 1e-6, pack.program.layout.mask(["embedding"])
    drawn = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
    direction = torch.where(on, drawn, torch.zeros_like(drawn))

    def at(params: torch.Tensor) -> torch.Tensor:
        values = {
            key: value.detach().clone().requires_grad_() for key, value in pack.program.layout.view(params).items()
        }
        with torch.enable_grad():
            return omega_of(omega, context, values).detach()

    up, down = (at(tile.params + sign * small * direction) for sign in (1, -1))
    assert abs(float((total * direction).sum())) > 1e-8
    assert_close((total * direction).sum(1), (up - down) / (2 * small), 1e-6, "slope")


def test_forced_outputs_come_in_beside_symbols() -> None:
    """p = 0 is backpropagation: the open loop behind a look-up is the same network."""
    forced = Setup(
        SrnFeedback(8), RaggedSymbols(every=True), learner=TeacherForcing(p=0.0, units=None), embedding=TABLES
    ).pack([0])
    plain_pack = Setup(SrnFeedback(8), RaggedSymbols(every=True), embedding=TABLES).pack([0])
    gradients = []
    for pack in (forced, plain_pack):
        (_, tile), *_ = tiles(pack)
        program = pack.program
        learned = program.learner.learn(
            program, tile.params, tile.unit_hypers("family"), train_batch(tile), Wanted(), tile.learner_own()
        )
        gradients.append(learned.gradients)
    assert_close(gradients[0], gradients[1], 1e-11, "gradients")


class Whole(Srn):
    """A user's filter that is known over whole sequences only."""

    def feed(self, values, hypers, inputs, lengths, engine):
        return Feed(inputs.cumsum(1))


def test_a_filter_of_whole_sequences_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot stand behind an embedding: .* filters whole sequences"):
        embedded(Whole(4))


@pytest.mark.parametrize("layers", [1, 2])
def test_flossing_goes_through_what_comes_before_the_loop(layers: int) -> None:
    """Against central differences of the squared exponents, for the matrix of the loop as well."""
    flossing = GradientFlossing(weight=1.0, every=1, exponents=2)
    pack = pack_of("srn", layers, Srn, controllers={"flossing": flossing})
    tile, context = context_of(pack, "controllers.flossing")
    program, batch, small = pack.program, context.batch, 1e-6
    total = flossing.add(context) - context.gradients

    def at(params: torch.Tensor) -> torch.Tensor:
        values, hypers = program.layout.view(params), tile.unit_hypers("family")
        inputs = program.family.feed(values, hypers, batch.inputs, batch.lengths, program.engine).inputs
        weights = program.family.weights(values, hypers)
        loop = Unrolled(weights, inputs, program.activation, None, batch.lengths)
        return lyapunov_spectrum(loop, 2).square().mean((1, 2)).detach()

    for names in (["embedding"], ["w_rec"], [spec.name for spec in program.layout.specs]):
        drawn = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(3), dtype=F64)
        direction = torch.where(program.layout.mask(names), drawn, torch.zeros_like(drawn))
        up, down = (at(tile.params + sign * small * direction) for sign in (1, -1))
        assert abs(float((total * direction).sum())) > 1e-8
        assert_close((total * direction).sum(1), (up - down) / (2 * small), 1e-6, str(names))
