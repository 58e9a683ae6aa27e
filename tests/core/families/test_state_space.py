"""Blocks around a diagonal recurrence, against the sources' formulas in complex torch."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest, norm, uniform
from torch.nn.functional import gelu, layer_norm

from rnnsweep.core.families.lru_block import LruBlock
from rnnsweep.core.families.s5 import S5, hippo
from rnnsweep.core.families.state_space_block import StateSpaceBlock
from rnnsweep.core.layered import layered
from rnnsweep.core.network import Parts as NetworkParts
from rnnsweep.core.network import RecurrentNetwork
from rnnsweep.core.readouts.linear import Linear
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError
from tests.kit.gradients import Parts, assert_equals
from tests.kit.networks import Setup, context_of
from tests.kit.ragged import Ragged

H, N = 6, 4
KEYS = torch.arange(3)


def complex_of(matrix: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.complex(*(part.contiguous() for part in matrix.chunk(2, axis)))


def block(family: StateSpaceBlock, parts: Parts, inputs: torch.Tensor, lam, scale, factor: float) -> torch.Tensor:
    """A block as the sources have it, sequences [T, B, I]."""
    u = inputs @ parts["w_in"] + parts["b"] if "w_in" in parts else inputs
    normed = lambda v: layer_norm(v, (H,), parts["gain"], parts["shift"], 1e-6)  # noqa: E731
    z = normed(u) if family.norm == "pre" else u
    b, c = complex_of(parts["w_b"], 1), complex_of(parts["w_c"], 0)
    x, found = torch.zeros(inputs.shape[1], N, dtype=b.dtype), []
    for step in z:
        x = lam * x + scale * (step.to(b.dtype) @ b)
        found.append(factor * (x @ c).real + parts["d"] * step)
    v = gelu(torch.stack(found), approximate="tanh")
    if family.gate == "full_glu":
        first, second = (v @ parts["w_gate"] + parts["b_gate"]).chunk(2, -1)
        v = first * second.sigmoid()
    elif family.gate == "half_glu":
        v = v * (v @ parts["w_gate"] + parts["b_gate"]).sigmoid()
    return u + v if family.norm == "pre" else normed(u + v)


def lru(family: LruBlock):
    def states(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
        lam = torch.exp(torch.complex(-parts["nu_log"].exp(), parts["theta_log"].exp()))
        return block(family, parts, inputs, lam, parts["gamma_log"].exp(), 1.0)

    return states


def s5(family: S5):
    def states(parts: Parts, inputs: torch.Tensor, own: dict[str, float]) -> torch.Tensor:
        eigenvalues = torch.complex(parts["eig_re"].clamp_max(-1e-4), parts["eig_im"])
        lam = torch.exp(eigenvalues * parts["log_step"].exp())
        return block(family, parts, inputs, lam, (lam - 1) / eigenvalues, 2.0)

    return states


CASES = [
    *(
        (LruBlock(H, states=N, gate=gate, norm=side), lru)
        for gate in ("full_glu", "half_glu")
        for side in ("pre", "post")
    ),
    *((S5(H, states=N, gate=gate, norm=side), s5) for gate in ("half_glu", "gelu") for side in ("pre", "post")),
    (S5(H, states=N, gate="full_glu"), s5),
]


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize(("family", "oracle"), CASES, ids=lambda x: str(x) if isinstance(x, StateSpaceBlock) else "")
def test_states_and_gradients_equal_the_sources_formulas(family, oracle, engine):
    assert_equals(family, oracle(family), tolerance=1e-10, engine=engine)


@pytest.mark.parametrize("kind", [LruBlock, S5])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (3, False), (2, True)])
def test_rows_and_sequences_stay_alone(kind, layers, bidirectional, engine):
    """Packed as alone in float32, to the bit, for sequences of different lengths; one rung and one more as two."""
    family = layered(kind(H, states=N, layers=layers, bidirectional=bidirectional))
    setup = Setup(family=family, task=Ragged(every=True), dtype=torch.float32, engine=engine)
    together, alone = setup.pack([0, 1, 2]), setup.pack([1])
    for _ in range(2):
        first, second = train_rung(together, 3, 1)[1], train_rung(alone, 3, 1)[0]
    assert torch.equal(together.params[1], alone.params[0])
    assert first == second


@pytest.mark.parametrize("kind", [LruBlock, S5])
def test_a_stream_is_the_whole(kind):
    family = layered(kind(H, states=N, layers=2))
    tile, context = context_of(Setup(family=family).pack([0]))
    values = {name: value[:1] for name, value in context.values.items()}
    n_inputs = context.batch.inputs.shape[-1]
    network = RecurrentNetwork(NetworkParts(family, Linear(), n_inputs, per_step=True), values, {})
    x = torch.randn(9, 2, n_inputs, generator=torch.Generator().manual_seed(1))
    whole, state, pieces = network(x), None, []
    for part in x.split((4, 1, 4)):
        y, state = network.stream(part, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-12, atol=1e-12)
    states = tile.program.engine.name, whole.shape
    assert states[1][0] == 9


def test_lru_starts_on_its_ring_with_states_of_size_one():
    found = LruBlock(H, states=3000, r_min=0.5, r_max=0.9, max_phase=1.0).initial({}, (), KEYS)
    size = torch.exp(-torch.exp(found["nu_log"]))
    assert 0.5 <= float(size.min()) < float(size.max()) <= 0.9
    assert kstest((size[0] ** 2).numpy(), uniform(0.25, 0.56).cdf).pvalue > 1e-6
    torch.testing.assert_close(torch.exp(found["gamma_log"]), (1 - size**2).sqrt())
    assert float(torch.exp(found["theta_log"]).max()) <= 1.0
    assert kstest(found["w_b"][0].flatten().numpy(), norm(0, 1 / math.sqrt(2 * H)).cdf).pvalue > 1e-6


def test_s5_starts_at_hippo():
    """V Lambda V^H is the normal part of HiPPO-LegS; steps are log-uniform."""
    eigenvalues, vectors = hippo(8)
    n = torch.arange(16.0)
    legs = torch.zeros(16, 16)
    for i in range(16):
        for j in range(16):
            legs[i, j] = -math.sqrt(2 * i + 1) * math.sqrt(2 * j + 1) if i > j else (-(i + 1) if i == j else 0)
    normal = legs + torch.outer((n + 0.5).sqrt(), (n + 0.5).sqrt())
    whole = torch.cat((eigenvalues, eigenvalues.conj()))
    v = torch.cat((vectors, vectors.conj()), 1)
    made = v @ whole.diag() @ v.conj().T
    torch.testing.assert_close(made.real, normal, rtol=1e-9, atol=1e-9)
    assert float(made.imag.abs().max()) < 1e-9
    found = S5(H, states=500, dt_min=0.01, dt_max=0.2).initial({}, (), KEYS)
    steps = kstest(found["log_step"][0].numpy(), uniform(math.log(0.01), math.log(20)).cdf)
    assert steps.pvalue > 1e-6
    # B = V^H times real numbers of variance 1 / 2N: |B|^2 has mean 2 / 2 of it for each of the half of the pairs
    b = complex_of(found["w_b"], 2)
    assert float(b.abs().square().mean()) == pytest.approx(1 / 1000, rel=0.1)
    with pytest.raises(ConfigError, match=r"family\.dt_max"):
        S5(dt_min=0.2, dt_max=0.1)


def test_no_encoder_where_widths_agree():
    names = {spec.name for spec in S5(H).parameters(H, 2)}
    assert not {"w_in", "b"} & names
    assert {"w_in", "b"} <= {spec.name for spec in S5(H).parameters(3, 2)}
