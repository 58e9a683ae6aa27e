"""Small products around the loss: the bits of the engine's, whatever memory the states and weights are views of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from rnnsweep.core import kernels
from rnnsweep.core.cpu import products
from rnnsweep.core.losses import CROSS_ENTROPY
from rnnsweep.core.readout import ReadOut, read_out
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.types import Batch


def found(P: int, B: int, H: int, O: int, dtype: torch.dtype, *, biased: bool, bad: float) -> ReadOut:  # noqa: E741
    generator = torch.Generator().manual_seed(3)
    flat = torch.randn(P, H * O + O + 7, generator=generator, dtype=torch.float64).to(dtype)
    states = torch.randn(P, 4, B, H + 3, generator=generator, dtype=torch.float64).to(dtype)[..., :H]
    states[P - 1, -1, 0, 0] = bad
    values = {"w_out": flat[:, : H * O].view(P, H, O), "b_out": flat[:, H * O : H * O + O]}
    if not biased:
        del values["b_out"]
    classes = torch.randint(0, O, (P, B), generator=generator)
    task, batch = (
        SimpleNamespace(per_step=False, loss=CROSS_ENTROPY),
        Batch(states[:, 1:], classes, torch.full((P,), 3)),
    )
    return read_out(task, values, states, batch, CpuEngine(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(3, 10, 100, 4), (2, 1, 1, 1), (4, 20, 50, 9), (1, 7, 33, 40)])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("bad", [1.0, torch.inf, torch.nan, 1e-42])
def test_the_bits_are_those_of_the_engine(monkeypatch, sizes, biased, bad, dtype):
    mine = found(*sizes, dtype, biased=biased, bad=bad)
    assert products.takes(*sizes[1:])
    monkeypatch.setattr(kernels, "_compiled", lambda what: None)
    plain = found(*sizes, dtype, biased=biased, bad=bad)
    assert mine.gradients.keys() == plain.gradients.keys()
    assert mine.direct is not None
    assert plain.direct is not None
    pairs = [
        (mine.outputs, plain.outputs),
        (mine.loss, plain.loss),
        (mine.direct.last, plain.direct.last),
        *((mine.gradients[name], plain.gradients[name]) for name in plain.gradients),
    ]
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_large_matrices_are_the_engines():
    assert not products.takes(10, 1000, 5)
    assert not products.takes(50, 100, 2)
