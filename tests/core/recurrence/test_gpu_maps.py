"""Kernels of the maps of recurrent weights, in Triton's interpreter where there is no GPU, beside LAPACK and torch."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from rnnsweep.core import numerics
from rnnsweep.core.families import orthogonal_maps
from rnnsweep.core.families.exponential_map import ProductSquares, exponential
from rnnsweep.core.families.leading_powers import leaders_by_squaring
from rnnsweep.core.families.spectral import leading
from rnnsweep.core.families.unitary_map import UnitaryParameters, unitary, unitary_pullback
from rnnsweep.core.recurrence.gpu import available
from tests.core.recurrence.test_skew_inverses import normal, stored, true_inverse, upper

TYPES = [(torch.float32, 1e-5), (torch.float64, 1e-12)]
"""Errors as large as an orthogonal map may have by its promise."""
GREAT = 1e4


@pytest.fixture(scope="module")
def device(triton_interpreter: str) -> str:
    return triton_interpreter


@pytest.fixture
def kernels(device: str) -> ModuleType:
    return importlib.import_module("rnnsweep.core.recurrence.gpu.maps")


@pytest.fixture
def as_on_a_gpu(kernels: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps take the kernels, and read nothing."""
    monkeypatch.setattr(available, "map_kernels", lambda *tensors: kernels)
    monkeypatch.setattr(numerics, "readable", lambda x: False)


def i_plus_a(u: torch.Tensor) -> torch.Tensor:
    return torch.eye(u.shape[1], dtype=u.dtype) + orthogonal_maps.skew(u)


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("size", [1, 2, 17, pytest.param(33, marks=pytest.mark.slow)])
def test_inverses_are_those_of_float64_whatever_the_norm(kernels, device, size, dtype, tolerance):
    u = stored(size, dtype)
    found = kernels.inverse(i_plus_a(u).to(device)).cpu()
    torch.testing.assert_close(found.double(), true_inverse(u), rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "dtype", "tolerance"), [(100, *TYPES[1]), (200, *TYPES[0])])
def test_inverses_of_several_tiles(kernels, device, size, dtype, tolerance):
    """A small one, and one that grows."""
    u = torch.stack([upper("dense", size) * 0.1, upper("corner", size)]).to(dtype)
    found = kernels.inverse(i_plus_a(u).to(device)).cpu()
    torch.testing.assert_close(found.double(), true_inverse(u), rtol=0, atol=tolerance)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what grows ends by dividing by zero
def test_a_row_that_grows_is_done_again_and_no_other(kernels, device, monkeypatch):
    """One unit against others of the next block makes 1 + c^2 of their diagonal; planes within a block make nothing."""
    u = torch.zeros(3, 20, 20, dtype=torch.float32)
    u[0, 0, 16:], u[1, 2, 3], u[2, 0, 16:] = GREAT, GREAT, 1.0
    found = kernels.inverse(i_plus_a(u).to(device)).cpu()
    torch.testing.assert_close(found.double(), true_inverse(u), rtol=0, atol=1e-6)
    monkeypatch.setitem(kernels.inverses.LIMITS, torch.float32, torch.inf)
    once = kernels.inverse(i_plus_a(u).to(device)).cpu()
    assert not (once[0].double() - true_inverse(u)[0]).abs().max() <= 1e-3
    assert torch.equal(once[1:], found[1:])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers that are not finite, in the interpreter
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_bit_depends_on_neighbours_and_what_has_no_inverse_is_not_finite(kernels, device, dtype):
    x = i_plus_a(torch.stack([upper("dense", 20) * scale for scale in (0.3, 1e3, 0.3, 0.3, 0.3)]).to(dtype))
    x[2, 5, 17] = torch.nan
    x[3, 7] = 0
    x[4, 3, 4] = torch.inf
    found = kernels.inverse(x.to(device)).cpu()
    assert torch.isfinite(found).all((1, 2)).tolist() == [True, True, False, False, False]
    for p in range(2):
        assert torch.equal(kernels.inverse(x[p : p + 1].to(device)).cpu()[0], found[p])
    assert kernels.inverse(x[:0].to(device)).shape == (0, 20, 20)


def orthogonal(size: int, rows: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.linalg.qr(normal(rows, size, size)).Q.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("size", [3, 40, pytest.param(70, marks=pytest.mark.slow)])
def test_each_row_is_squared_as_often_as_it_wants(kernels, device, size, dtype, tolerance):
    x, g, counts = orthogonal(size, 4, dtype), normal(4, size, size, seed=1).to(dtype), torch.tensor([0, 1, 4, 2])
    results = [x]
    for done in range(4):
        results.append(torch.where((counts > done)[:, None, None], results[-1] @ results[-1], results[-1]))
    want = ProductSquares(counts, tuple(results))
    found = kernels.squared(x.to(device), counts.to(device), 4)
    torch.testing.assert_close(found.value.cpu(), want.value, rtol=0, atol=tolerance)
    back, wanted = found.pullback(g.to(device)).cpu(), want.pullback(g)
    torch.testing.assert_close(back, wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))
    alone = kernels.squared(x[2:3].to(device), counts[2:3].to(device), 4)
    assert torch.equal(alone.value.cpu()[0], found.value.cpu()[2])
    assert torch.equal(alone.pullback(g[2:3].to(device)).cpu()[0], back[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 2, pytest.param(12, marks=pytest.mark.slow)])
def test_leaders_by_the_kernel_are_lapacks(as_on_a_gpu, device, size, dtype):
    matrices = normal(4, size, size).to(dtype)
    matrices[1] *= 1e-30
    matrices[2] = 0
    matrices[3, 0, 0] = torch.nan
    found = leading(matrices.to(device))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numerics, "readable", lambda x: True)
        want = leading(matrices)
    assert torch.equal(found.tied.cpu(), want.tied)
    torch.testing.assert_close(found.rho.cpu(), want.rho, rtol=1e-12, atol=0, equal_nan=True)
    torch.testing.assert_close(found.slope.cpu(), want.slope, rtol=0, atol=1e-10)


def test_a_tied_radius_is_as_exact_as_the_type(as_on_a_gpu, device):
    """Of an orthogonal matrix by a thousand: all its eigenvalues are tied."""
    matrices = orthogonal(9, 2, torch.float64) * 1000
    found = leaders_by_squaring(matrices.to(device), 1e-9)
    assert found.tied.tolist() == [True, True]
    torch.testing.assert_close(found.rho.cpu(), torch.full((2,), 1000.0, dtype=torch.float64), rtol=1e-11, atol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
def test_maps_on_a_gpu_are_those_of_the_reference(as_on_a_gpu, device, dtype, tolerance):
    """By the kernels and by LAPACK: value and pull-back of Cayley's map, the exponential and the unitary one."""
    u, g = (normal(3, 21, 21, seed=seed).to(dtype) for seed in (1, 2))
    d, theta = orthogonal_maps.signs(torch.full((3,), 0.4, dtype=dtype), 21), normal(3, 21, seed=3).to(dtype)

    def maps(place: str) -> list[torch.Tensor]:
        stored, diagonal, gradient, turn = (x.to(place) for x in (u, d, g, theta))
        w = orthogonal_maps.cayley(stored, diagonal)
        power = exponential(orthogonal_maps.skew(stored))
        parameters = UnitaryParameters(stored / 5, stored / 7, turn)
        whole = unitary(parameters)
        back = unitary_pullback(parameters, whole, whole.cos())
        pulled = orthogonal_maps.skew_gradient(power.pullback(gradient))
        made = [w, orthogonal_maps.cayley_pullback(diagonal, w, gradient), power.value, pulled, whole, *back]
        return [x.cpu() for x in made]

    found = maps(device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(available, "map_kernels", lambda *tensors: None)
        want = maps("cpu")
    for mine, theirs in zip(found, want, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=10 * tolerance * max(1.0, float(theirs.abs().max())))


def test_a_graph_goes_through_the_kernel(as_on_a_gpu, device):
    x = i_plus_a(upper("dense", 3)[None]).to(device).requires_grad_()
    assert torch.autograd.gradcheck(orthogonal_maps.definite_inverse, x)
    assert torch.autograd.gradgradcheck(orthogonal_maps.definite_inverse, x)


def test_where_kernels_are_for_a_tensor(monkeypatch):
    """A GPU on which Triton builds kernels, and a type that they know; else LAPACK."""
    with FakeTensorMode():  # a device that need not be there
        x = torch.zeros(1, 2, 2, device="cuda", dtype=torch.float32)
        assert available.map_kernels(torch.zeros(1, 2, 2)) is None
        monkeypatch.setattr(available.rng, "kernels_on", lambda device: None)
        assert available.map_kernels(x) is None
        monkeypatch.setattr(available.rng, "kernels_on", lambda device: available)
        monkeypatch.setattr(available.importlib, "import_module", lambda name: available)
        assert available.map_kernels(x) is available
        assert available.map_kernels(x, x.half()) is None
