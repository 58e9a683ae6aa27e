"""xLSTM's loops and minLSTM against their sources' formulas under autograd, and where those formulas would overflow."""

from __future__ import annotations

import math

import pytest
import torch

from rnnsweep.core.families.min_lstm import MinLstm
from rnnsweep.core.families.mlstm import Mlstm
from rnnsweep.core.families.slstm import Slstm
from rnnsweep.core.inits.orthogonal import Orthogonal
from rnnsweep.core.recurrence.cells import ProductCell
from rnnsweep.errors import ConfigError
from tests.kit.gradients import Parts, assert_equals

H = 6
Own = dict[str, float]


def zeros(inputs: torch.Tensor) -> torch.Tensor:
    return torch.zeros(inputs.shape[1], H, dtype=torch.float64)


def min_lstm(parts: Parts, inputs: torch.Tensor, own: Own) -> torch.Tensor:
    h, found = zeros(inputs), []
    for u in inputs:
        f, i, n = (u @ parts["w_in"] + parts["b"]).split(H, 1)
        f, i = f.sigmoid(), i.sigmoid()
        h = f / (f + i) * h + i / (f + i) * n
        found.append(h)
    return torch.stack(found)


def slstm(heads: int, forget):
    """Without a stabiliser: eq. 8-14 of the paper, a block-diagonal matrix for each gate."""

    def states(parts: Parts, inputs: torch.Tensor, own: Own) -> torch.Tensor:
        h, c, n, found = zeros(inputs), zeros(inputs), zeros(inputs), []
        D = H // heads
        gates = [
            torch.block_diag(*(w[:, k * D : (k + 1) * D] for k in range(heads))) for w in parts["w_rec"].split(H, 1)
        ]
        for u in inputs:
            drive = (u @ parts["w_in"] + parts["b"]).split(H, 1)
            i, f, z, o = (d + h @ w for d, w in zip(drive, gates, strict=True))
            c = forget(f) * c + torch.exp(i) * torch.tanh(z)
            n = forget(f) * n + torch.exp(i)
            h = torch.sigmoid(o) * c / n
            found.append(h)
        return torch.stack(found)

    return states


def mlstm(heads: int, forget):
    """Without a stabiliser: eq. 19-27 of the paper, head by head and sequence by sequence."""

    def states(parts: Parts, inputs: torch.Tensor, own: Own) -> torch.Tensor:
        D, sequences = H // heads, []
        for b in range(inputs.shape[1]):
            memory = [torch.zeros(D, D, dtype=torch.float64) for _ in range(heads)]
            n = [torch.zeros(D, dtype=torch.float64) for _ in range(heads)]
            found = []
            for u in inputs[:, b]:
                q, k, v, o = (u @ parts["w_in"] + parts["b"]).split(H)
                i, f = (u @ parts["w_gates"] + parts["b_gates"]).split(heads)
                h = []
                for j in range(heads):
                    own_q, own_k, own_v = (x[j * D : (j + 1) * D] for x in (q, k, v))
                    own_k = own_k / math.sqrt(D)
                    memory[j] = forget(f[j]) * memory[j] + torch.exp(i[j]) * torch.outer(own_v, own_k)
                    n[j] = forget(f[j]) * n[j] + torch.exp(i[j]) * own_k
                    h.append(memory[j] @ own_q / torch.clamp_min((n[j] @ own_q).abs(), 1.0))
                found.append(torch.sigmoid(o) * torch.cat(h))
            sequences.append(torch.stack(found))
        return torch.stack(sequences, 1)

    return states


FORGET = {"sigmoid": torch.sigmoid, "exp": torch.exp}


def test_min_lstm_equals_autograd():
    assert_equals(MinLstm(H), min_lstm, tolerance=1e-11)


@pytest.mark.parametrize("forget", FORGET)
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_slstm_equals_autograd_without_a_stabiliser(heads, forget):
    family = Slstm(H, heads=heads, forget_gate=forget)
    large = torch.linspace(-2, 2, 4 * H, dtype=torch.float64)
    assert_equals(family, slstm(heads, FORGET[forget]), tolerance=1e-11)
    assert_equals(family, slstm(heads, FORGET[forget]), fixed={"b": large}, tolerance=1e-11)


@pytest.mark.parametrize("forget", FORGET)
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_mlstm_equals_autograd_without_a_stabiliser(heads, forget):
    """Small first weights leave the divisor at 1; large ones bring |n q| above it, in some steps of some heads."""
    family = Mlstm(H, heads=heads, forget_gate=forget)
    assert_equals(family, mlstm(heads, FORGET[forget]), tolerance=1e-11)
    large = {"b": torch.linspace(-2, 2, 4 * H, dtype=torch.float64)}
    assert_equals(family, mlstm(heads, FORGET[forget]), fixed=large, tolerance=1e-11)


CELLS = [Slstm(H), Slstm(H, forget_gate="exp"), Mlstm(H, heads=2), Mlstm(H, forget_gate="exp"), MinLstm(H)]


def drawn(cell: ProductCell, *, scale: float) -> list[torch.Tensor]:
    """a, d, a state that the cell has come to, and g."""
    generator = torch.Generator().manual_seed(1)
    P, B = 2, 20

    def draw(width: int) -> torch.Tensor:
        return scale * torch.randn(P, B, width, dtype=torch.float64, generator=generator)

    s = torch.zeros(P, B, cell.state, dtype=torch.float64)
    for _ in range(3):
        s = cell.step(draw(cell.product), draw(cell.drive), s, {})
    return [draw(cell.product), draw(cell.drive), s, draw(cell.state)]


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("family", CELLS, ids=str)
def test_the_closed_form_is_the_derivative_of_the_whole_step(family, first):
    """With any gradient of the whole state, the stabiliser's too, not only with those that a read-out leads to."""
    cell = family.cell
    a, d, s, g = drawn(cell, scale=2.0)
    s = torch.zeros_like(s) if first else s
    _, kept = cell.forward(a, d, s, {})
    found = cell.pull(kept, d, s, {}, g)
    wanted = ProductCell.pull(cell, a, d, s, {}, g)  # autograd of `step`
    for name in ("a", "d", "s"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.parametrize("family", CELLS, ids=str)
def test_numbers_that_exponentials_do_not_hold_stay_finite(family):
    """Pre-activations of thousands, in float32, where e^89 is infinite: states and gradients stay finite."""
    cell: ProductCell = family.cell
    a, d, s, g = (x.float() for x in drawn(cell, scale=2000.0))
    for state in (s, torch.zeros_like(s)):
        new, kept = cell.forward(a, d, state, {})
        assert torch.isfinite(new).all()
        # m itself may be of thousands; the rest of what comes back is bounded by what goes in
        part = cell.pull(kept, d, state, {}, g / 2000)
        assert all(torch.isfinite(x).all() for x in (part.a, part.d, part.s))


def test_closed_gates_of_min_lstm_keep_their_ratio():
    """sigmoid(-100) / (sigmoid(-100) + sigmoid(-101)) is 1 / (1 + 1 / e); both are 0 in float32."""
    cell = MinLstm(1).cell
    d = torch.tensor([[[-100.0, -101.0, 0.0]]], dtype=torch.float32)
    h = cell.step(d[..., :0], d, torch.ones(1, 1, 1, dtype=torch.float32), {})
    assert float(h) == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-6)


def test_the_normaliser_is_at_least_one():
    cell = Slstm(H).cell
    _, _, s, _ = drawn(cell, scale=5.0)
    assert float(s[..., 2 * H : 3 * H].min()) >= 1


@pytest.mark.parametrize("kind", [Slstm, Mlstm])
def test_heads_that_do_not_divide_are_refused(kind):
    with pytest.raises(ConfigError, match=r"family\.heads.*divisor of 10"):
        kind(hidden=10, heads=4)


def test_blocks_of_heads_are_drawn_each_by_itself():
    """An orthogonal init makes every gate's block of every head orthogonal."""
    family, one = Slstm(8, heads=2), torch.ones(2, dtype=torch.float64)
    w = Orthogonal().draw(family.parameters(3, 2), torch.arange(2), {"gain": one}, 1.0)["w_rec"]
    eye = torch.eye(4, dtype=torch.float64)
    for block in w.split(4, -1):
        torch.testing.assert_close(block @ block.transpose(1, 2), eye.expand(2, 4, 4))
