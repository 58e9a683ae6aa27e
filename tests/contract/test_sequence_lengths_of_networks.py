"""Mini-batches whose sequences differ in length, for every family and rule: what comes out is their mean."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core import evaluation
from rnnsweep.core.analyses.trained_rows import TrainedRows
from rnnsweep.core.controllers.base import Tally
from rnnsweep.core.controllers.gradient_flossing import GradientFlossing
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.base import Learner
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.learners.eprop import Eprop
from rnnsweep.core.learners.gauss_newton import linearise
from rnnsweep.core.learners.rflo import Rflo
from rnnsweep.core.learners.ridge import Ridge
from rnnsweep.core.learners.rtrl import Rtrl
from rnnsweep.core.learners.snap import Snap
from rnnsweep.core.loops import Learned
from rnnsweep.core.pack import Pack
from rnnsweep.core.readouts.attention import Attention
from rnnsweep.core.training import tiles, train_batch, train_rung
from rnnsweep.core.types import Batch, Wanted
from tests.contract.test_engines import assert_close
from tests.contract.test_rows import found
from tests.core.families.test_own import FAMILIES as OWN
from tests.kit.networks import Setup, assert_same_row, context_of
from tests.kit.ragged import Ragged, one_by_one

FAMILIES = [(name, cls) for name, cls, _ in found("family") if name != "srn_feedback"]


def of_batch(pack: Pack, batch: Batch, want: Wanted | None = None) -> Learned:
    """What the rule makes of a mini-batch."""
    (_, tile), *_ = tiles(pack)
    program = tile.program
    return program.learner.learn(
        program, tile.params, tile.unit_hypers("family"), batch, want or Wanted(), tile.learner_own()
    )


def check(setup: Setup, tolerance: float = 1e-10) -> None:
    """Loss and gradients of a row are means over its sequences: of equal weight, or by their steps."""
    pack = setup.pack([0])
    (_, tile), *_ = tiles(pack)
    batch = train_batch(tile)
    assert batch.lengths.unique().numel() > 2
    whole, loss, gradients, total = of_batch(pack, batch), 0.0, 0.0, 0
    for length, one in one_by_one(batch):
        part, weight = of_batch(pack, one), length if setup.task.per_step else 1
        loss, gradients, total = loss + weight * part.loss, gradients + weight * part.gradients, total + weight
    assert_close(whole.loss, loss / total, tolerance, "loss")
    assert gradients.abs().max() > 1e-6
    assert_close(whole.gradients, gradients / total, tolerance, "gradients")


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(("name", "cls"), FAMILIES, ids=[name for name, _ in FAMILIES])
def test_every_family(name: str, cls: type, every: bool) -> None:
    check(Setup(family=cls(hidden=6), task=Ragged(every=every)))


@pytest.mark.parametrize(
    "family", [Srn(hidden=6), Srn(hidden=6, activation="relu", leak=0.5), Lstm(hidden=6), Gru(hidden=6)]
)
def test_fused_loops_of_networks(family: Srn | Lstm | Gru) -> None:
    check(Setup(family=family, task=Ragged(every=True), engine="cpu"))


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(
    "learner", [Bptt(horizon=3), Rtrl(), Snap(order=1), Eprop(), Rflo()], ids=lambda rule: rule.unit_name
)
def test_every_rule_with_a_gradient(learner: Learner, every: bool) -> None:
    check(Setup(family=Srn(hidden=6), learner=learner, task=Ragged(every=every)))


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("horizon", [1, 3, 7])
@pytest.mark.parametrize(("name", "engine"), [("momentum_lstm", "cpu"), ("scornn", "reference"), ("lru", "reference")])
def test_truncated_with_a_first_state_of_its_own(name: str, engine: str, horizon: int, every: bool) -> None:
    cls = dict(FAMILIES)[name]
    check(Setup(family=cls(hidden=6), learner=Bptt(horizon=horizon), task=Ragged(every=every), engine=engine))


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("name", ["lstm", "mixed", "function"])
def test_own_cells(name: str, every: bool) -> None:
    check(Setup(family=OWN[name](), task=Ragged(every=every), sigma=0.5))


@pytest.mark.parametrize("every", [False, True])
def test_attention_looks_at_own_steps_only(every: bool) -> None:
    check(Setup(family=Srn(hidden=6), readout=Attention(heads=2), task=Ragged(every=every)))


def test_ridge_sums_over_own_steps_after_the_washout() -> None:
    setup = Setup(family=Srn(hidden=6), learner=Ridge(washout=2), task=Ragged(every=True))
    pack = setup.pack([0])
    (_, tile), *_ = tiles(pack)
    batch = train_batch(tile)
    parts = [of_batch(pack, one).slots for _, one in one_by_one(batch)]
    for name, value in of_batch(pack, batch).slots.items():
        assert_close(value, sum(part[name] for part in parts), 1e-12, name)


def test_curvature_of_gauss_newton_is_a_mean_over_sequences() -> None:
    pack = Setup(family=Srn(hidden=6), task=Ragged()).pack([0])
    (_, tile), *_ = tiles(pack)
    batch, hypers = train_batch(tile), tile.unit_hypers("family")
    change = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    none = torch.zeros(1, dtype=torch.float64)

    def product(one: Batch) -> torch.Tensor:
        return linearise(tile.program, tile.params, hypers, one).product(change, none)

    parts = [product(one) for _, one in one_by_one(batch)]
    assert_close(product(batch), sum(parts) / len(parts), 1e-12, "curvature")


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(
    ("family", "options"),
    [
        *((Srn(6), options) for options in ({}, {"gradient": "full"}, {"state": "pre"}, {"reduce": "sum"})),
        *((Lstm(6), options) for options in ({}, {"reduce": "sum"})),
    ],
    ids=str,
)
def test_omega_counts_own_steps(family: Srn | Lstm, options: dict[str, str], every: bool) -> None:
    """Value times count of samples is a sum over sequences, as is the gradient times the divisor."""
    omega = Omega(**options)
    setup = Setup(family=family, task=Ragged(every=every), controllers={"omega": omega})

    def of(batch: Batch | None) -> tuple[float, float, torch.Tensor]:
        pack = setup.pack([0], controllers__omega__weight=1.0)
        _, context = context_of(pack, "controllers.omega")
        if batch is not None:
            learned = of_batch(pack, batch, Wanted(trace=True))
            context = replace(context, batch=batch, gradients=learned.gradients, passes=learned.passes)
        plain, context.tally = context.gradients.clone(), Tally()
        added = omega.add(context) - plain
        values = context.tally.values()
        return float(values["omega/value"]), float(values["omega/active"]), added

    value, share, added = of(None)
    (_, tile), *_ = tiles(setup.pack([0]))
    lengths, parts = zip(*((length, of(one)) for length, one in one_by_one(train_batch(tile))), strict=True)
    steps = [length - (options.get("state") == "pre") for length in lengths]
    counts = [part[1] * length for part, length in zip(parts, lengths, strict=True)]
    assert sum(steps) >= sum(counts) > 0
    assert share == pytest.approx(sum(counts) / sum(lengths), rel=1e-10)
    mean = omega.reduce == "active_mean"
    weights = counts if mean else [1.0] * len(parts)
    divisor = sum(counts) if mean else len(parts)
    assert value == pytest.approx(sum(p[0] * w for p, w in zip(parts, weights, strict=True)) / divisor, rel=1e-9)
    if every:  # errors of a sequence alone are larger, as its loss is a mean over fewer steps: ratios are the same
        return
    true = sum(p[2] * w for p, w in zip(parts, weights, strict=True)) / divisor
    assert_close(added, true, 1e-9, "gradient")


def test_q_looks_back_as_far_as_the_shortest_sequence() -> None:
    setup = Setup(family=Srn(hidden=6), task=Ragged(), controllers={"sampling": Sampling()})
    _, context = context_of(setup.pack([0]), "controllers.sampling")
    assert context.trace is not None
    gate = setup.controllers["sampling"]
    assert isinstance(gate, Sampling)
    assert gate.look_back(context.trace).tolist() == (context.batch.lengths.amin(1) - 1).tolist()


def test_lyapunov_exponents_and_profiles_are_of_own_steps() -> None:
    from rnnsweep.core import diagnostics

    setup = Setup(family=Srn(hidden=6), task=Ragged(), controllers={"flossing": GradientFlossing()})
    _, context = context_of(setup.pack([0]))
    assert context.trace is not None
    parts = []
    for length, one in one_by_one(context.batch):
        passes = of_batch(setup.pack([0]), one, Wanted(trace=True)).passes
        parts.append((length, replace(context, batch=one, passes=passes)))
    record = context.trace.record
    exponents = [diagnostics.lyapunov(part.trace.record, part.activation) for _, part in parts]
    assert_close(diagnostics.lyapunov(record, context.activation), sum(exponents) / len(parts), 1e-12, "lyapunov")
    low = [diagnostics.states(part.passes)["state/saturation"] * length for length, part in parts]
    share = diagnostics.states(context.passes)["state/saturation"]
    assert_close(share, sum(low) / sum(length for length, _ in parts), 1e-12, "saturation")
    profile = 10 ** diagnostics.profiles(context.passes)[:, 0]
    T, B = profile.shape[1], len(parts)
    for t in range(T):
        begun = [
            10 ** diagnostics.profiles(part.passes)[:, 0, t - T + length] for length, part in parts if t >= T - length
        ]
        # alone a sequence's error is B times as large: the loss is a mean
        assert_close(profile[:, t], sum(begun) / len(begun) / B, 1e-12, f"profile of step {t}")


@pytest.mark.parametrize("every", [False, True])
def test_evaluation_weighs_sequences_by_their_steps(every: bool) -> None:
    setup = Setup(family=Srn(hidden=6), task=Ragged(every=every), eval_size=12, batch=5)
    (_, tile), *_ = tiles(setup.pack([0]))
    scores = evaluation.evaluate(tile, tile.keys["eval"])
    large = Setup(family=Srn(hidden=6), task=Ragged(every=every), eval_size=12, batch=12)
    (_, other), *_ = tiles(large.pack([0]))
    again = evaluation.evaluate(other, other.keys["eval"])
    assert_close(scores.loss, again.loss, 1e-12, "loss")
    assert_close(scores.error, again.error, 1e-12, "error")


@pytest.mark.parametrize(
    ("family", "engine"), [(Srn(hidden=6), "cpu"), (Lstm(hidden=6), "cpu"), (Gru(hidden=6), "reference")]
)
def test_rows_are_the_same_alone_and_packed(family: Srn | Lstm | Gru, engine: str) -> None:
    setup = Setup(
        family=family, task=Ragged(every=True), engine=engine, controllers={"omega": Omega()}, dtype=torch.float32
    )
    wide, alone = setup.pack([0, 1, 2]), setup.pack([1])
    for _ in range(2):
        train_rung(wide, 3, 1)
        train_rung(alone, 3, 1)
    assert_same_row(wide.row(1), alone.row(0))


def test_analyses_are_shown_sequences_of_one_length() -> None:
    program = Setup(family=Srn(6), task=Ragged(every=True)).program()
    values = program.layout.view(torch.zeros(2, program.layout.size, dtype=torch.float64))
    batch = TrainedRows(program, values, {}).batch(3)
    length = batch.inputs.shape[1]
    assert batch.lengths.tolist() == [length] * 2
    assert batch.inputs.shape[2] == 3
    assert batch.targets.shape[1] == length
    assert (batch.inputs != 0).all(), "no step before a start"
