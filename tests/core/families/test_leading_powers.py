"""Leading eigenvalues by squaring are LAPACK's: radius, slope, ties, and what has no gradient."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.families import leading_powers
from rnnsweep.core.families.leading_powers import Leaders, leaders_by_squaring
from rnnsweep.core.families.spectral import Leading, by_lapack, leading, tie_tolerance
from rnnsweep.core.recurrence.cpu import host
from tests.core.families.test_enrnn import mixed

TYPES = (torch.float32, torch.float64)


Ways = list[Leaders | Leading]


def ways(x: torch.Tensor, tie: float) -> Ways:
    """By torch's operations; as families ask: by a kernel, which this machine must have."""
    assert leading_powers.simple_leaders(x, tie) is not None or not host.VECTOR_BYTES
    return [leaders_by_squaring(x, tie), leading(x)]


def rows_of(*matrices: list[list[float]]) -> torch.Tensor:
    return torch.tensor(matrices, dtype=torch.float64)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 20, 64])
def test_random_matrices(n, dtype):
    """Real leaders and pairs; the worst conditioned of a hundred small ones decides the tolerance."""
    x = torch.randn(100, n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n)).to(dtype)
    want = by_lapack(x)
    for found in ways(x, tie_tolerance(n, dtype)):
        assert not bool(found.tied.any())
        torch.testing.assert_close(found.rho, want.rho, rtol=1e-11, atol=0)
        error = (found.slope - want.slope).abs().amax((1, 2)) / want.slope.abs().amax((1, 2))
        assert float(error.max()) < 1e-9
    pairs = torch.linalg.eigvals(x.double())
    leaders = pairs.gather(1, pairs.abs().argmax(1, keepdim=True))
    assert n == 1 or 0 < int((leaders.imag != 0).sum()) < 100


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", [4, 20, 64])
def test_ties_are_those_of_the_types_own_rounding(n, dtype):
    """Equal in exact arithmetic, parted by rounding: tied. 1e-4 apart: not."""
    equal = torch.full((n // 2,), 1.25, dtype=torch.float64)
    apart = equal.clone()
    apart[0] *= 1 + 1e-4
    tie = tie_tolerance(n, dtype)
    for tied in ways(torch.stack([mixed(n, equal, seed) for seed in range(10)]).to(dtype), tie):
        assert bool(tied.tied.all())
        assert not bool(tied.slope.any())
        rounding = tie if dtype == torch.float32 else 1e-11
        torch.testing.assert_close(tied.rho, torch.full((10,), 1.25, dtype=torch.float64), rtol=rounding, atol=0)
    x = torch.stack([mixed(n, apart, seed) for seed in range(10)]).to(dtype)
    want = by_lapack(x)
    for found in ways(x, tie):
        assert not bool(found.tied.any())
        torch.testing.assert_close(found.rho, want.rho, rtol=1e-13, atol=0)
        torch.testing.assert_close(found.slope, want.slope, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("share", "tied"), [(0.3, True), (0.7, True), (1.5, False), (3.0, False)])
@pytest.mark.parametrize("tie", [1e-9, 3e-6])
def test_the_tolerance_is_where_a_tie_ends(share, tied, tie):
    sizes = torch.ones(4, dtype=torch.float64)
    sizes[0] += share * tie
    x = torch.stack([mixed(8, sizes, seed) for seed in range(10)])
    assert leaders_by_squaring(x, tie).tied.tolist() == [tied] * 10
    kernel = leading_powers.simple_leaders(x, tie)
    assert kernel is None or kernel.tied.tolist() == [tied] * 10


def test_special_matrices():
    """As LAPACK's: no full set of eigenvectors, nilpotent, two signs, a double one, a cycle, huge and tiny, 0, NaN."""
    nan = float("nan")
    x = rows_of(
        [[1, 1, 0], [0, 1, 0], [0, 0, 0.3]],
        [[0, 1, 0], [0, 0, 1], [0, 0, 0]],
        [[2, 0, 0], [0, -2, 0], [0, 0, 0.5]],
        [[2, 0, 0], [0, 2, 0], [0, 0, 0.5]],
        [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
        [[1e200, 0, 0], [0, 1, 1], [0, 0, 1]],
        [[-3e-300, 0, 0], [0, 0, 1e-300], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [0, nan, 0], [0, 0, 1]],
    )
    want = by_lapack(x)
    for found in ways(x, 1e-9):
        assert found.tied.tolist() == want.tied.tolist() == [True] * 5 + [False] * 2 + [True, False]
        torch.testing.assert_close(found.rho, want.rho, rtol=1e-10, atol=0, equal_nan=True)
        torch.testing.assert_close(found.slope, want.slope, rtol=0, atol=1e-12)


def test_a_matrix_far_from_normal():
    """Condition number 1e3 of the leader: its slope is as large, and still right."""
    x = rows_of([[1.0, 1e3, 0.0], [0.0, 0.2, 1e2], [0.0, 0.0, -0.1]], [[0.3, 2.0, 0.0], [-1e-4, 0.3, 9.0], [0, 0, 0.1]])
    want = by_lapack(x)
    for found in ways(x, 1e-9):
        assert not bool(found.tied.any())
        torch.testing.assert_close(found.rho, want.rho, rtol=1e-11, atol=0)
        torch.testing.assert_close(found.slope, want.slope, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("n", [3, 16, 33])
def test_no_bit_depends_on_neighbours(n):
    x = torch.randn(5, n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float32)
    x[3] = torch.eye(n)  # LAPACK's
    whole = leading(x)
    x[1, 0, 0] = torch.nan
    beside = leading(x)
    for p in (0, 2, 3, 4):
        alone = leading(x[p : p + 1].clone())
        for name in ("rho", "slope", "tied"):
            assert torch.equal(getattr(alone, name)[0], getattr(whole, name)[p])
            assert torch.equal(getattr(beside, name)[p], getattr(whole, name)[p])
    assert torch.isnan(beside.rho[1])


def test_what_is_too_large_is_lapacks(monkeypatch):
    x = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(leading_powers, "SQUARED", 5)
    assert leading_powers.simple_leaders(x, 1e-6) is None
    torch.testing.assert_close(leading(x).slope, by_lapack(x).slope, rtol=0, atol=0)
