"""Saturated nonlinearities of cells, against plain loops of one row that write down every pre-activation."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core import diagnostics
from rnnsweep.core.families.antisymmetric import Antisymmetric
from rnnsweep.core.families.base import Family
from rnnsweep.core.families.cornn import CoRnn
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lem import Lem
from rnnsweep.core.families.lipschitz import Lipschitz
from rnnsweep.core.families.lru import Lru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.min_lstm import MinLstm
from rnnsweep.core.families.mingru import MinGru
from rnnsweep.core.families.mlstm import Mlstm
from rnnsweep.core.families.momentum_lstm import MomentumLstm
from rnnsweep.core.families.nesterov_lstm_diff import NesterovLstmDiff
from rnnsweep.core.families.sbo import Sbo
from rnnsweep.core.families.scurnn import Scurnn
from rnnsweep.core.families.slstm import Slstm
from rnnsweep.core.families.unicornn import UnICoRnn
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import tiles, train_batch
from tests.kit.networks import Setup, context_of

H, T = 6, 14
Values = dict[str, torch.Tensor]
Pre = tuple[str, torch.Tensor]


def lstm_step(x: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[Pre]]:
    i, f, g, o = x.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h, c, [("sigmoid", i), ("sigmoid", f), ("tanh", g), ("sigmoid", o), ("tanh", c)]


def lstm(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    h = c = u.new_zeros(u.shape[1], H)
    path, found = u.new_zeros(u.shape[1], 4 * H), []
    for x in u:
        drive = x @ v["w_in"] + v["b"]
        path = own["mu"] * path + own["s"] * drive if "mu" in own else drive
        h, c, pre = lstm_step(path + h @ v["w_rec"] + v.get("b_rec", 0.0), c)
        found += pre
    return found


def nesterov_diff(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    h = c = u.new_zeros(u.shape[1], H)
    before, found, period = u.new_zeros(u.shape[1], 4 * H), [], int(own["restart"])
    for t, x in enumerate(u):
        k = t % period + 1
        now = h @ v["w_rec"] + v["b_rec"] - own["s"] * (x @ v["w_in"] + v["b"])
        h, c, pre = lstm_step(now + (k - 1) / (k + 2) * (now - before), c)
        before = now
        found += pre
    return found


def gru(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    h, found = u.new_zeros(u.shape[1], H), []
    for x in u:
        (dr, dz, dn), (ar, az, an) = (x @ v["w_in"] + v["b"]).chunk(3, -1), (h @ v["w_rec"]).chunk(3, -1)
        n = dn + torch.sigmoid(dr + ar) * (an + v["b_n"])
        found += [("sigmoid", dr + ar), ("sigmoid", dz + az), ("tanh", n)]
        z = torch.sigmoid(dz + az)
        h = (1 - z) * torch.tanh(n) + z * h
    return found


def mingru(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    return [("sigmoid", (x @ v["w_in"] + v["b"])[:, :H]) for x in u]


def cornn(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    y = z = u.new_zeros(u.shape[1], H)
    found: list[Pre] = []
    for x in u:
        a = torch.cat((y, z), 1) @ v["w_rec"] + x @ v["w_in"] + v["b"]
        z = z + own["dt"] * (torch.tanh(a) - own["gamma"] * y - own["epsilon"] * z)
        y = y + own["dt"] * z
        found.append(("tanh", a))
    return found


def gated_antisymmetric(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    h, found = u.new_zeros(u.shape[1], H), []
    a = v["m"] - v["m"].T - own["gamma"] * torch.eye(H)
    for x in u:
        z, n = (x @ v["w_in"] + v["b"] + (h @ a).repeat(1, 2)).chunk(2, -1)
        h = h + own["step"] * torch.sigmoid(z) * torch.tanh(n)
        found += [("sigmoid", z), ("tanh", n)]
    return found


def lem(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    y = z = u.new_zeros(u.shape[1], H)
    found: list[Pre] = []
    for x in u:
        first, second, new_z, new_y = (x @ v["w_in"] + v["b"]).chunk(4, -1)
        a = (y @ v["w_rec"]).chunk(3, -1)
        first, second, new_z = first + a[0], second + a[1], new_z + a[2]
        z = z + own["dt"] * torch.sigmoid(first) * (torch.tanh(new_z) - z)
        new_y = new_y + z @ v["w_y"]
        y = y + own["dt"] * torch.sigmoid(second) * (torch.tanh(new_y) - y)
        found += [("sigmoid", first), ("sigmoid", second), ("tanh", new_z), ("tanh", new_y)]
    return found


def unicornn(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    y = z = u.new_zeros(u.shape[1], H)
    found: list[Pre] = []
    for x in u:
        a, step = v["w"] * y + x @ v["w_in"] + v["b"], own["dt"] * torch.sigmoid(v["c"])
        z = z - step * (torch.tanh(a) + own["alpha"] * y)
        y = y + step * z
        found.append(("tanh", a))
    return found


def min_lstm(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    return [("sigmoid", gate) for x in u for gate in (x @ v["w_in"] + v["b"]).chunk(3, -1)[:2]]


def slstm(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    h = c = n = u.new_zeros(u.shape[1], H)
    found: list[Pre] = []
    for x in u:
        i, f, z, o = (x @ v["w_in"] + v["b"] + h @ v["w_rec"]).chunk(4, -1)
        c, n = torch.sigmoid(f) * c + i.exp() * torch.tanh(z), torch.sigmoid(f) * n + i.exp()
        h = torch.sigmoid(o) * c / n
        found += [("sigmoid", f), ("tanh", z), ("sigmoid", o)]
    return found


def mlstm(v: Values, u: torch.Tensor, own: Values) -> list[Pre]:
    """Of all units and of one head: the gates see the input only."""
    gates = [(x @ v["w_in"] + v["b"]).chunk(4, -1)[3] for x in u], [(x @ v["w_gates"] + v["b_gates"])[:, 1:] for x in u]
    return [("sigmoid", gate) for kind in gates for gate in kind]


CASES: list[tuple[Family, object]] = [
    (Lstm(hidden=H), lstm),
    (MomentumLstm(hidden=H), lstm),
    (NesterovLstmDiff(hidden=H), nesterov_diff),
    (Gru(hidden=H), gru),
    (MinGru(hidden=H), mingru),
    (CoRnn(hidden=H, dt=0.3), cornn),
    (Antisymmetric(hidden=H, gated=True, step=0.5), gated_antisymmetric),
    (Lem(hidden=H), lem),
    (UnICoRnn(hidden=H), unicornn),
    (MinLstm(hidden=H), min_lstm),
    (Slstm(hidden=H), slstm),
    (Mlstm(hidden=H), mlstm),
]


def share(pre: list[Pre]) -> float:
    """Share of |f'| < 0.1, f' by autograd of torch's own functions."""
    slopes = []
    for kind, x in pre:
        x = x.detach().requires_grad_()
        y = getattr(torch, kind)(x)
        slopes.append(torch.autograd.grad(y.sum(), x)[0].flatten())
    return float((torch.cat(slopes).abs() < 0.1).double().mean())


@pytest.mark.parametrize(("family", "plain"), CASES, ids=lambda x: type(x).__name__ if isinstance(x, Family) else "")
def test_the_share_is_that_of_a_plain_loop(family, plain):
    setup = Setup(family=family, task=TemporalOrder(length=T), sigma=2.0)
    pack = setup.pack([0, 1, 2])
    tile, context = context_of(pack, detailed=True)
    found = diagnostics.states(context.passes)["state/saturation"]
    values, batch, hypers = pack.program.layout.view(tile.params), train_batch(tile), tile.unit_hypers("family")
    for p in range(3):
        own = {name: value[p] for name, value in hypers.items()}
        wanted = share(plain({name: value[p] for name, value in values.items()}, batch.inputs[p], own))
        assert 0.02 < wanted < 0.98, "some saturate, some do not"
        assert float(found[p]) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("family", [Lstm(hidden=H), Gru(hidden=H)], ids=["lstm", "gru"])
def test_fused_loops_keep_what_it_takes(family):
    found = []
    for engine in ("cpu", "reference"):
        _, context = context_of(Setup(family=family, engine=engine, sigma=2.0).pack([0, 1]), detailed=True)
        found.append(diagnostics.states(context.passes)["state/saturation"])
    assert torch.equal(*found)


def test_steps_before_a_rows_start_do_not_count():
    """A row of T own steps has the same share in a longer pack."""
    family = Gru(hidden=H)
    setup = Setup(family=family, task=TemporalOrder(length=(10, 20)), sigma=2.0)
    pack = setup.pack([0, 1, 2, 3])
    (_, tile), *_ = tiles(pack)
    batch, values = train_batch(tile), pack.program.layout.view(tile.params)
    assert len(set(batch.lengths.tolist())) > 1
    _, context = context_of(pack, detailed=True)
    found = diagnostics.states(context.passes)["state/saturation"]
    for p in range(4):
        own = batch.inputs[p, batch.inputs.shape[1] - int(batch.lengths[p]) :]
        assert float(found[p]) == pytest.approx(share(gru({k: v[p] for k, v in values.items()}, own, {})), abs=1e-12)


@pytest.mark.parametrize(
    "family",
    [Scurnn(hidden=H), Lipschitz(hidden=H), *(Sbo(hidden=H, method=m) for m in ("sgd", "heavy_ball", "nesterov"))],
)
def test_slopes_are_the_derivatives_by_finite_differences(family):
    """Of relus: 1 where the state follows the pre-activation, 0 where it does not; of the tanh: its derivative."""
    cell, generator = family.cell, torch.Generator().manual_seed(1)
    P, B = 2, 40

    def draw(width: int) -> torch.Tensor:
        return torch.randn(P, B, width, dtype=torch.float64, generator=generator)

    a, d, s = draw(cell.product), draw(cell.drive), draw(cell.state)
    own = dict.fromkeys(("step", "eta", "mu"), torch.full((P, 1, 1), 0.5, dtype=torch.float64))
    own |= {"act_bias": draw(cell.hidden // 2), "w_back": draw(H)[:, :H]}
    found = cell.slopes(cell.forward(a, d, s, own)[1], d, s, own)
    if isinstance(family, Lipschitz):
        x = (a[..., H:] + d).requires_grad_()
        wanted = torch.autograd.grad(torch.tanh(x).sum(), x)[0]
        torch.testing.assert_close(found, wanted)
        return
    z = a + d
    if isinstance(family, Scurnn):
        z = torch.complex(z[..., :H], z[..., H:]).abs().square().add(1e-5).sqrt() + own["act_bias"]
    assert torch.equal(found, (z > 0).double())
    assert 0 < float(found.mean()) < 1


def test_what_has_no_nonlinearity_reports_nothing_of_gates():
    _, context = context_of(Setup(family=Lru(hidden=H)).pack([0]), detailed=True)
    assert diagnostics.states(context.passes)["state/saturation"].tolist() == [0.0], "identity never saturates"
