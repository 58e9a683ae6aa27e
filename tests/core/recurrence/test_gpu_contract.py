"""The engine contract kept by the gpu engine; fewer combinations than for the others: the interpreter is slow."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.types import Direct
from tests.contract import test_engines as contract
from tests.contract import test_sequence_lengths as lengths
from tests.contract.test_engines import Case, check_against_one_row

LOOPS = ("h", "delta", "x", "tangent.delta", "tangent.ddelta", "tangent.exponent")


@pytest.mark.parametrize("flags", [{}, {"leak": True, "steps": True}])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_equals_one_row_reference(gpu, name, flags):
    check_against_one_row(gpu, Case(name, (2, 5, 4, 6, 2), **flags))
    check_against_one_row(gpu, Case(name, (2, 3, 2, 18, 1), driven=False, **flags))


@pytest.mark.parametrize(
    "shape",
    [(2, 1, 1, 1, 1), (2, 3, 17, 33, 5), (1, 3, 5, 130, 40)],
    ids=["smallest", "two batch tiles", "streamed matrix, wide input"],
)
def test_equals_one_row_reference_at_other_shapes(gpu, shape):
    check_against_one_row(gpu, Case("modrelu", shape, leak=True, seed=3))
    check_against_one_row(gpu, Case("tanh", shape, steps=True, seed=4))


@pytest.mark.parametrize(("name", "steps"), [("tanh", False), ("modrelu", True)])
def test_totals_and_deltas_are_central_differences(gpu, name, steps):
    contract.test_totals_and_deltas_are_central_differences(gpu, name, steps)


def test_first_total_of_a_last_step_loss_is_not_zero(gpu):
    contract.test_first_total_of_a_last_step_loss_is_not_zero(gpu)


@pytest.mark.parametrize(
    ("name", "flags", "dtype"),
    [
        ("tanh", {}, torch.float32),
        ("modrelu", {"leak": True, "steps": True}, torch.float64),
        ("oplu", {"driven": False, "steps": True}, torch.float32),
    ],
)
def test_rows_are_strangers(gpu, name, flags, dtype):
    if gpu.device == "cuda":
        pytest.skip("products over all steps are cuBLAS's, equal for equal pack width only; the loops: next test")
    contract.test_rows_are_strangers(gpu, name, flags, dtype)


def test_loops_of_a_row_are_the_same_in_every_pack(gpu):
    case = Case("tanh", (3, 3, 18, 12, 2), leak=True, dtype=torch.float32)
    whole = case.everything(gpu)
    for p in range(case.P):
        alone = case.rows(slice(p, p + 1)).everything(gpu)
        assert all(torch.equal(alone[key][0], whole[key][p]) for key in LOOPS)


@pytest.mark.parametrize(("name", "flags"), [("tanh", {}), ("modrelu", {"leak": True}), ("sigmoid", {"steps": True})])
def test_short_rows_are_shorter_packs(gpu, name, flags):
    contract.test_short_rows_are_shorter_packs(gpu, name, flags)


@pytest.mark.parametrize(("name", "leak", "steps"), [("tanh", False, False), ("modrelu", True, True)])
def test_sequences_of_a_row_may_differ_in_length(gpu, name, leak, steps):
    """Two batch tiles, the second with one sequence; a tile begins with its own earliest one."""
    case = lengths.differing(Case(name, (2, 5, 17, 6, 2), leak=leak, steps=steps))
    lengths.check(case, gpu, lengths.to_rounding)


def test_without_a_trace_the_gradients_are_the_same(gpu):
    case = Case("tanh", (2, 4, 3, 9, 2), steps=True)
    record, _, found = case.run(gpu)
    grads, trace = gpu.backward(record, case.direct, case.act, keep=False)
    assert trace is None
    names = ("w_rec", "w_in", "bias", "h0")
    assert all(torch.equal(getattr(grads, name), found[name]) for name in names)


def test_what_lies_before_a_row_is_not_read(gpu):
    case = Case("elu", (2, 5, 3, 7, 2))
    case.lengths = torch.tensor([2, 5])
    _, _, want = case.run(gpu)
    case.inputs[0, :3] = torch.nan
    _, _, found = case.run(gpu)
    assert all(torch.equal(found[key], want[key]) for key in ("w_rec", "bias", "h0", "h", "delta", "x"))
    assert torch.equal(found["h"][0, 1:4], case.weights.h0[0].expand(3, case.B, case.H))
    assert isinstance(case.direct, Direct) and (found["x"][0, :3] == found["x"][0, 3]).all()
