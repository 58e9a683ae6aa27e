"""One update against an independent one-row network written with autograd; divergence; checkpoints; numerics."""

from __future__ import annotations

import json
import math

import pytest
import torch

from rnnsweep.core import numerics
from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.checkpoint import CheckpointStore
from rnnsweep.core.controllers.base import Tally
from rnnsweep.core.controllers.l1 import L1
from rnnsweep.core.controllers.l2 import L2
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_batch, train_rung, update
from rnnsweep.core.types import RowStatus
from rnnsweep.errors import CheckpointError
from tests.kit.networks import Setup, assert_same_row, context_of

PLAIN = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "elu": torch.nn.functional.elu,
    "identity": lambda a: a,
    "leaky_relu": torch.nn.functional.leaky_relu,
}


def plain_update(parts: dict[str, torch.Tensor], inputs, targets, name: str, loss: str) -> dict[str, torch.Tensor]:
    """Gradients of one row by autograd on the textbook recursion; nothing of rnnsweep in it."""
    live = {key: value.clone().requires_grad_() for key, value in parts.items()}
    h = torch.zeros(inputs.shape[1], live["w_rec"].shape[0], dtype=torch.float64)
    for u in inputs:
        h = PLAIN[name](h @ live["w_rec"] + u @ live["w_in"] + live["b"])
    y = h @ live["w_out"] + live["b_out"]
    cost = (
        torch.nn.functional.cross_entropy(y, targets) if loss == "cross_entropy" else ((y - targets) ** 2).sum(1).mean()
    )
    cost.backward()
    return {key: value.grad for key, value in live.items()}


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("task", [TemporalOrder(length=14), Adding(length=14)], ids=["temporal_order", "adding"])
@pytest.mark.parametrize("name", sorted(PLAIN))
def test_gradients_equal_a_plain_network(engine, task, name):
    pack = Setup(family=Srn(9, name), task=task, controllers={}, engine=engine).pack([0, 1])
    tile, context = context_of(pack)
    batch = train_batch(tile)
    ours = pack.program.layout.view(context.gradients)
    for row in range(2):
        length = int(batch.lengths[row])
        parts = {key: value[row] for key, value in context.values.items()}
        want = plain_update(parts, batch.inputs[row][-length:], batch.targets[row], name, task.loss.name)
        for key, value in want.items():
            torch.testing.assert_close(ours[key][row], value, rtol=1e-10, atol=1e-12)


def test_one_sgd_update_equals_the_formula():
    pack = Setup(controllers={}, optimizer=Sgd(lr=0.05)).pack([0], optimizer__lr=0.05, optimizer__momentum=0.0)
    tile, context = context_of(pack)
    want = tile.params - 0.05 * context.gradients
    update(tile, Tally())
    torch.testing.assert_close(pack.params, want, rtol=1e-14, atol=0)


def test_penalties_add_their_gradient_to_the_named_parameters_only():
    for unit, term in ((L1(0.3), lambda w: 0.3 * w.sign()), (L2(0.3), lambda w: 0.3 * w)):
        pack = Setup(controllers={}).pack([0])
        _, context = context_of(pack)
        context.hypers = {"weight": torch.tensor([0.3], dtype=torch.float64)}
        before = {k: v.clone() for k, v in context.layout.view(context.gradients).items()}
        after = context.layout.view(unit.add(context))
        torch.testing.assert_close(after["w_rec"], before["w_rec"] + term(context.values["w_rec"]))
        assert all(torch.equal(after[k], before[k]) for k in before if k != "w_rec")


def test_a_row_ends_at_its_budget_and_not_beyond():
    pack = Setup().pack([0], updates=7)
    train_rung(pack, 5, 1)
    assert (int(pack.step), int(pack.status)) == (5, RowStatus.ACTIVE)
    metrics = train_rung(pack, 5, 99)[0]
    assert (int(pack.step), int(pack.status)) == (7, RowStatus.DONE)
    assert "valid/error" in metrics


def test_parameters_that_would_overflow_diverge_and_stay_finite():
    pack = Setup(controllers={}, dtype=torch.float32).pack([0], optimizer__lr=1e38)
    for _ in range(3):
        metrics = train_rung(pack, 2, 1)[0]
    assert int(pack.status) == RowStatus.DIVERGED
    assert bool(torch.isfinite(pack.params).all())
    assert int(pack.diverged_at) >= 1
    assert all(math.isfinite(value) for value in metrics.values())


def test_checkpoints_survive_torn_files_and_name_what_is_wrong(tmp_path):
    store, pack = CheckpointStore(str(tmp_path)), Setup().pack([0])
    folder = store.folder(3, 0, "0001-a")
    states = []
    for _ in range(3):
        train_rung(pack, 2, 1)
        states.append(pack.row(0))
        store.save(folder, states[-1], {"note": "x"})
    assert store.rungs(folder) == [1, 2, 3]
    (tmp_path / "000003/000/0001-a/rung-000003.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="checksum"):
        store.load(folder, 3)
    saved = store.newest([folder])
    assert saved is not None
    assert_same_row(saved.state, states[1])
    assert saved.extra == {"note": "x"}
    manifest = tmp_path / "000003/000/0001-a/rung-000002.json"
    manifest.write_text(manifest.read_text()[:40])
    saved = store.newest([folder])
    assert saved is not None
    assert saved.state.rung == 1
    only_first = store.newest([folder], limit=1)
    assert only_first is not None
    store.prune(folder, [])
    assert store.newest([folder, str(tmp_path / "nowhere")]) is None


def test_checkpoints_at_a_url():
    store, pack = CheckpointStore("memory://checkpoints"), Setup().pack([0])
    train_rung(pack, 2, 1)
    folder = store.folder(0, 0, "t")
    store.save(folder, pack.row(0), {})
    saved = store.newest([folder])
    assert saved is not None
    assert_same_row(saved.state, pack.row(0))
    json.dumps(saved.extra)


def test_row_norm_is_right_at_the_ends_of_float32():
    rows = torch.tensor([[3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0], [3.0, 4.0], [math.nan, 1.0], [math.inf, 1.0]])
    norm = numerics.row_norm(rows)
    assert norm[:4].tolist() == pytest.approx([5e30, 5e-30, 0.0, 5.0], rel=1e-6)
    assert not bool(torch.isfinite(norm[4:]).any())


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activation_slopes_against_differences(name):
    f = ACTIVATIONS[name]
    a = torch.linspace(-2.05, 2.05, 40, dtype=torch.float64)
    bias = torch.full((40,), 0.3, dtype=torch.float64) if f.has_bias else None
    v = torch.linspace(1, 2, 40, dtype=torch.float64)
    difference = (f.value(a + 1e-6 * v, bias) - f.value(a - 1e-6 * v, bias)) / 2e-6
    torch.testing.assert_close(f.pushforward(f.slope(a, bias), v), difference, rtol=1e-7, atol=1e-8)
    if f.from_output:
        torch.testing.assert_close(f.slope_from_output(f.value(a)), f.slope(a), rtol=1e-12, atol=1e-14)
    g = torch.linspace(-1, 1, 40, dtype=torch.float64)
    assert float(f.pullback(f.slope(a, bias), g) @ v) == pytest.approx(float(g @ f.pushforward(f.slope(a, bias), v)))


def test_spectra_and_lyapunov_of_a_linear_network():
    """W = 0.5 Q with Q orthogonal: rho = sigma_max = 0.5 and the exponent is ln 0.5."""
    pack = Setup(family=Srn(6, "identity"), controllers={}).pack([0])
    q, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    pack.program.layout.view(pack.params)["w_rec"][0] = 0.5 * q
    pack.hypers["optimizer.lr"].zero_()
    metrics = train_rung(pack, 1, 1)[0]
    assert metrics["weights/rho"] == pytest.approx(0.5)
    assert metrics["weights/sigma_max"] == pytest.approx(0.5)
    assert metrics["state/lyapunov_max"] == pytest.approx(math.log(0.5))
    assert metrics["state/saturation"] == 0.0
