"""Sampling: dS against differences of the frozen S, the rule's direction on constructed networks, refused batches."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core.controllers.base import Tally
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.recurrence.base import Tangent
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import tiles, update
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, context_of


def frozen_s(trace, w_rec: torch.Tensor, activation, row: int, horizon: int) -> float:
    """S of one row: delta_T and f' constant, the recursion run with another w_rec; explicit loops."""
    record = trace.record
    T = trace.delta.shape[1]
    delta = trace.delta[row, -1]
    for t in range(T - 2, T - 2 - horizon, -1):
        slope = activation.slope_from_output(record.h[row, t + 1])
        delta = slope * (delta @ w_rec.T)
    return 0.5 * float((delta * delta).sum())


@pytest.mark.parametrize("horizon", [None, 4])
@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid", "elu"])
def test_ds_is_the_derivative_of_the_frozen_s(name, horizon):
    sampling = Sampling(-1.0, 1.0, horizon=horizon)
    setup = Setup(family=Srn(7, name), task=TemporalOrder(length=11), controllers={"sampling": sampling}, sigma=0.7)
    pack = setup.pack([0, 5])
    _, context = context_of(pack, "controllers.sampling")
    step = torch.randn(context.values["w_rec"].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    tangent = context.engine.tangent(context.trace, step, sampling.look_back(context.trace), context.activation)
    q, sign, log_ds, relative = sampling.measures(context.trace.delta[:, -1], tangent)
    w = context.values["w_rec"]
    for row in range(2):
        back = horizon or 10
        up = frozen_s(context.trace, w[row] + 1e-6 * step[row], context.activation, row, back)
        down = frozen_s(context.trace, w[row] - 1e-6 * step[row], context.activation, row, back)
        slope = (up - down) / 2e-6
        assert float(sign[row]) * 10 ** float(log_ds[row]) == pytest.approx(slope, rel=1e-6)
        s = frozen_s(context.trace, w[row], context.activation, row, back)
        assert 10 ** float(relative[row]) == pytest.approx(abs(slope) / s, rel=1e-6)
        first, last = context.trace.delta[row, 10 - back], context.trace.delta[row, -1]
        assert float(q[row]) == pytest.approx(float((last.norm(dim=-1).mean() / first.norm(dim=-1).mean()).log10()))


def linear_pack(scale: float, direction: str, optimizer=None) -> tuple:
    """A linear network W = scale * I on which the early error vanishes (scale < 1) or explodes (scale > 1)."""
    sampling = Sampling(-1.0, 1.0, direction=direction)
    setup = Setup(family=Srn(6, "identity"), controllers={"sampling": sampling}, optimizer=optimizer or Sgd(lr=0.1))
    pack = setup.pack([0])
    values = pack.program.layout.view(pack.params)
    values["w_rec"].copy_(scale * torch.eye(6, dtype=torch.float64))
    _, context = context_of(pack, "controllers.sampling")
    return pack, context, sampling


@pytest.mark.parametrize(("scale", "helpful"), [(0.5, 0.01), (1.8, -0.01)])
@pytest.mark.parametrize("direction", ["corrected", "as_printed"])
def test_direction_on_networks_that_vanish_and_explode(scale, helpful, direction):
    """W = c I: growing c raises the early delta. `corrected` admits what brings it back into range."""
    pack, context, sampling = linear_pack(scale, direction)
    for factor in (helpful, -helpful):
        step = torch.zeros_like(context.gradients)
        pack.program.layout.view(step)["w_rec"].copy_(factor * torch.eye(6, dtype=torch.float64))
        admitted = bool(sampling.admit(context, step))
        assert admitted == ((factor == helpful) == (direction == "corrected"))


def test_in_range_is_always_used_and_r0_refuses_large_changes():
    pack, context, sampling = linear_pack(1.0, "corrected")
    step = torch.zeros_like(context.gradients)
    pack.program.layout.view(step)["w_rec"].copy_(0.01 * torch.eye(6, dtype=torch.float64))
    assert bool(sampling.admit(context, step))
    context.hypers = {**context.hypers, "r0": torch.tensor([1e-300], dtype=torch.float64)}
    assert not bool(sampling.admit(context, step))


@pytest.mark.parametrize("r0", [1e-300, 1e300])
def test_r0_alone_limits_the_change_whatever_q_is(r0):
    """Q is far out of the paper's range here, and no bound of it is set: only |dS| counts."""
    unit = Sampling()
    pack = Setup(controllers={"sampling": unit}, sigma=0.01).pack([0, 1])
    _, context = context_of(pack, "controllers.sampling")
    assert not bool(unit.active(context.hypers).any()), "all three infinite: off"
    context.hypers = {**context.hypers, "r0": torch.full((2,), r0, dtype=torch.float64)}
    assert bool(unit.active(context.hypers).all())
    admitted = unit.admit(context, -0.1 * context.gradients)
    assert admitted.tolist() == [r0 > 1] * 2


@pytest.mark.parametrize("optimizer", [Sgd(lr=0.1, momentum=0.9), Adam(lr=0.1)], ids=["sgd", "adam"])
def test_a_refused_batch_changes_neither_weights_nor_optimiser_state(optimizer):
    """q range far below the row's Q with `as_printed` and `corrected`: one of the two refuses every batch."""
    for direction in ("corrected", "as_printed"):
        setup = Setup(controllers={"sampling": Sampling(-9.0, -8.9, direction=direction)}, optimizer=optimizer)
        pack = setup.pack([0], controllers__sampling__q_min=-9.0, controllers__sampling__q_max=-8.9)
        (_, tile), *_ = tiles(pack)
        for _ in range(4):
            params, slots, taken = pack.params.clone(), {k: v.clone() for k, v in pack.slots.items()}, int(pack.taken)
            tally = Tally()
            update(tile, tally)
            used = float(tally.values()["sampling/admitted"]) == 1.0
            assert used == (int(pack.taken) == taken + 1)
            if not used:
                assert torch.equal(params, pack.params)
                assert all(torch.equal(value, pack.slots[name]) for name, value in slots.items())
        assert int(pack.step) == 4


def test_momentum_is_part_of_the_candidate_step():
    """The gate sees the optimiser's whole proposal: with velocity set, the recurrent step is -lr (m v + g)."""
    seen = []

    class Watch(Sampling):
        def admit(self, context, step):
            seen.append((step.clone(), context.gradients.clone()))
            return super().admit(context, step)

    pack = Setup(controllers={"sampling": Watch(-1.0, 1.0)}, optimizer=Sgd(lr=0.1, momentum=0.9)).pack(
        [0], optimizer__lr=0.1, optimizer__momentum=0.9
    )
    velocity = torch.full_like(pack.params, 0.3)
    pack.slots["optimizer.velocity"].copy_(velocity)
    (_, tile), *_ = tiles(pack)
    update(tile, Tally())
    step, gradients = seen[0]
    assert torch.allclose(step, -0.1 * (0.9 * velocity + gradients), atol=1e-15)


def test_underflow_in_float32_is_seen_not_refused_for_ever():
    """sigma = .05, H = 50, L = 50 (docs/maths.md#sampling): float32 deltas underflow; Q is near 21, as in float64."""
    found = {}
    for dtype in (torch.float32, torch.float64):
        setup = Setup(
            family=Srn(50),
            task=TemporalOrder(length=50),
            controllers={"sampling": Sampling(-1.0, 1.0)},
            dtype=dtype,
            batch=20,
            sigma=0.05,
        )
        pack = setup.pack([0])
        tally = Tally()
        (_, tile), *_ = tiles(pack)
        update(tile, tally)
        values = tally.values()
        found[dtype] = values
        assert float(values["sampling/degenerate"]) == 0
    assert float(found[torch.float64]["sampling/q"]) == pytest.approx(21, abs=3)
    assert float(found[torch.float32]["sampling/q"]) == pytest.approx(
        float(found[torch.float64]["sampling/q"]), abs=1e-3
    )


def test_a_first_delta_of_exactly_zero_is_degenerate_and_refused():
    setup = Setup(family=Srn(6, "relu"), controllers={"sampling": Sampling(-1.0, 1.0)})
    pack = setup.pack([0])
    pack.program.layout.view(pack.params)["b"].fill_(-100.0)
    (_, tile), *_ = tiles(pack)
    tally, before = Tally(), pack.params.clone()
    update(tile, tally)
    assert float(tally.values()["sampling/degenerate"]) == 1
    assert torch.equal(before, pack.params)


@pytest.mark.parametrize("r0", [torch.inf, 1e30])
def test_a_change_that_is_no_number_is_degenerate_and_refused(r0: float):
    """A step that is finite, and so large that its change is not."""
    sampling, one = Sampling(-1.0, 1.0, r0=r0), torch.ones(1, 3, 4, dtype=torch.float64)
    limits = {name: torch.tensor([float(getattr(sampling, name))]) for name in ("q_min", "q_max", "r0")}
    for change, used in ((one, True), (one * torch.nan, False)):
        judged = sampling.judged(ReferenceEngine(), limits, one, Tangent(one, change, torch.tensor([0])))
        assert (judged.used.tolist(), judged.degenerate.tolist()) == ([used], [not used])


def test_realised_change_follows_the_prediction_for_a_small_step():
    """For lr -> 0 the realised relative change of S tends to dS / S plus what frozen slopes leave out: same order."""
    setup = Setup(family=Srn(6, "identity"), controllers={"sampling": Sampling(-50.0, 50.0)}, optimizer=Sgd(lr=1e-7))
    pack = setup.pack([0], optimizer__lr=1e-7, optimizer__momentum=0.0)
    (_, tile), *_ = tiles(pack)
    tally = Tally()
    update(tile, tally, ending=torch.ones(len(tile.step), dtype=torch.bool))
    assert abs(float(tally.values()["sampling/ds_realised"])) < 1e-4


@pytest.mark.parametrize(("low", "high"), [(1.0, -1.0), (1.0, 1.0), (math.nan, 1.0)])
def test_an_empty_range_is_refused(low, high):
    with pytest.raises(ConfigError):
        Sampling(low, high)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_a_horizon_written_as_5_0_is_5(engine):
    """It used to reach a compiled kernel as a tensor of floats, whose bytes were then taken for whole numbers."""
    params = []
    for horizon in (5, 5.0):
        setup = Setup(controllers={"sampling": Sampling(-1.0, 1.0, horizon=horizon)}, engine=engine)
        pack = setup.pack([0, 1])
        (_, tile), *_ = tiles(pack)
        for _ in range(3):
            update(tile, Tally())
        params.append(pack.params)
    assert torch.equal(params[0], params[1])
