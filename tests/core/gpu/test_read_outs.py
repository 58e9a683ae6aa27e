"""The read-out of the last step in one launch, beside torch's operations."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest
import torch

from rnnsweep.core.losses import (
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    HALF_SQUARED_ERROR,
    SQUARED_ERROR,
    CrossEntropy,
    Loss,
    WeightedCrossEntropy,
)
from rnnsweep.core.readout import ReadOut, read_out
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.types import Batch
from tests.kit.replayed import as_on_a_device

LOSSES = [CROSS_ENTROPY, BINARY_CROSS_ENTROPY, SQUARED_ERROR, HALF_SQUARED_ERROR]


@pytest.fixture(scope="module")
def device(triton_interpreter: str) -> str:
    return triton_interpreter


def both(
    device: str,
    monkeypatch: pytest.MonkeyPatch,
    loss: Loss,
    values: dict[str, torch.Tensor],
    states: torch.Tensor,
    targets: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> tuple[ReadOut, ReadOut, int]:
    """By the kernels and by torch, and how many launches there were; with a mask every step is read."""
    module = importlib.import_module("rnnsweep.core.gpu.read_outs")
    launches = []
    launch = module.launch
    monkeypatch.setattr(module, "launch", lambda *a, **k: launches.append(1) or launch(*a, **k))
    task = SimpleNamespace(per_step=mask is not None, loss=loss)
    batch = Batch(states[:, 1:], targets, torch.full((len(states),), states.shape[1] - 1), mask)
    with as_on_a_device():  # by torch, that is
        plain = read_out(task, values, states, batch, ReferenceEngine())
    with monkeypatch.context() as patch:
        patch.setattr("rnnsweep.core.readout.kernels_for", lambda what, device: module)
        mine = read_out(
            task,
            {name: value.to(device) for name, value in values.items()},
            states.to(device),
            Batch(
                states[:, 1:].to(device),
                targets.to(device),
                batch.lengths.to(device),
                None if mask is None else mask.to(device),
            ),
            ReferenceEngine(),
        )
    return mine, plain, len(launches)


def case(loss: Loss, P: int, B: int, H: int, O: int, dtype: torch.dtype):  # noqa: E741
    """Weights as views of a wider matrix, as a pack's are."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    flat, states = draw(P, H * O + O + 7), draw(P, 4, B, H)
    values = {"w_out": flat[:, : H * O].view(P, H, O), "b_out": flat[:, H * O : H * O + O]}
    classes = torch.randint(0, O, (P, B), generator=generator)
    if isinstance(loss, CrossEntropy):
        return values, states, classes
    return values, states, draw(P, B, O) if loss is not BINARY_CROSS_ENTROPY else (draw(P, B, O) > 0).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("sizes", [(3, 5, 12, 4), (2, 18, 100, 1), (1, 1, 3, 20)])
@pytest.mark.parametrize("biased", [True, False])
def test_outputs_loss_and_gradients_are_those_of_torch(device, monkeypatch, loss, sizes, biased, dtype):
    values, states, targets = case(loss, *sizes, dtype)
    if not biased:
        del values["b_out"]
    mine, plain, launches = both(device, monkeypatch, loss, values, states, targets)
    assert launches == 1
    assert mine.gradients.keys() == plain.gradients.keys()
    pairs = [
        (mine.outputs, plain.outputs),
        (mine.loss, plain.loss),
        (mine.errors, plain.errors),
        (mine.direct.last, plain.direct.last),
        *((mine.gradients[name], plain.gradients[name]) for name in plain.gradients),
    ]
    for one, other in pairs:
        assert one.shape == other.shape
        assert (one.cpu() - other).abs().max() <= 64 * torch.finfo(dtype).eps * other.abs().max().clamp(min=1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_state_that_is_not_finite_gives_such_a_loss_in_its_own_row(device, monkeypatch, loss, bad):
    values, states, targets = case(loss, 3, 5, 12, 4, torch.float64)
    states[1, -1, 2, 3] = bad
    mine, plain, _ = both(device, monkeypatch, loss, values, states, targets)
    assert torch.equal(torch.isfinite(mine.loss).cpu(), torch.tensor([True, False, True]))
    assert torch.equal(torch.isfinite(plain.loss), torch.tensor([True, False, True]))


def test_large_outputs_of_either_sign_do_not_overflow(device, monkeypatch):
    for loss in (CROSS_ENTROPY, BINARY_CROSS_ENTROPY):
        values, states, targets = case(loss, 2, 5, 12, 4, torch.float32)
        mine, plain, _ = both(device, monkeypatch, loss, values, states * 1e4, targets)
        assert torch.isfinite(mine.loss).all()
        torch.testing.assert_close(mine.loss.cpu(), plain.loss, rtol=1e-5, atol=0)
        torch.testing.assert_close(mine.errors.cpu(), plain.errors, rtol=1e-5, atol=1e-7)


def test_what_no_kernel_knows_goes_by_torch(device, monkeypatch):
    module = importlib.import_module("rnnsweep.core.gpu.read_outs")
    assert not module.takes(WeightedCrossEntropy((1.0, 2.0)), 10, 100, 2, 4)
    assert not module.takes(CROSS_ENTROPY, 10, 100, 40, 4)  # 128 units times 64 outputs, of 4 bytes
    assert not module.takes(CROSS_ENTROPY, 40, 100, 4, 4)
    assert module.takes(CROSS_ENTROPY, 10, 256, 16, 4)
    assert not module.takes(CROSS_ENTROPY, 10, 256, 16, 8)
    monkeypatch.setattr("rnnsweep.core.readout.kernels_for", lambda what, device: module)
    monkeypatch.setattr(module, "launch", lambda *a, **k: pytest.fail("no kernel was to be used"))
    values, states, targets = case(CROSS_ENTROPY, 2, 5, 12, 4, torch.float64)
    batch, task = Batch(states[:, 1:], targets, torch.full((2,), 3)), SimpleNamespace(per_step=False)
    for loss, gradients in ((WeightedCrossEntropy((1.0, 2.0, 1.0, 1.0)), True), (CROSS_ENTROPY, False)):
        task.loss = loss
        read_out(task, values, states, batch, ReferenceEngine(), gradients=gradients)


def test_sequences_of_different_weight_are_scored_after_the_product(device, monkeypatch):
    module, launched = importlib.import_module("rnnsweep.core.gpu.read_outs"), []
    launch = module.launch
    monkeypatch.setattr(module, "launch", lambda kernel, *a, **k: launched.append(kernel) or launch(kernel, *a, **k))
    values, states, targets = case(CROSS_ENTROPY, 2, 5, 12, 4, torch.float64)
    weights = torch.tensor([0.5, 1.5, 1.0, 0.25, 1.75]).expand(2, -1)
    batch = Batch(states[:, 1:], targets, torch.full((2,), 3), weights=weights)
    task = SimpleNamespace(per_step=False, loss=CROSS_ENTROPY)
    plain = read_out(task, values, states, batch, ReferenceEngine())
    batch = Batch(states[:, 1:].to(device), targets.to(device), batch.lengths.to(device), weights=weights.to(device))
    values = {name: value.to(device) for name, value in values.items()}
    monkeypatch.setattr("rnnsweep.core.readout.kernels_for", lambda what, device: module)
    mine = read_out(task, values, states.to(device), batch, ReferenceEngine())
    assert launched == [module.score_kernel]
    torch.testing.assert_close(mine.loss.cpu(), plain.loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(mine.errors.cpu(), plain.errors, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("sizes", [(3, 5, 12, 9), (2, 300, 4, 1), (1, 7, 3, 200)])
@pytest.mark.parametrize("biased", [True, False])
def test_every_step_is_scored_as_by_torch(device, monkeypatch, loss, sizes, biased, dtype):
    P, B, H, O = sizes  # noqa: E741
    values, states, _ = case(loss, P, B, H, O, dtype)
    if not biased:
        del values["b_out"]
    T = states.shape[1] - 1
    parts = [case(loss, P, B, H, O, dtype)[2] for _ in range(T)]
    targets = torch.stack(parts, 1)  # P T B ...
    mask = (torch.arange(P * T).reshape(P, T) % 3 > 0).to(dtype)
    mine, plain, launches = both(device, monkeypatch, loss, values, states, targets, mask)
    assert launches == 1
    pairs = [
        (mine.outputs, plain.outputs),
        (mine.loss, plain.loss),
        (mine.errors, plain.errors),
        (mine.direct.steps, plain.direct.steps),
        *((mine.gradients[name], plain.gradients[name]) for name in plain.gradients),
    ]
    for one, other in pairs:
        assert one.shape == other.shape
        assert (one.cpu() - other).abs().max() <= 64 * torch.finfo(dtype).eps * other.abs().max().clamp(min=1)


def test_a_row_is_scored_the_same_in_every_pack(device, monkeypatch):
    values, states, targets = case(CROSS_ENTROPY, 3, 70, 12, 9, torch.float32)
    module = importlib.import_module("rnnsweep.core.gpu.read_outs")
    y, weight = states[:, 1, :, :9].contiguous().to(device), torch.full((3, 70), 1 / 70, device=device)
    bias, targets = values["b_out"].to(device), targets.to(device)
    whole = module.score(CROSS_ENTROPY, y.clone(), bias, targets, weight)
    alone = module.score(CROSS_ENTROPY, y[1:2].clone(), bias[1:2], targets[1:2], weight[1:2])
    for one, other in zip(whole, alone, strict=True):
        assert torch.equal(one[1:2], other)
