"""Inverses of I + A without pivoting: as good as LAPACK's where they are taken, and seen where they are not."""

from __future__ import annotations

from collections.abc import Iterator

import jaxtyping
import pytest
import torch

from rnnsweep.core import numerics
from rnnsweep.core.families import orthogonal_maps
from rnnsweep.core.families.unitary_map import UnitaryParameters, unitary, unitary_pullback
from rnnsweep.core.recurrence.cpu import host
from rnnsweep.core.recurrence.cpu.engine.skew_inverses import LIMITS, SkewInverses, skew_inverses

pytestmark = pytest.mark.skipif(host.VECTOR_BYTES == 0, reason="this CPU has no vectors with fused multiply-add")
SIZES = (1, 2, 7, 16, 17, 33, 100)
NORMS = (0.0, 1e-6, 0.3, 3.0, 10.0, 100.0, 1e3)
KINDS = ("dense", "planes", "arrow", "corner")
TYPES = [(torch.float32, 1e-5), (torch.float64, 1e-12)]
"""Errors as large as an orthogonal map may have by its promise."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def normal(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def upper(kind: str, size: int) -> torch.Tensor:
    """A strict upper triangle: anything; planes side by side; one unit against all others; two halves that meet."""
    x = normal(size, size).triu(1)
    if kind == "planes":
        x = torch.diag(x.diagonal(1), 1) * (torch.arange(size) % 2 == 0)[:, None] if size > 1 else x
    if kind == "arrow":
        x[1:] = 0
    if kind == "corner":
        x[:, : size // 2] = 0
        x[size // 2 :] = 0
    return x


def stored(size: int, dtype: torch.dtype) -> torch.Tensor:
    """All kinds with all norms, a row each."""
    rows = []
    for kind in KINDS:
        u = upper(kind, size)
        norm = torch.linalg.matrix_norm(u - u.T, 2)
        rows += [u * (scale / norm if norm > 0 else 0.0) for scale in NORMS]
    return torch.stack(rows).to(dtype)


def true_inverse(u: torch.Tensor) -> torch.Tensor:
    """By LAPACK, in float64."""
    return torch.linalg.inv(torch.eye(u.shape[1], dtype=torch.float64) + orthogonal_maps.skew(u.double()))


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("size", SIZES)
def test_the_maps_are_those_of_float64_whatever_the_norm(size: int, dtype: torch.dtype, tolerance: float) -> None:
    u, eye = stored(size, dtype), torch.eye(size, dtype=torch.float64)
    d = orthogonal_maps.signs(torch.linspace(0, 1, len(u), dtype=dtype), size)
    true = true_inverse(u)
    found = orthogonal_maps.definite_inverse(eye.to(dtype) + orthogonal_maps.skew(u)).double()
    w = orthogonal_maps.cayley(u, d).double()
    torch.testing.assert_close(found, true, rtol=0, atol=tolerance)
    torch.testing.assert_close(w, (2 * true - eye) * d.double()[:, None, :], rtol=0, atol=tolerance)
    # Both factors have the error of W.
    torch.testing.assert_close(w.mT @ w, eye.expand_as(w), rtol=0, atol=2 * tolerance)
    g = normal(*u.shape, seed=1)
    v = 2 * true.mT @ (g * d.double()[:, None, :]) @ true.mT
    back = orthogonal_maps.cayley_pullback(d, w.to(dtype), g.to(dtype)).double()
    torch.testing.assert_close(back, (v.mT - v).triu(1), rtol=0, atol=10 * tolerance * max(1.0, float(v.abs().max())))


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("size", SIZES)
def test_rows_are_called_steady_where_they_are_exact_and_no_others(size, dtype, tolerance) -> None:
    """Moderate norms must not need LAPACK, which would be several times as long; and steady means exact."""
    u = stored(size, dtype)
    x = torch.eye(size, dtype=dtype) + orthogonal_maps.skew(u)
    found, steady = SkewInverses().inverse(x)
    moderate = torch.linalg.matrix_norm(x, 2) < 7  # 1 + 7^2 is below every limit
    assert bool(steady[moderate].all())
    assert int(moderate.sum()) >= 4 * len(KINDS)
    torch.testing.assert_close(found[steady].double(), true_inverse(u)[steady], rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [2, 9, 40])
def test_growth_is_seen_within_a_block_and_beyond(size: int, dtype: torch.dtype) -> None:
    """One unit against all others: the first pivot makes 1 + c^2 of each of them, which the next one takes away."""
    u = torch.zeros(2, size, size, dtype=dtype)
    u[0, 0, 1:], u[1, 0, -1] = 2 * LIMITS[dtype] ** 0.5, 2 * LIMITS[dtype] ** 0.5
    _, steady = SkewInverses().cayley(u, torch.ones(2, size, dtype=dtype))
    assert steady.tolist() == [False, False]
    _, steady = SkewInverses().cayley(u / 4, torch.ones(2, size, dtype=dtype))
    assert steady.tolist() == [True, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_planes_that_turn_by_almost_half_a_circle(dtype: torch.dtype) -> None:
    """W has eigenvalues next to -1 there: A is large, whatever D is."""
    angles = torch.pi - torch.tensor([1e-1, 1e-2, 1e-3], dtype=torch.float64)
    u = torch.zeros(3, 5, 5, dtype=torch.float64)
    u[:, 1, 3] = torch.tan(angles / 2)
    for share in (0.0, 0.6):
        d = orthogonal_maps.signs(torch.full((3,), share, dtype=dtype), 5)
        w = orthogonal_maps.cayley(u.to(dtype), d) * d[:, None, :]
        block = w[:, (1, 3)][:, :, (1, 3)].double()
        want = torch.stack([torch.cos(angles), -torch.sin(angles), torch.sin(angles), torch.cos(angles)], 1).view(
            3, 2, 2
        )
        torch.testing.assert_close(block, want, rtol=0, atol=2e-7 if dtype == torch.float32 else 1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES[1:])
def test_no_bit_depends_on_neighbours_or_threads(size: int, dtype: torch.dtype) -> None:
    u = stored(size, dtype)[[1, 2, 3, 6, 9, 17]]
    d = orthogonal_maps.signs(torch.linspace(0, 1, 6, dtype=dtype), size)
    g = normal(*u.shape, seed=1).to(dtype)
    sick = u.clone()
    sick[2, 0, 1], sick[4, 0, size - 1] = torch.nan, torch.inf
    w, beside = orthogonal_maps.cayley(u, d), orthogonal_maps.cayley(sick, d)
    back = orthogonal_maps.cayley_pullback(d, w, g)
    torch.set_num_threads(2)
    two = SkewInverses()
    torch.set_num_threads(1)
    assert torch.equal(two.cayley_pullback(d, w, g), back)
    assert torch.equal(two.cayley(u, d)[0], SkewInverses().cayley(u, d)[0])
    for p in range(6):
        alone = orthogonal_maps.cayley(u[p : p + 1], d[p : p + 1])
        assert torch.equal(alone[0], w[p])
        assert torch.equal(orthogonal_maps.cayley_pullback(d[p : p + 1], alone, g[p : p + 1])[0], back[p])
        assert torch.equal(beside[p], w[p]) == (p not in (2, 4))
    assert torch.isnan(beside[2]).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [5, 16, 33])
def test_no_bit_of_the_unitary_map_depends_on_neighbours(size: int, dtype: torch.dtype) -> None:
    shapes = ((size, size), (size, size), (size,))
    values = UnitaryParameters(
        *(normal(4, *shape, seed=n).to(dtype) / size**0.5 for n, shape in enumerate(shapes, start=1))
    )
    values.a_skew[3] *= 1e3
    g = normal(4, 2 * size, 2 * size).to(dtype)
    w = unitary(values)
    back = unitary_pullback(values, w, g)
    values.a_symmetric[1, 0, 0] = torch.nan
    beside = unitary(values)
    for p in (0, 2, 3):
        own = UnitaryParameters(*(value[p : p + 1] for value in values))
        alone = unitary(own)
        assert torch.equal(alone[0], w[p])
        assert torch.equal(beside[p], w[p])
        found = unitary_pullback(own, alone, g[p : p + 1])
        assert all(torch.equal(one[0], all_[p]) for one, all_ in zip(found, back, strict=True))


def complex_map(values: UnitaryParameters) -> torch.Tensor:
    """W by torch's complex numbers and LAPACK."""
    a = torch.complex(values.a_skew.triu(1) - values.a_skew.triu(1).mT, values.a_symmetric.triu())
    a = a + 1j * values.a_symmetric.triu(1).mT
    eye = torch.eye(a.shape[1], dtype=a.dtype)
    return torch.linalg.solve(eye + a, eye - a) * torch.polar(torch.ones_like(values.theta), values.theta)[:, None]


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("size", SIZES)
def test_the_unitary_map_and_its_pull_back_are_those_of_complex_float64(size, dtype, tolerance) -> None:
    """Also of rows that are not steady: the last ones."""
    shapes = ((size, size), (size, size), (size,))
    values = UnitaryParameters(*(normal(3, *shape, seed=n).to(dtype) for n, shape in enumerate(shapes)))
    values.a_skew[2] *= 300
    w = unitary(values)
    live = UnitaryParameters(*(value.double().requires_grad_() for value in values))
    true = complex_map(live)
    real = torch.cat((torch.cat((true.real, true.imag), 2), torch.cat((-true.imag, true.real), 2)), 1)
    torch.testing.assert_close(w.double(), real.detach(), rtol=0, atol=10 * tolerance)
    g = normal(3, 2 * size, 2 * size, seed=9)
    wanted = torch.autograd.grad(real, live, g)
    for found, want in zip(unitary_pullback(values, w, g.to(dtype)), wanted, strict=True):
        error = (found.double() - want).abs().amax() / want.abs().amax().clamp_min(1.0)
        assert error < 30 * tolerance


def test_what_a_graph_records_or_another_type_goes_another_way() -> None:
    x = torch.eye(3, dtype=torch.float64)[None]
    assert skew_inverses(x) is skew_inverses(x)
    assert skew_inverses(x.clone().requires_grad_()) is None
    assert skew_inverses(x, x.half()) is None
    live = orthogonal_maps.skew(normal(1, 3, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: orthogonal_maps.definite_inverse(x + a), live)
    torch.testing.assert_close(orthogonal_maps.definite_inverse(x + live), numerics.inverse(x + live.detach()))


def test_no_address_reaches_a_kernel_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of tests nobody checks annotations."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    x, d = torch.zeros(2, 3, 3), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="diagonal is"):
        SkewInverses().cayley(x, d[:1])
    with pytest.raises(TypeError, match="gradient is"):
        SkewInverses().cayley_pullback(d, x, x.half())
