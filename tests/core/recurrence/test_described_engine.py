"""What only the fused engine of described cells promises: the numbers of `CellEngine`, threads, buffers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from rnnsweep.core.families.antisymmetric import Antisymmetric
from rnnsweep.core.families.cornn import CoRnn
from rnnsweep.core.families.lem import Lem
from rnnsweep.core.families.linoss import LinOss
from rnnsweep.core.families.lipschitz import Lipschitz
from rnnsweep.core.families.min_lstm import MinLstm
from rnnsweep.core.families.mingru import MinGru
from rnnsweep.core.families.sbo import Sbo
from rnnsweep.core.families.scurnn import Scurnn
from rnnsweep.core.families.slstm import Slstm
from rnnsweep.core.families.unicornn import UnICoRnn
from rnnsweep.core.learners import truncation
from rnnsweep.core.recurrence.cells import CellEngine
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.recurrence.continuous import OscillatorCell
from rnnsweep.core.recurrence.cpu.engine.described import DescribedEngine
from rnnsweep.core.recurrence.gated_formulas import GruStep
from rnnsweep.core.recurrence.step_formulas import StepFormulas
from rnnsweep.core.types import Direct
from rnnsweep.errors import ConfigError
from tests.contract.test_described_engines import KINDS, NONE, Case, build

F64 = torch.float64
CPU = torch.device("cpu")
FAMILIES = (CoRnn, Lipschitz, Antisymmetric, MinGru, MinLstm, UnICoRnn, LinOss, Scurnn, Sbo, Lem, Slstm)


@pytest.mark.parametrize("shape", [(2, 40, 10, 16, 6), (2, 25, 7, 33, 5), (2, 12, 20, 100, 6)])
@pytest.mark.parametrize("kind", list(KINDS))
def test_equals_the_step_by_step_engine(kind: str, shape: tuple[int, ...]) -> None:
    """Same names, shapes and values; float32 as near to float64's results as 64 units of the last place.

    Or as three times what the other engine is off: a complex number near 0 turns far by a little.
    """
    case = Case(kind, shape, steps=True, wide=True)
    _, true = case.run(CellEngine(case.cell))
    _, mine = case.run(build("cpu", case))
    assert mine.keys() == true.keys()
    single = Case(kind, shape, steps=True, wide=True, dtype=torch.float32)
    _, rounded = single.run(build("cpu", single))
    _, other = single.run(CellEngine(single.cell))
    for name, value in true.items():
        assert mine[name].shape == value.shape, name
        if not value.numel():
            continue
        scale = value.abs().max().clamp_min(1e-300)  # what is not trained is 0
        assert ((mine[name] - value).abs().max() / scale) <= 1e-12, name
        allowed = max(64 * torch.finfo(torch.float32).eps, 3 * float((other[name] - value).abs().max() / scale))
        assert ((rounded[name] - value).abs().max() / scale) <= allowed, name


@pytest.mark.parametrize("kind", list(KINDS))
def test_threads_change_no_bit(kind: str) -> None:
    case = Case(kind, (7, 41, 7, 36, 3), dtype=torch.float32)
    one = case.everything(build("cpu", case, 1))
    for threads in (2, 3, 16):
        for name, value in case.everything(build("cpu", case, threads)).items():
            assert torch.equal(value, one[name]), name


@pytest.mark.parametrize("kind", list(KINDS))
def test_gradients_of_a_short_row_are_those_of_a_shorter_pack_bit_for_bit(kind: str) -> None:
    case = Case(kind, (3, 41, 7, 20, 3))
    engine = build("cpu", case, 1)
    _, whole = case.run(engine)
    for p in range(3):
        short = case.rows(slice(p, p + 1))
        short.T = int(case.lengths[p])
        short.inputs = short.inputs[:, -short.T :]
        _, found = short.run(engine)
        for name in ("w_rec", "w_in", "bias", "h0", *case.weights.cell):
            assert torch.equal(whole[name][p], found[name][0]), name


@pytest.mark.parametrize("kind", list(KINDS))
def test_foreign_layouts_are_read_right(kind: str) -> None:
    """Weights inside a larger slab, as a pack has them; inputs and direct gradients with gaps."""
    case = Case(kind, (3, 9, 4, 10, 3), steps=True)
    engine = build("cpu", case, 1)
    _, want = case.run(engine)
    w = case.weights
    assert w.w_in is not None
    slab = torch.randn(3, 1000, dtype=F64)
    size = w.w_rec[0].numel()
    slab[:, 8 : 8 + size], slab[:, 500 : 500 + w.w_in[0].numel()] = w.w_rec.flatten(1), w.w_in.flatten(1)
    w.w_rec = slab[:, 8 : 8 + size].unflatten(1, w.w_rec.shape[1:])
    w.w_in = slab[:, 500 : 500 + w.w_in[0].numel()].unflatten(1, w.w_in.shape[1:])
    case.inputs = torch.stack((case.inputs, case.inputs), -1)[..., 0]
    assert case.direct.steps is not None
    case.direct = Direct(steps=torch.stack((case.direct.steps, case.direct.steps), -1)[..., 1])
    _, found = case.run(engine)
    assert all(torch.equal(found[name], want[name]) for name in want)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_record_and_a_trace_survive_later_calls(kind: str) -> None:
    case = Case(kind)
    engine = build("cpu", case, 1)
    _, found = case.run(engine)
    before = {name: value.clone() for name, value in found.items()}
    case.inputs = -case.inputs
    case.run(engine)
    assert all(torch.equal(found[name], before[name]) for name in before)


@pytest.mark.parametrize("kind", list(KINDS))
def test_truncated_errors_are_those_of_the_step_by_step_engine(kind: str) -> None:
    """Windows: the chunks that `truncation` cuts a record into are read like any other."""
    case = Case(kind, (3, 11, 4, 9, 3), steps=True)

    @dataclass(frozen=True)
    class Loop:
        engine: object
        record: object

        def backward(self, direct: Direct, *, keep: bool):
            return self.engine.backward(self.record, direct, NONE, keep=keep)  # type: ignore[attr-defined]

    found = []
    for engine in (CellEngine(case.cell), build("cpu", case, 1)):
        loop = Loop(engine, case.record(engine))
        grads, trace = truncation.backward(loop, case.direct, 4, keep=True)  # type: ignore[arg-type]
        assert trace is not None
        found.append({"w_rec": grads.w_rec, "w_in": grads.w_in, **grads.cell, "x": trace.x, "delta": trace.delta})
    for name, value in found[0].items():
        assert torch.allclose(found[1][name], value, rtol=1e-11, atol=1e-12), name


@pytest.mark.parametrize("kind", list(KINDS))
def test_slopes_are_read_from_what_is_kept(kind: str) -> None:
    """Both engines keep the same, and a cell's slopes ask for nothing else."""
    case = Case(kind, steps=True)
    own = {name: value[:, None] for name, value in case.weights.cell.items() if value.ndim == 2}
    kept = [case.record(engine).kept for engine in (CellEngine(case.cell), build("cpu", case, 1))]  # type: ignore[attr-defined]
    for t in range(case.T):
        begun = case.lengths >= case.T - t
        nothing = torch.full((case.P, case.B, 0), torch.nan, dtype=F64)
        one, other = (case.cell.slopes(part[:, t], nothing, nothing, own) for part in kept)
        if one is not None and other is not None:
            assert torch.allclose(one[begun], other[begun], rtol=1e-12, atol=1e-13)


def test_who_gets_the_fused_loops() -> None:
    for family in FAMILIES:
        for name in ("auto", "cpu"):
            engine, note = engine_for(family(hidden=4).cell, name, NONE, torch.float32, CPU)
            assert (type(engine), engine.name, note) == (DescribedEngine, "cpu", ""), family
        engine, note = engine_for(family(hidden=4).cell, "reference", NONE, torch.float32, CPU)
        assert (type(engine), note) == (CellEngine, "")


def test_a_familys_other_forms_have_them_too() -> None:
    for family in (Antisymmetric(hidden=4, gated=True), Slstm(hidden=4, heads=2, forget_gate="exp")):
        engine, note = engine_for(family.cell, "auto", NONE, torch.float32, CPU)
        assert (type(engine), note) == (DescribedEngine, "")


def test_drives_of_other_orders_are_refused() -> None:
    """The GRU's formulas run on a GPU: its candidate's product and drive are blocks apart."""

    @dataclass(frozen=True)
    class Described(OscillatorCell):
        formulas: ClassVar[StepFormulas] = GruStep()

    with pytest.raises(ValueError, match="Described: drives enter the last blocks of x here, in their order"):
        DescribedEngine(Described(4))


def test_masks_go_step_by_step_and_the_note_says_so() -> None:
    engine, note = engine_for(OscillatorCell(4), "cpu", NONE, torch.float32, CPU, regularised=True)
    assert type(engine) is CellEngine
    assert note == "cpu engine not used: its loop has no zoneout, recurrent dropout or layer norm"


def test_a_subclass_does_not_inherit_the_loops() -> None:
    @dataclass(frozen=True)
    class Damped(OscillatorCell):
        """Computes something else."""

    engine, note = engine_for(Damped(4), "auto", NONE, torch.float32, CPU)
    assert type(engine) is CellEngine
    assert note == "cpu engine not used: Damped has no fused loop"


def test_sizes_are_checked() -> None:
    case = Case()
    engine = build("cpu", case, 1)
    with pytest.raises(ValueError, match="h0 has 13 entries; a state has 12"):
        engine.forward(case.inputs, replace(case.weights, h0=torch.zeros(3, 13, dtype=F64)), NONE, case.lengths)
    record = case.record(engine)
    with pytest.raises(ValueError, match="direct gradients have 13 entries; a state has 12"):
        engine.backward(record, Direct(last=torch.zeros(3, 4, 13, dtype=F64)), NONE)
    with pytest.raises(ValueError, match="one of the two direct parts"):
        engine.backward(record, Direct(), NONE)
    assert case.weights.w_in is not None
    single = replace(case.weights, w_in=case.weights.w_in.float())
    with pytest.raises(TypeError, match=r"w_in is torch\.float32"):
        engine.forward(case.inputs, single, NONE, case.lengths)


def test_the_tangent_is_refused() -> None:
    case = Case()
    engine = build("cpu", case, 1)
    trace, _ = case.run(engine)
    with pytest.raises(ConfigError, match="no tangent recursion"):
        engine.tangent(trace, case.weights.w_rec, torch.ones(3, dtype=torch.int64), NONE)
