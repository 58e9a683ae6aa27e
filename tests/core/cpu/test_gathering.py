"""Parts into flat vectors in one pass: the copies that torch makes, to the bit."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.cpu import gathering
from rnnsweep.core.types import ParameterLayout, ParameterSpec

SPECS = (
    ParameterSpec("w_rec", (40, 40), "recurrent"),
    ParameterSpec("w_in", (0, 40), "input"),
    ParameterSpec("b", (40,), "bias"),
    ParameterSpec("h0", (1,), "h0"),
    ParameterSpec("w_out", (40, 3), "output"),
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("names", [["w_rec", "w_in", "b", "h0", "w_out"], ["w_rec", "b"], ["w_rec", "w_out"], ["b"]])
def test_parts_are_copied_and_all_else_is_zero(names, dtype):
    layout, shapes = ParameterLayout(SPECS), {spec.name: spec.shape for spec in SPECS}
    values = {name: torch.randn(3, *shapes[name], dtype=dtype) for name in names}
    values["b"] = torch.randn(3, 47, dtype=dtype)[:, :40]  # with gaps between its rows
    like = torch.full((3, layout.size), torch.nan, dtype=dtype)
    assert torch.equal(layout.gathered(values, like), layout.flatten(values, torch.zeros_like(like)))


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit into 32"):
        gathering.gather([(0, torch.ones(2, 20)), (16, torch.ones(2, 16))], torch.empty(2, 32))
    with pytest.raises(TypeError, match="float64"):
        gathering.gather([(0, torch.ones(2, 20, dtype=torch.float64))], torch.empty(2, 32, dtype=torch.float32))
