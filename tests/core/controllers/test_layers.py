"""Omega and sampling on chosen layers and on the path through depth and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from rnnsweep.core.controllers.base import Tally
from rnnsweep.core.controllers.layers import check_layers, numbers_of
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.path_tangent import path_tangent
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.diagnostics import profiles, states, weights
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.layered import layered
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.tile import learn, tiles, update
from rnnsweep.core.training import train_rung
from rnnsweep.core.types import Wanted
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, context_of
from tests.kit.ragged import Ragged

DEEP = layered(Srn(5, layers=3))


def errors_of(context, row: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """delta, x and g of each layer of a row, by autograd through a network that is written out here: [T, B, H]."""
    values = {name: value[row] for name, value in context.values.items()}
    inputs, (T, B) = context.batch.inputs[row], context.batch.inputs.shape[1:3]
    length = int(context.batch.lengths[row])
    first, names = T - length, ["_l1", "_l2", ""]
    pres = [[torch.zeros(B, 5, requires_grad=True) for _ in range(T)] for _ in names]
    shown = [
        [torch.zeros(B, 5, requires_grad=True) for _ in range(T)] for _ in names
    ]  # what the read-out or above sees
    kept = [[torch.zeros(B, 5, requires_grad=True) for _ in range(T)] for _ in names]  # what the next step sees
    with torch.enable_grad():
        x: list[torch.Tensor] = list(inputs)
        for layer, end in enumerate(names):
            h, out = torch.zeros(B, 5), []
            for t in range(T):
                if t >= first:
                    a = h @ values[f"w_rec{end}"] + x[t] @ values[f"w_in{end}"] + values[f"b{end}"] + pres[layer][t]
                    h = torch.tanh(a)
                out.append(h + shown[layer][t])
                h = h + kept[layer][t]
            x = out
        y = x[-1] @ values["w_out"] + values["b_out"]
        loss = context.task.loss.score(y[None], context.batch.targets[row][None])[0].mean()
        found = []
        for layer in range(3):
            parts = [*pres[layer], *shown[layer], *kept[layer]]
            grads = torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True)
            grads = [torch.zeros(B, 5) if g is None else g for g in grads]
            delta, above, later = (torch.stack(grads[i * T : (i + 1) * T]) for i in range(3))
            found.append((delta, above, later))
    return found


def written_out(context, row: int, path: bool) -> list[float]:
    """Omega's value of each layer (of the path: once), from the errors above."""
    T = context.batch.inputs.shape[1]
    first = T - int(context.batch.lengths[row])
    errors, values = errors_of(context, row), []
    matrices = [context.values[f"w_rec{end}"][row] for end in ("_l1", "_l2", "")]
    squares = []
    for layer, ((delta, above, later), w) in enumerate(zip(errors, matrices, strict=True)):
        x = delta @ w.T
        g = later if path and layer < 2 else above + later
        squares.append(((x * x).sum(-1)[first:], (g * g).sum(-1)[first:]))
    groups = [squares] if path else [[pair] for pair in squares]
    for group in groups:
        num, den = sum(n for n, _ in group), sum(d for _, d in group)
        values.append(float(((num / den - 1) ** 2).sum(0).mean() / len(num)))
    return values


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_values_are_those_of_a_network_written_out(engine: str) -> None:
    setup = Setup(family=DEEP, task=TemporalOrder(length=(10, 14)), batch=3, sigma=0.7, engine=engine)
    for layers in ("all", "path", (1,), (2, 3), "last"):
        omega = Omega(weight=1.0, layers=layers)
        pack = replace(setup, controllers={"omega": omega}).pack([0, 1], controllers__omega__weight=1.0)
        _, context = context_of(pack, "controllers.omega")
        context.tally = Tally()
        omega.add(context)
        found = context.tally.values()
        for row in range(2):
            each = written_out(context, row, layers == "path")
            wanted = numbers_of(layers, 3)
            total = each[0] if layers == "path" else sum(each[n - 1] for n in wanted)
            assert float(found["omega/value"][row]) == pytest.approx(total, rel=1e-10), (layers, row)
            if layers != "path":
                for n in wanted:
                    assert float(found[f"omega/value.{n}"][row]) == pytest.approx(each[n - 1], rel=1e-10)


@pytest.mark.parametrize("layers", ["all", "path", (1,)])
@pytest.mark.parametrize("form", ["ratio_sq", "ratio"])
def test_immediate_gradients_are_central_differences_with_errors_held(layers, form: str) -> None:
    """Only the trailing W_rec in x_t = delta_t W_rec^T is differentiated, in each chosen layer."""
    omega = Omega(weight=1.0, layers=layers, form=form, reduce="sum")
    setup = Setup(family=DEEP, task=TemporalOrder(length=12), batch=3, sigma=0.7, controllers={"omega": omega})
    _, context = context_of(setup.pack([0], controllers__omega__weight=1.0), "controllers.omega")
    before = context.gradients.clone()
    added = context.layout.view(omega.add(context) - before)
    traces = [one.trace for one in context.passes]
    wanted = numbers_of(layers, 3)

    def value(matrices: list[torch.Tensor]) -> float:
        num, den = [], []
        for n, (trace, w) in enumerate(zip(traces, matrices, strict=True), 1):
            x, g = trace.delta[0] @ w.T, trace.totals()[0]
            if layers == "path" and n < 3:
                g = torch.cat((trace.x[0, 1:], torch.zeros_like(trace.x[0, :1])))
            num, den = [*num, (x * x).sum(-1)], [*den, (g * g).sum(-1)]
        pairs = [(sum(num), sum(den))] if layers == "path" else [(num[n - 1], den[n - 1]) for n in wanted]
        ratios = [n / d for n, d in pairs]
        return float(sum((((r if form == "ratio_sq" else r.sqrt()) - 1) ** 2).sum() for r in ratios) / 3)

    for n, end in enumerate(("_l1", "_l2", ""), 1):
        gradient = added[f"w_rec{end}"][0]
        base = [context.values[f"w_rec{e}"][0].clone() for e in ("_l1", "_l2", "")]
        for i, j in ((0, 0), (1, 3), (4, 2)):
            up, down = ([w.clone() for w in base] for _ in range(2))
            up[n - 1][i, j] += 1e-6
            down[n - 1][i, j] -= 1e-6
            assert float(gradient[i, j]) == pytest.approx((value(up) - value(down)) / 2e-6, rel=1e-5, abs=1e-9)
        if n not in wanted:
            assert not gradient.any()
    assert not any(added[name].any() for name in added if not name.startswith("w_rec"))


def followed(context, row: int, values: dict[str, torch.Tensor], h: int) -> torch.Tensor:
    """delta_{T-h} of all layers [B, 3 H] of the last delta_T of the top, with f' as recorded; plain loops."""
    slopes = [1 - one.trace.record.h[row, 1:] ** 2 for one in context.passes]
    T, top = len(slopes[0]), context.passes[-1].trace.delta[row, -1]
    names = ["_l1", "_l2", ""]
    deltas: list[torch.Tensor] = [top] * 3
    for t in range(T - 1, T - 2 - h, -1):
        new: list[torch.Tensor] = [top] * 3
        for layer in (2, 1, 0):
            g = deltas[layer] @ values[f"w_rec{names[layer]}"].T if t < T - 1 else torch.zeros_like(top)
            if layer < 2:
                g = g + new[layer + 1] @ values[f"w_in{names[layer + 1]}"].T
            new[layer] = top if layer == 2 and t == T - 1 else slopes[layer][t] * g
        deltas = new
    return torch.cat(deltas, -1)


@pytest.mark.parametrize("horizon", [1, 4, 11])
def test_the_path_is_the_recursion_through_all_layers_and_its_change_a_central_difference(horizon: int) -> None:
    setup = Setup(family=DEEP, task=TemporalOrder(length=12), batch=3, sigma=0.6)
    tile, context = context_of(setup.pack([0, 1]))
    step = torch.randn(tile.params.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    views = context.layout.view(step)
    tangent, last = path_tangent(context.passes, views, torch.full((2,), horizon))
    for row in range(2):
        values = {name: value[row] for name, value in context.values.items()}
        change = {name: value[row] for name, value in views.items()}
        scale = 2.0 ** float(tangent.exponent[row])
        want = followed(context, row, values, horizon)
        torch.testing.assert_close(tangent.delta[row] * scale, want, rtol=1e-10, atol=0)
        up, down = (
            followed(context, row, {n: v + s * 1e-6 * change[n] for n, v in values.items()}, horizon) for s in (1, -1)
        )
        torch.testing.assert_close(tangent.ddelta[row] * scale, (up - down) / 2e-6, rtol=1e-5, atol=1e-9)
        # a loss at the last step has no other errors: the recursion's are those of backpropagation
        real = torch.cat([one.trace.delta[row, -1 - horizon] for one in context.passes], -1)
        torch.testing.assert_close(want, real, rtol=1e-10, atol=1e-14)
        now = torch.cat([one.trace.delta[row, -1] for one in context.passes], -1)
        torch.testing.assert_close(last[row], now, rtol=1e-10, atol=1e-14)


def test_the_path_of_one_layer_is_its_loop() -> None:
    setup = Setup(family=Srn(6), task=TemporalOrder(length=(10, 13)), batch=3)
    tile, context = context_of(setup.pack([0, 1]))
    step = context.layout.view(torch.randn_like(tile.params))
    back = Sampling().look_back(context.trace)
    one, _ = path_tangent(context.passes, step, back)
    two = context.engine.tangent(context.trace, step["w_rec"].contiguous(), back, context.activation)
    assert torch.equal(one.exponent, two.exponent)
    torch.testing.assert_close(one.delta, two.delta, rtol=1e-12, atol=0)
    torch.testing.assert_close(one.ddelta, two.ddelta, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("layers", ["last", "all", "path", (2,)])
def test_sampling_asks_the_chosen_layers(layers) -> None:
    setup = Setup(
        family=DEEP, task=TemporalOrder(length=12), controllers={"sampling": Sampling(layers=layers)}, sigma=0.6
    )
    tight = dict(controllers__sampling__q_min=-1e-3, controllers__sampling__q_max=1e-3)
    (_, tile), *_ = tiles(setup.pack([0, 1, 2, 3], **tight))
    for _ in range(6):
        update(tile, tile.tally, ending=torch.ones(4, dtype=torch.bool))
    found = tile.tally.values()
    assert 0 < float(found["sampling/admitted"].mean()) < 1
    ends = {f".{n}" for n in numbers_of(layers, 3)} if layers != "path" else set()
    for key in ("sampling/q", "sampling/ds_log10", "sampling/ds_realised"):
        assert {k.removeprefix(key) for k in found if k.startswith(key)} == {"", *ends}
        # without a layer's number: the last of those that were asked
        if ends:
            torch.testing.assert_close(found[key], found[f"{key}{max(ends)}"], rtol=0, atol=0, equal_nan=True)


def test_all_layers_must_agree() -> None:
    """What `all` admits is what each layer alone would have."""

    def admitted(layers) -> torch.Tensor:
        sampling = Sampling(layers=layers)
        setup = Setup(family=DEEP, task=TemporalOrder(length=12), controllers={"sampling": sampling}, sigma=0.6)
        bounds = dict(controllers__sampling__q_min=-0.5, controllers__sampling__q_max=0.5)
        _, context = context_of(setup.pack(list(range(12)), **bounds), "controllers.sampling")
        step = -0.05 * context.gradients
        return sampling.admit(context, step)

    each = [admitted((n,)) for n in (1, 2, 3)]
    assert torch.equal(admitted("all"), each[0] & each[1] & each[2])
    assert torch.equal(admitted("last"), each[2])
    assert len({tuple(one.tolist()) for one in each}) > 1, "the layers differ, else this shows nothing"


CASES: list[tuple[str, Callable[[], object]]] = [
    ("srn", lambda: layered(Srn(6, layers=2))),
    ("lstm", lambda: layered(Lstm(6, layers=2))),
]


@pytest.mark.parametrize(("name", "family"), CASES, ids=[name for name, _ in CASES])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("layers", ["all", "path", (1,)])
def test_rows_do_not_depend_on_their_pack(name: str, family, engine: str, layers) -> None:
    controllers = {"omega": Omega(layers=layers)}
    if name == "srn":
        controllers["sampling"] = Sampling(layers=layers)
    setup = Setup(family=family(), engine=engine, dtype=torch.float32, controllers=controllers)
    bounds = dict(controllers__sampling__q_min=-1.0, controllers__sampling__q_max=1.0) if name == "srn" else {}
    hypers = dict(controllers__omega__weight=0.4, **bounds)
    together, alone = setup.pack([0, 1, 2], **hypers), setup.pack([1], **hypers)
    first, second = train_rung(together, 4, 1)[1], train_rung(alone, 4, 1)[0]
    assert torch.equal(together.params[1], alone.params[0])
    assert first == second
    assert "omega/value" in first
    assert layers == "path" or "omega/value.1" in first


def test_omega_alike_with_and_without_a_term_taken_along() -> None:
    """A fused loop of a lower layer takes the term along; the trace gives the same."""
    omega = Omega(weight=1.0, layers="all")
    setup = Setup(family=DEEP, task=TemporalOrder(length=12), engine="cpu", controllers={"omega": omega})
    pack = setup.pack([0, 1], controllers__omega__weight=1.0)
    program = pack.program
    assert program.backward_term is not None
    assert program.term_layers == {1, 2, 3}
    (_, tile), *_ = tiles(pack)
    on = torch.ones(2, dtype=torch.bool)
    added = []
    for want in (Wanted(term_rows=on), Wanted(trace=True)):
        learned, context = learn(tile, Tally(), want)
        assert [one.term is not None for one in learned.passes] == [want.term_rows is not None] * 3
        context.hypers = tile.unit_hypers("controllers.omega")
        added.append(omega.add(context) - learned.gradients)
    torch.testing.assert_close(added[0], added[1], rtol=1e-11, atol=1e-14)


def test_lengths_of_sequences_and_losses_at_every_step() -> None:
    """Defined for them too: what a row gives is finite, and sums over sequences are sums."""
    for every in (False, True):
        controllers = {"omega": Omega(layers="path"), "sampling": Sampling(layers="path")}
        setup = Setup(family=DEEP, task=Ragged(every=every), batch=3, controllers=controllers)
        bounds = dict(controllers__sampling__q_min=-1.0, controllers__sampling__q_max=1.0)
        pack = setup.pack([0], controllers__omega__weight=0.3, **bounds)
        (report,) = train_rung(pack, 3, 1)
        assert torch.isfinite(pack.params).all()
        assert report["omega/value"] > 0


def test_diagnostics_of_each_layer() -> None:
    setup = Setup(family=DEEP, task=Adding(length=12), batch=3, sigma=0.7)
    _, context = context_of(setup.pack([0, 1]))
    found = states(context.passes) | weights(context.family, context.values, context.family_hypers)
    for key in ("state/saturation", "state/lyapunov_max", "weights/rho", "weights/sigma_max"):
        assert {k for k in found if k.startswith(key)} == {key, f"{key}.1", f"{key}.2", f"{key}.3"}
        assert torch.equal(found[key], found[f"{key}.3"])
    for n, end in enumerate(("_l1", "_l2", ""), 1):
        w = context.values[f"w_rec{end}"]
        torch.testing.assert_close(found[f"weights/rho.{n}"], torch.linalg.eigvals(w).abs().amax(1))
    curves = profiles(context.passes)
    assert curves.shape == (2, 3, 12)
    for n, one in enumerate(context.passes):
        torch.testing.assert_close(curves[:, n], one.trace.delta.square().sum(-1).sqrt().mean(2).log10())
    # one layer: no numbers
    _, plain = context_of(Setup(family=Srn(5)).pack([0]))
    assert set(states(plain.passes)) == {"state/saturation", "state/lyapunov_max"}


@pytest.mark.parametrize("layers", ["first", (), (0,), (4,), (1, 1), (True,), 2])
def test_layers_that_are_not_there(layers) -> None:
    with pytest.raises(ConfigError, match=r"controllers\.omega\.layers.*no such layers.*1\.\.3"):
        check_layers(layers, "controllers.omega.layers", DEEP)


def test_what_has_no_path() -> None:
    task = TemporalOrder(length=12)
    with pytest.raises(ConfigError, match="the path through all layers is one of states"):
        Omega(layers="path", state="pre").check_with(DEEP, task, ())
    with pytest.raises(ConfigError, match="the path goes through plain loops"):
        Sampling(layers="path").check_with(layered(Lstm(5, layers=2)), task, ())
