"""Clippers against plain one-row references written here from docs/maths.md#clipping; their history is row state."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rnnsweep.core import numerics
from rnnsweep.core.controllers.agc import Agc, sum_squares, units_of
from rnnsweep.core.controllers.autoclip import BINS, STEPS, AutoClip, bin_of, edge_of
from rnnsweep.core.controllers.base import Controller
from rnnsweep.core.controllers.elementwise import ElementwiseClip
from rnnsweep.core.controllers.per_parameter import PerParameterClip
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.controllers.zclip import ZClip
from rnnsweep.core.families.enrnn import Enrnn
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.momentum_lstm import MomentumLstm
from rnnsweep.core.families.scurnn import Scurnn
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.readout import Readout
from rnnsweep.core.readouts.attention import Attention
from rnnsweep.core.training import train_rung
from tests.kit.networks import Setup, context_of

ALL = [ElementwiseClip(), PerParameterClip(), Agc(), AutoClip(), ZClip()]
OFF = [
    ElementwiseClip(math.inf),
    PerParameterClip(math.inf),
    Agc(math.inf),
    AutoClip(100.0),
    ZClip(math.inf),
]


def case(unit: Controller, rows: int = 2, **hypers: float):
    """A context with plain gradients, and the unit's hyperparameters different in each row."""
    pack = Setup(controllers={"it": unit}).pack(list(range(rows)))
    _, context = context_of(pack, "controllers.it")
    for index, (name, value) in enumerate(hypers.items()):
        context.hypers = {**context.hypers, name: value * (1 + torch.arange(rows) * (0.5 + index)).double()}
    context.slots = {name: torch.zeros(rows, *shape).double() for name, shape in unit.slot_shapes().items()}
    return context


def transform(unit, context):
    return unit.transform(context, numerics.row_norm(context.gradients))


def test_elementwise():
    context = case(ElementwiseClip(), threshold=1e-3)
    found = transform(ElementwiseClip(), context).gradients
    for row, limit in enumerate((1e-3, 1.5e-3)):
        assert found[row].tolist() == [max(-limit, min(limit, g)) for g in context.gradients[row].tolist()]
    assert bool((found.abs().amax(1) == context.hypers["threshold"]).all())


def test_per_parameter():
    context = case(PerParameterClip(), threshold=1e-3)
    found = context.layout.view(transform(PerParameterClip(), context).gradients)
    for row, limit in enumerate((1e-3, 1.5e-3)):
        for name, part in context.layout.view(context.gradients).items():
            own = float(part[row].norm())
            want = part[row] * (limit / own) if own > limit else part[row]
            torch.testing.assert_close(found[name][row], want, rtol=1e-13, atol=0)
    assert float(found["w_rec"][0].norm()) == pytest.approx(1e-3, rel=1e-13)


def test_agc_compares_each_unit_with_its_incoming_weights():
    context = case(Agc(), ratio=0.1)
    found = context.layout.view(transform(Agc(), context).gradients)
    given = context.layout.view(context.gradients)
    over = 0
    for row, ratio in enumerate((0.1, 0.15)):
        for unit in range(12):
            incoming = [(name, (slice(None), unit)) for name in ("w_rec", "w_in")] + [("b", (unit,))]
            weight = math.sqrt(sum(float((context.values[n][row][at] ** 2).sum()) for n, at in incoming))
            size = math.sqrt(sum(float((given[n][row][at] ** 2).sum()) for n, at in incoming))
            limit = ratio * max(weight, 1e-3)
            over += size > limit
            factor = limit / max(size, 1e-6) if size > limit else 1.0
            for name, at in incoming:
                torch.testing.assert_close(found[name][row][at], given[name][row][at] * factor, rtol=1e-12, atol=0)
        for name in ("w_out", "b_out"):
            assert torch.equal(found[name][row], given[name][row])
    assert 0 < over < 24, "the case has units on both sides of the limit"


@pytest.mark.parametrize(
    ("family", "readout", "groups"),
    [
        (Enrnn(hidden=8, short=0.5), Readout(), [{"w_short", "w_cross", "w_in", "act_bias"}, {"a_skew"}]),
        (MomentumLstm(hidden=8), Readout(), [{"w_rec", "w_in", "b", "b_rec"}]),
        (Gru(hidden=8), Readout(), [{"w_rec", "w_in", "b", "b_n"}]),
        (Scurnn(hidden=8), Readout(), [{"w_in"}, {"act_bias"}, {"h0"}, {"a_skew"}, {"a_symmetric"}, {"theta"}]),
        (
            Srn(hidden=8),
            Attention(heads=2),
            [{"w_rec", "w_in", "b"}, *({f"w_{n}", f"b_{n}"} for n in ("query", "key", "value", "mix"))],
        ),
    ],
    ids=["enrnn", "momentum_lstm", "gru", "scurnn", "attention"],
)
def test_agc_groups_by_the_units_that_weights_lead_into(family, readout, groups):
    """Widths may agree by accident: with 4 long and 4 short units ENRNN's two small matrices are equally wide."""
    found = [
        {spec.name for spec in group} for group in units_of(Setup(family=family, readout=readout).program().layout)
    ]
    assert sorted(map(sorted, found)) == sorted(map(sorted, groups))


def test_agc_sums_what_leads_into_a_part_of_the_units():
    """ENRNN's short unit j: column j of w_short, column 4 + j of w_in; long unit j: of w_cross and w_in."""
    # tanh: no unit is dead, whose gradients would be 0
    setup = Setup(family=Enrnn(hidden=8, short=0.5, activation="tanh"), controllers={"it": Agc()})
    _, context = context_of(setup.pack([0, 1]), "controllers.it")
    loop = next(group for group in units_of(context.layout) if any(spec.name == "b" for spec in group))
    squares = sum_squares(loop, context.values)
    values = {name: value.square() for name, value in context.values.items()}
    shared = values["w_in"].sum(1) + values["b"]
    own = torch.cat((values["w_cross"].sum(1), values["w_short"].sum(1)), 1)
    torch.testing.assert_close(squares, shared + own, rtol=1e-13, atol=0)
    context.hypers = {"ratio": torch.full((2,), 1e-3, dtype=torch.float64)}
    found = context.layout.view(transform(Agc(), context).gradients)
    given = context.layout.view(context.gradients)
    shrunk = found["w_in"][0, 0] / given["w_in"][0, 0]
    torch.testing.assert_close(found["w_short"][0], given["w_short"][0] * shrunk[4:], rtol=1e-12, atol=0)
    torch.testing.assert_close(found["w_cross"][0], given["w_cross"][0] * shrunk[:4], rtol=1e-12, atol=0)


def norms_of(rng: np.random.Generator, count: int) -> np.ndarray:
    """Norms with a heavy tail over several orders of magnitude."""
    return np.exp(rng.normal(0, 2, size=count))


def run(unit, norms: np.ndarray, **hypers: float):
    """The norms after clipping, one row of numbers per update; gradients with one entry per row."""
    context = case(unit, rows=norms.shape[1], **hypers)
    found = []
    for now in norms:
        context.gradients = torch.zeros_like(context.gradients)
        context.gradients[:, 0] = torch.from_numpy(now)
        found.append(transform(unit, context).gradients[:, 0].numpy().copy())
    return np.array(found), context


def test_autoclip_is_the_percentile_of_all_norms_so_far_within_a_bin():
    norms = norms_of(np.random.default_rng(1), 2 * 300).reshape(300, 2)
    found, _ = run(AutoClip(), norms, percentile=10.0)
    for row, percentile in enumerate((10.0, 15.0)):
        for t in range(300):
            limit = np.percentile(norms[: t + 1, row], percentile)
            exact = min(norms[t, row], limit)
            assert exact * (1 - 1e-14) <= found[t, row] <= exact * (1 + 1 / STEPS)


def test_autoclip_bins_are_exact_and_their_ends_inclusive():
    index = torch.arange(BINS - 1)
    edge = edge_of(index)
    assert bool((edge[1:] > edge[:-1]).all())
    assert float((edge[1:] / edge[:-1] - 1).max()) <= 1 / STEPS
    below = torch.nextafter(edge, torch.zeros_like(edge))
    assert torch.equal(bin_of(below), index)
    assert torch.equal(bin_of(edge), index + 1)
    assert bin_of(torch.tensor([0.0, 1e-300, 1e300, math.nan], dtype=torch.float64)).tolist() == [0, 0, BINS - 1, 0]


def zclip_reference(norms, z_max: float, decay: float, threshold: float, warmup: int) -> list[float]:
    """The published update: plain mean and variance of the warm-up, then moving ones."""
    seen, mean, variance, out = [], 0.0, 0.0, []
    for n in norms:
        if len(seen) < warmup:
            out.append(min(n, threshold))
            seen.append(out[-1])
            mean, variance = float(np.mean(seen)), float(np.var(seen))
            continue
        z = (n - mean) / math.sqrt(variance)
        limit = mean + z_max**2 * math.sqrt(variance) / z if z > z_max else math.inf
        out.append(min(n, limit, threshold))
        mean = decay * mean + (1 - decay) * out[-1]
        variance = decay * variance + (1 - decay) * (out[-1] - mean) ** 2
    return out


def test_zclip_is_the_published_recursion():
    norms = norms_of(np.random.default_rng(2), 2 * 200).reshape(200, 2)
    unit = ZClip(warmup=25)
    found, context = run(unit, norms, z_max=1.0, threshold=20.0)
    for row, (z_max, threshold) in enumerate(((1.0, 20.0), (1.5, 50.0))):
        want = zclip_reference(norms[:, row], z_max, 0.97, threshold, 25)
        np.testing.assert_allclose(found[:, row], want, rtol=1e-9)
        assert sum(a < b for a, b in zip(want, np.minimum(norms[:, row], threshold), strict=True)) > 5
    assert context.slots["seen"].tolist() == [25.0, 25.0]


def test_zclip_survives_constant_and_huge_norms_in_float32():
    constant, _ = run(ZClip(warmup=2), np.array([[2.0], [2.0], [2.0], [5.0]]))
    assert constant[:, 0].tolist() == [2.0, 2.0, 2.0, 2.0]
    huge, context = run(ZClip(warmup=2), np.array([[1e30], [2e30], [1e32]]).astype(np.float64))
    assert huge[2, 0] < 1e31
    assert math.isfinite(float(context.slots["deviation"].to(torch.float32)))


@pytest.mark.parametrize("unit", OFF, ids=lambda unit: type(unit).__name__)
def test_off_is_off_bit_for_bit(unit):
    pack = Setup(controllers={"it": unit}).pack([0, 1])
    plain = Setup(controllers={}).pack([0, 1])
    for each in (pack, plain):
        train_rung(each, 40, 1)
    assert torch.equal(pack.params, plain.params)


@pytest.mark.parametrize("unit", ALL, ids=lambda unit: type(unit).__name__)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_with_a_non_finite_gradient_is_dropped_alone(unit, bad):
    context = case(unit)
    good = transform(unit, case(unit)).gradients[1]
    context.gradients = context.gradients.clone()
    context.gradients[0, 3] = bad
    result = transform(unit, context)
    assert result.drop is not None
    assert result.drop.tolist() == [True, False]
    assert torch.equal(result.gradients[1], good)


@pytest.mark.parametrize(("unit", "slot"), [(AutoClip(), "histogram"), (ZClip(), "seen")])
def test_a_refused_mini_batch_leaves_no_trace_in_the_history(unit, slot):
    """The gate refuses every step that changes S at all (|dS| > r0)."""
    setup = Setup(controllers={"it": unit, "sampling": Sampling(r0=1e-300)})
    pack = setup.pack([0, 1])
    train_rung(pack, 5, 1)
    assert pack.taken.tolist() == [0, 0]
    assert pack.slots[f"controllers.it.{slot}"].reshape(2, -1).sum(1).tolist() == [0.0, 0.0]
    free = Setup(controllers={"it": unit}).pack([0, 1])
    train_rung(free, 5, 1)
    assert free.slots[f"controllers.it.{slot}"].reshape(2, -1).sum(1).tolist() == [5.0, 5.0]
