"""No address or size reaches a compiled kernel unchecked: what is wrong is said, in every method of every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import jaxtyping
import pytest
import torch

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.recurrence.base import BackwardTerm, NormRatio
from rnnsweep.core.recurrence.cpu.engine.dispatch import TensorAddresses, width_of
from rnnsweep.core.recurrence.cpu.engine.gated import LstmEngine
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.gated_cells import LstmCell
from rnnsweep.core.types import Direct, LoopWeights, Record, Trace
from tests.contract.test_engines import F64, Case
from tests.contract.test_gated_engines import NONE
from tests.contract.test_gated_engines import Case as GatedCase

P, T, B, H, I = 3, 7, 4, 6, 2  # noqa: E741


@pytest.fixture(autouse=True)
def as_users_run_it() -> Iterator[None]:
    """Outside of tests nobody checks annotations: the engines must check by themselves."""
    torch.set_num_threads(1)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_addresses_are_those_of_what_the_kernel_counts_on() -> None:
    at = TensorAddresses(F64)
    x = torch.zeros(3, 4, dtype=F64)
    assert at.read("x", x, (3, 4)) == x.data_ptr()
    assert at.read("x", x.T, (4, 3)) not in (0, x.data_ptr()), "a copy without gaps"
    assert at.read("x", None, (3, 4)) == at.view("x", None, (3, 4)) == 0
    assert at.read("x", torch.zeros(3, 0, dtype=F64), (3, 0)) != 0, "no entries is not absent"
    with pytest.raises(ValueError, match=r"x is \[3, 4\]; this loop takes \[4, 3\]"):
        at.read("x", x, (4, 3))
    for wrong in (x.float(), x.long()):
        with pytest.raises(TypeError, match="x is torch"):
            at.view("x", wrong, (3, 4))


def test_whole_numbers_are_within_their_range() -> None:
    at = TensorAddresses(F64)
    lengths = torch.tensor([1, 7])
    assert at.numbers("lengths", lengths, 2, 1, 7) == lengths.data_ptr()
    for low, high in ((2, 7), (1, 6)):
        with pytest.raises(ValueError, match=r"lengths = \[1, 7\] is not within"):
            at.numbers("lengths", lengths, 2, low, high)
    with pytest.raises(TypeError, match="int32"):
        at.numbers("lengths", lengths.int(), 2, 1, 7)
    with pytest.raises(TypeError, match="float64"):
        at.numbers("lengths", lengths.double(), 2, 1, 7)
    with pytest.raises(ValueError, match="lengths is"):
        at.numbers("lengths", lengths, 3, 1, 7)


def test_matrices_of_a_slab_are_read_in_place() -> None:
    slab = torch.zeros(2, 50, dtype=F64)
    w = slab[:, 8:24].unflatten(1, (4, 4))
    assert TensorAddresses(F64).matrices("w", w, (2, 4, 4)) == (w.data_ptr(), 50)
    address, row = TensorAddresses(F64).matrices("w", w.transpose(1, 2), (2, 4, 4))
    assert address != w.data_ptr()
    assert row == 16


def test_widths_are_whole_units() -> None:
    for dtype in (torch.float32, F64):
        for columns in range(1, 70):
            assert columns <= width_of(columns, dtype) < columns + 32 // dtype.itemsize + 1


Call = Callable[[CpuEngine, Case, Record, Trace], object]
LONG = torch.tensor([T, 5, 3])
SIMPLE: dict[str, Call] = {
    "lengths beyond T": lambda e, c, r, t: e.forward(c.inputs, c.weights, c.act, LONG + 1),
    "no length": lambda e, c, r, t: e.forward(c.inputs, c.weights, c.act, LONG * 0),
    "lengths of another pack": lambda e, c, r, t: e.forward(c.inputs, c.weights, c.act, LONG[:2]),
    "lengths as float": lambda e, c, r, t: e.forward(c.inputs, c.weights, c.act, LONG.double()),
    "inputs for another w_in": lambda e, c, r, t: e.forward(c.inputs[..., :1], c.weights, c.act, LONG),
    "drives of another width": lambda e, c, r, t: e.forward(c.inputs, replace(c.weights, w_in=None), c.act, LONG),
    "a bias of another width": lambda e, c, r, t: e.forward(
        c.inputs, replace(c.weights, bias=torch.zeros(P, H - 1, dtype=F64)), c.act, LONG
    ),
    "weights of fewer rows": lambda e, c, r, t: e.forward(
        c.inputs, LoopWeights(c.weights.w_rec[:2], c.weights.w_in), c.act, LONG
    ),
    "a state per sequence": lambda e, c, r, t: e.forward(
        c.inputs, replace(c.weights, h0=torch.zeros(P, B, H, dtype=F64)), c.act, LONG
    ),
    "an unknown activation": lambda e, c, r, t: e.forward(c.inputs, c.weights, replace(c.act, name="swish"), LONG),
    "no direct part": lambda e, c, r, t: e.backward(r, Direct(), c.act),
    "both direct parts": lambda e, c, r, t: e.backward(r, Direct(c.direct.last, r.h[:, 1:]), c.act),
    "a direct part of another size": lambda e, c, r, t: e.backward(r, Direct(r.h[:, 0, :2]), c.act),
    "a record without its slopes": lambda e, c, r, t: e.backward(r, c.direct, ACTIVATIONS["oplu"]),
    "a record of another length": lambda e, c, r, t: e.backward(replace(r, h=r.h[:, :-1]), c.direct, c.act),
    "a leak that came later": lambda e, c, r, t: e.backward(
        replace(r, weights=replace(c.weights, leak=torch.ones(P, dtype=F64))), c.direct, c.act
    ),
    "act_bias of none": lambda e, c, r, t: e.backward(
        replace(r, weights=replace(c.weights, act_bias=torch.ones(P, H, dtype=F64))), c.direct, c.act
    ),
    "rows of a term": lambda e, c, r, t: e.backward_with(
        r, c.direct, c.act, NormRatio(True, True, 1e-20), torch.ones(2, dtype=torch.bool), keep=True
    ),
    "an unknown term": lambda e, c, r, t: e.backward_with(
        r, c.direct, c.act, BackwardTerm(), torch.ones(P, dtype=torch.bool), keep=True
    ),
    "a horizon beyond the start": lambda e, c, r, t: e.tangent(t, c.step, torch.tensor([T, 1, 1]), c.act),
    "a negative horizon": lambda e, c, r, t: e.tangent(t, c.step, torch.tensor([-1, 1, 1]), c.act),
    "a horizon as float": lambda e, c, r, t: e.tangent(t, c.step, torch.tensor([5.0, 1.0, 1.0], dtype=F64), c.act),
    "a step of another size": lambda e, c, r, t: e.tangent(t, c.step[:, 1:], LONG - 1, c.act),
    "outer of two lengths": lambda e, c, r, t: e.outer(t.x, t.delta[:, 1:]),
    "outer of two types": lambda e, c, r, t: e.outer(t.x, t.delta.float()),
    "weights of an outer product": lambda e, c, r, t: e.outer(t.x, t.delta, t.x[..., 0].sum(-1)),
    "norms of whole numbers": lambda e, c, r, t: e.square_norms(t.x.long()),
    "a product that does not fit": lambda e, c, r, t: e.matmul(c.weights.w_rec, c.weights.w_in),
}


@pytest.mark.parametrize("name", list(SIMPLE))
def test_the_simple_engine_says_what_is_wrong(name: str) -> None:
    engine, case = CpuEngine(1), Case(shape=(P, T, B, H, I))
    record, trace, _ = case.run(engine)
    with pytest.raises((TypeError, ValueError)):
        SIMPLE[name](engine, case, record, trace)


GatedCall = Callable[[LstmEngine, GatedCase, Record], object]
GATED: dict[str, GatedCall] = {
    "lengths beyond T": lambda e, c, r: e.forward(c.inputs, c.weights, NONE, LONG + 1),
    "lengths as float": lambda e, c, r: e.forward(c.inputs, c.weights, NONE, LONG.double()),
    "drives of another width": lambda e, c, r: e.forward(c.inputs, replace(c.weights, w_in=None), NONE, LONG),
    "a matrix of another cell": lambda e, c, r: e.forward(
        c.inputs, replace(c.weights, w_rec=c.weights.w_rec[..., : 3 * H]), NONE, LONG
    ),
    "a state per sequence": lambda e, c, r: e.forward(
        c.inputs, replace(c.weights, h0=torch.zeros(P, B, H, dtype=F64)), NONE, LONG
    ),
    "a first state too wide": lambda e, c, r: e.forward(
        c.inputs, replace(c.weights, h0=torch.zeros(P, 3 * H, dtype=F64)), NONE, LONG
    ),
    "no direct part": lambda e, c, r: e.backward(r, Direct(), NONE),
    "a direct part too wide": lambda e, c, r: e.backward(r, Direct(torch.zeros(P, B, 3 * H, dtype=F64)), NONE),
    "a direct part too narrow": lambda e, c, r: e.backward(r, Direct(torch.zeros(P, B, 1, dtype=F64)), NONE),
    "a record of another length": lambda e, c, r: e.backward(replace(r, h=r.h[:, :-1]), c.direct, NONE),
}


@pytest.mark.parametrize("name", list(GATED))
def test_the_gated_engine_says_what_is_wrong(name: str) -> None:
    case = GatedCase("lstm", (P, T, B, H, I))
    engine = LstmEngine(LstmCell(H), 1)
    record = engine.forward(case.inputs, case.weights, NONE, case.lengths)
    with pytest.raises((TypeError, ValueError)):
        GATED[name](engine, case, record)
