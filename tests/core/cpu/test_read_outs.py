"""The read-out of the last step in one compiled pass, beside torch's operations."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from rnnsweep.core import kernels
from rnnsweep.core.cpu import read_outs
from rnnsweep.core.losses import (
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    HALF_SQUARED_ERROR,
    SQUARED_ERROR,
    Loss,
    WeightedCrossEntropy,
)
from rnnsweep.core.readout import ReadOut, read_out
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.types import Batch

LOSSES = [CROSS_ENTROPY, BINARY_CROSS_ENTROPY, SQUARED_ERROR, HALF_SQUARED_ERROR]
by_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
ENGINE = CpuEngine(1)


def case(loss: Loss, P: int, B: int, H: int, O: int, dtype: torch.dtype):  # noqa: E741
    """Weights as views of a wider matrix, as a pack's are; states as the engine's, in lines that are padded."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    flat, states = draw(P, H * O + O + 7), draw(P, 4, B, H + 3)[..., :H]
    values = {"w_out": flat[:, : H * O].view(P, H, O), "b_out": flat[:, H * O : H * O + O]}
    if loss is CROSS_ENTROPY:
        return values, states, torch.randint(0, O, (P, B), generator=generator)
    return values, states, draw(P, B, O) if loss is not BINARY_CROSS_ENTROPY else (draw(P, B, O) > 0).to(dtype)


def found(loss: Loss, values: dict[str, torch.Tensor], states: torch.Tensor, targets: torch.Tensor) -> ReadOut:
    task, batch = (
        SimpleNamespace(per_step=False, loss=loss),
        Batch(states[:, 1:], targets, torch.full((len(states),), 3)),
    )
    return read_out(task, values, states, batch, ENGINE)


def parts(out: ReadOut) -> dict[str, torch.Tensor]:
    assert out.direct is not None
    return {"outputs": out.outputs, "loss": out.loss, "errors": out.errors, "h": out.direct.last, **out.gradients}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@by_loss
@pytest.mark.parametrize("sizes", [(3, 5, 12, 4), (2, 18, 100, 1), (1, 1, 3, 20)])
@pytest.mark.parametrize("biased", [True, False])
def test_outputs_loss_and_gradients_are_those_of_torch(monkeypatch, loss, sizes, biased, dtype):
    values, states, targets = case(loss, *sizes, dtype)
    if not biased:
        del values["b_out"]
    mine = parts(found(loss, values, states, targets))
    monkeypatch.setattr(kernels, "_compiled", lambda what: None)
    plain = parts(found(loss, values, states, targets))
    assert list(mine) == list(plain)
    assert torch.equal(mine["outputs"], plain["outputs"]), "summed as by the engine"
    for name, other in plain.items():
        assert mine[name].shape == other.shape
        assert (mine[name] - other).abs().max() <= 16 * torch.finfo(dtype).eps * other.abs().max().clamp(min=1), name
    errors, last = mine["errors"], states[:, -1]
    assert torch.equal(mine["h"], ENGINE.matmul(errors, values["w_out"].transpose(1, 2)))
    assert torch.equal(mine["w_out"], ENGINE.matmul(last.transpose(1, 2), errors))


@by_loss
def test_a_row_is_the_same_in_every_pack(loss):
    values, states, targets = case(loss, 4, 10, 33, 5, torch.float32)
    whole = parts(found(loss, values, states, targets))
    one = {name: value[2:3].clone() for name, value in values.items()}
    for name, value in parts(found(loss, one, states[2:3].clone(), targets[2:3])).items():
        assert torch.equal(value, whole[name][2:3]), name


@by_loss
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_state_that_is_not_finite_gives_such_a_loss_in_its_own_row(loss, bad):
    values, states, targets = case(loss, 3, 5, 12, 4, torch.float64)
    states[1, -1, 2, 3] = bad
    assert torch.equal(torch.isfinite(found(loss, values, states, targets).loss), torch.tensor([True, False, True]))


def test_large_outputs_of_either_sign_do_not_overflow(monkeypatch):
    for loss in (CROSS_ENTROPY, BINARY_CROSS_ENTROPY):
        values, states, targets = case(loss, 2, 5, 12, 4, torch.float32)
        mine = found(loss, values, states * 1e4, targets)
        with monkeypatch.context() as patch:
            patch.setattr(kernels, "_compiled", lambda what: None)
            plain = found(loss, values, states * 1e4, targets)
        assert torch.isfinite(mine.loss).all()
        torch.testing.assert_close(mine.loss, plain.loss, rtol=1e-5, atol=0)
        torch.testing.assert_close(mine.errors, plain.errors, rtol=1e-5, atol=1e-7)


def test_what_no_kernel_knows_goes_by_torch():
    assert not read_outs.takes(WeightedCrossEntropy((1.0, 2.0)), 10, 100, 2, 4)
    assert not read_outs.takes(CROSS_ENTROPY, 10, 1000, 4, 4)
    assert read_outs.takes(CROSS_ENTROPY, 10, 100, 4, 8)
    assert not read_outs.scores(CROSS_ENTROPY, 4)
