"""Simple loops of diagonals, run without their matrix: the numbers of the product with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core.recurrence.base import NormRatio
from rnnsweep.core.recurrence.cells import KeptRecord
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.diagonal import CELLS, diagonals, from_diagonals
from rnnsweep.core.recurrence.reference import ReferenceEngine
from tests.contract import test_engines as simple
from tests.contract.test_sequence_lengths import differing
from tests.kit.strangers import assert_rows_are_strangers

F64 = torch.float64
kinds = pytest.mark.parametrize("kind", list(CELLS), ids=str)


class DiagonalCase(simple.Case):
    """The simple loop with a matrix that is 0 but on the diagonals of its blocks."""

    def __init__(self, kind: tuple[int, str], *args, **named) -> None:
        super().__init__(kind[1], *args, **named)
        self.kind = kind
        w = from_diagonals(diagonals(self.weights.w_rec, kind[0]))
        self.weights = replace(self.weights, w_rec=w, diagonals=kind[0])

    def rows(self, index) -> DiagonalCase:
        other = super().rows(index)
        other.weights = replace(other.weights, diagonals=self.kind[0])
        other.__class__, other.kind = DiagonalCase, self.kind  # type: ignore[attr-defined]
        return other  # type: ignore[return-value]

    def counted(self, results: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The results with what counts of the matrix's gradient."""
        matrices = ("w_rec", "lean.w_rec")
        return {k: from_diagonals(diagonals(v, self.kind[0])) if k in matrices else v for k, v in results.items()}


@kinds
@pytest.mark.parametrize("driven", [False, True])
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("each", [False, True])
def test_it_is_what_its_matrix_says(kind: tuple[int, str], steps: bool, driven: bool, each: bool) -> None:
    case = DiagonalCase(kind, (3, 8, 4, 14, 2), steps=steps, driven=driven)
    if each:
        case = differing(case)
    true, mine = (case.counted(case.run(engine)[-1]) for engine in (ReferenceEngine(), CpuEngine(1)))
    assert mine.keys() == true.keys()
    for name, value in true.items():
        simple.assert_close(mine[name], value, 1e-13, name)


@kinds
def test_rows_are_strangers_with_their_tangents(kind: tuple[int, str]) -> None:
    """`everything` has tangents, keep=False, norms and sums as controllers ask for them."""
    assert_rows_are_strangers(DiagonalCase(kind, (5, 6, 3, 22, 3)), CpuEngine(1))
    case, found = DiagonalCase(kind, (5, 6, 3, 22, 3)), []
    for engine in (ReferenceEngine(), CpuEngine(1)):
        found.append(case.counted(case.everything(engine)))
        power = torch.exp2(found[-1].pop("tangent.exponent").double())[:, None, None]
        found[-1] |= {name: found[-1][name] * power for name in ("tangent.delta", "tangent.ddelta")}
    for name, value in found[0].items():
        simple.assert_close(found[1][name], value, 1e-12, name)


@kinds
def test_a_term_changes_no_bit(kind: tuple[int, str]) -> None:
    case, engine = DiagonalCase(kind, (3, 7, 4, 12, 2)), CpuEngine(1)
    record = engine.forward(case.inputs, case.weights, case.act, case.lengths)
    plain, trace = engine.backward(record, case.direct, case.act)
    term, rows = NormRatio(squared=True, mean=False, bound=1e-20), torch.tensor([True, False, True])
    found, beside, value = engine.backward_with(record, case.direct, case.act, term, rows, keep=True)
    assert trace is not None
    assert beside is not None
    for name, tensor in simple.tensors_of(plain).items():
        assert torch.equal(getattr(found, name), tensor), name
    assert torch.equal(beside.delta, trace.delta)
    assert torch.equal(beside.x, trace.x)
    dense = replace(case.weights, diagonals=0)
    whole = engine.forward(case.inputs, dense, case.act, case.lengths)
    *_, want = engine.backward_with(whole, case.direct, case.act, term, rows, keep=False)
    simple.assert_close(value.value, want.value, 1e-12, "value")
    simple.assert_close(value.w_rec, want.w_rec, 1e-12, "w_rec")


@kinds
def test_what_else_is_in_a_loop_takes_the_product(kind: tuple[int, str]) -> None:
    case, engine = DiagonalCase(kind, (2, 5, 3, 8, 2)), CpuEngine(1)
    weights = replace(case.weights, leak=torch.tensor([0.5, 0.9], dtype=F64))
    record, true = (e.forward(case.inputs, weights, case.act, case.lengths) for e in (engine, ReferenceEngine()))
    assert not isinstance(record, KeptRecord)
    simple.assert_close(record.h, true.h, 1e-13, "h")


def test_an_activation_without_formulas_takes_the_product() -> None:
    case = simple.Case("sigmoid", (2, 5, 3, 8, 2))
    w = from_diagonals(diagonals(case.weights.w_rec, 1))
    case.weights = replace(case.weights, w_rec=w, diagonals=1)
    record = CpuEngine(1).forward(case.inputs, case.weights, case.act, case.lengths)
    assert not isinstance(record, KeptRecord)
    true = ReferenceEngine().forward(case.inputs, case.weights, case.act, case.lengths)
    simple.assert_close(record.h, true.h, 1e-13, "h")


def test_a_record_of_the_product_is_refused() -> None:
    case, engine = DiagonalCase((1, "tanh"), (2, 5, 3, 8, 2)), CpuEngine(1)
    record = ReferenceEngine().forward(case.inputs, case.weights, case.act, case.lengths)
    with pytest.raises(TypeError, match="a record of another loop"):
        engine.backward(record, case.direct, case.act)
