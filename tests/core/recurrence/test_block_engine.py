"""The fused engine of blocks around a diagonal recurrence: the numbers of the step-by-step engine, rows, threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from torch import Tensor

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.learners import truncation
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.recurrence.cpu.engine.blocks import BlockEngine
from rnnsweep.core.recurrence.state_space import StateSpaceCell, StateSpaceEngine
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record
from tests.contract import test_described_engines as described
from tests.contract.test_engines import assert_close, tensors_of
from tests.contract.test_sequence_lengths import differing
from tests.kit.strangers import assert_rows_are_strangers, assert_short_rows_are_shorter_packs

F64 = torch.float64
CPU = torch.device("cpu")
NONE = ACTIVATIONS["identity"]
KINDS = list(product(("full_glu", "half_glu", "gelu"), (True, False)))
SHAPE = (3, 23, 5, 13, 7, 4)
"""P, T, B, H, N, I."""


class Case(described.Case):
    """A pack with everything in it: parameters, inputs or drives, lengths, direct gradients; drawn from a seed."""

    def __init__(self, kind=KINDS[0], shape=SHAPE, *, steps=False, driven=True, wide=False, h0=False, dtype=F64):
        rng = torch.Generator().manual_seed(0)
        P, T, B, H, N, I = shape  # noqa: E741
        self.P, self.T, self.B, self.H = P, T, B, H

        def normal(*size):
            return torch.randn(*size, generator=rng, dtype=F64).to(dtype)

        self.cell = cell = StateSpaceCell(H, states=N, gate=kind[0], prenorm=kind[1])
        angle, size, G = normal(P, N), torch.sigmoid(normal(P, N)), cell.gate_width
        own = {
            "lam_re": size * angle.cos(),
            "lam_im": size * angle.sin(),
            "b": normal(P, H, 2 * N) / H**0.5,
            "c": normal(P, 2 * N, H) / N**0.5,
            **{name: normal(P, H) for name in ("d", "gain", "shift")},
            **({"w_gate": normal(P, H, G) / H**0.5, "b_gate": normal(P, G)} if G else {}),
        }
        self.weights = LoopWeights(
            w_rec=normal(P, 0, 0),
            w_in=normal(P, I, H) if driven else None,
            bias=normal(P, H),
            h0=normal(P, B, cell.state) if h0 else None,
            cell=own,
        )
        self.inputs = normal(P, T, B, I if driven else H)
        self.lengths = torch.tensor([T - (p * 2) % T for p in range(P)])
        begun = (torch.arange(T) >= (T - self.lengths)[:, None])[..., None, None]
        self.inputs = self.inputs * begun
        seen = cell.state if wide else H
        self.direct = Direct(steps=normal(P, T, B, seen) * begun) if steps else Direct(last=normal(P, B, seen))

    def everything(self, engine: Engine) -> dict[str, Tensor]:
        """Results as the training core uses them."""
        trace, found = self.run(engine)
        short, none = engine.backward(trace.record, self.direct, NONE, keep=False)
        assert none is None
        return found | {f"lean.{name}": value for name, value in named(short).items()}


def named(grads: LoopGradients) -> dict[str, Tensor]:
    return {**tensors_of(grads), **grads.cell}


def build(case: Case, threads: int | None = 1) -> BlockEngine:
    """The fused engine; skips where this machine has no such loops."""
    torch.set_num_threads(1)
    found = BlockEngine(case.cell, threads)
    reason = found.refuses(NONE, F64)
    if reason:
        pytest.skip(reason)
    return found


def assert_equal_engines(case: Case, tolerance: float = 1e-12) -> None:
    (_, true), (_, mine) = case.run(StateSpaceEngine(case.cell)), case.run(build(case))
    assert mine.keys() == true.keys()
    for name, value in true.items():
        assert mine[name].shape == value.shape, name
        if value.numel():
            assert_close(mine[name], value, tolerance, name)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("steps", [False, True])
def test_equals_the_step_by_step_engine(kind: tuple[str, bool], steps: bool, each: bool) -> None:
    for driven, wide, h0 in product((False, True), repeat=3):
        case = Case(kind, steps=steps, driven=driven, wide=wide, h0=h0)
        assert_equal_engines(differing(case) if each else case)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1, 1, 1, 1),  # least of all
        (2, 1, 12, 16, 8, 3),
        (2, 130, 1, 33, 17, 5),  # blocks of 96 steps
        (2, 25, 7, 100, 32, 6),
        (2, 6, 120, 20, 3, 2),  # more samples than a block has
    ],
    ids=str,
)
def test_equals_it_in_all_sizes(kind: tuple[str, bool], shape: tuple[int, ...]) -> None:
    assert_equal_engines(Case(kind, shape, steps=True, h0=True), 3e-12)
    assert_equal_engines(Case(kind, shape), 3e-12)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_is_as_exact_in_float32(kind: tuple[str, bool]) -> None:
    """Within 256 units of the last place of float64's results, or three times what the other engine is off."""
    shape = (2, 40, 10, 36, 12, 6)
    _, true = Case(kind, shape, steps=True).run(StateSpaceEngine(Case(kind, shape).cell))
    single = Case(kind, shape, steps=True, dtype=torch.float32)
    (_, mine), (_, other) = single.run(build(single)), single.run(StateSpaceEngine(single.cell))
    for name, value in true.items():
        if value.numel() and value.any():
            off, theirs = (float((x[name] - value).abs().max() / value.abs().max()) for x in (mine, other))
            assert off <= max(256 * torch.finfo(torch.float32).eps, 3 * theirs), name


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("flags", [{}, {"steps": True, "wide": True, "h0": True}, {"driven": False, "steps": True}])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_rows_are_strangers(kind: tuple[str, bool], flags: dict[str, bool], dtype: torch.dtype) -> None:
    case = Case(kind, (5, 6, 3, 22, 5, 3), dtype=dtype, **flags)
    assert_rows_are_strangers(case, build(case))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_threads_change_no_bit(kind: tuple[str, bool]) -> None:
    case = Case(kind, (7, 41, 7, 36, 9, 3), dtype=torch.float32, steps=True)
    one = case.everything(build(case, 1))
    for threads in (2, 3, 16):
        for name, value in case.everything(build(case, threads)).items():
            assert torch.equal(value, one[name]), name


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("flags", [{}, {"steps": True, "wide": True}, {"driven": False}])
def test_short_rows_are_shorter_packs(kind: tuple[str, bool], flags: dict[str, bool]) -> None:
    case = Case(kind, (3, 41, 7, 16, 5, 3), **flags)
    case.lengths = torch.tensor([41, 39, 4])
    engine = build(case)
    assert_short_rows_are_shorter_packs(case, engine, ("w_in", "bias", *case.weights.cell), assert_close)
    case.inputs[2, :37] = torch.nan
    _, found = case.run(engine)
    assert all(torch.isfinite(value[2]).all() for name, value in found.items() if name != "h"), "read before the start"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_last_error_is_one_among_zeros(kind: tuple[str, bool]) -> None:
    """Steps without an error are passed over behind the recurrence."""
    case = Case(kind, wide=True)
    engine = build(case)
    _, want = case.run(engine)
    assert case.direct.last is not None
    steps = torch.zeros(case.P, case.T, case.B, case.cell.state, dtype=F64)
    steps[:, -1] = case.direct.last
    case.direct = Direct(steps=steps)
    for name, value in case.run(engine)[1].items():
        assert_close(value, want[name], 1e-13, name)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_the_last_step_alone_is_the_last_of_all(kind: tuple[str, bool], each: bool, fused: bool) -> None:
    """To the bit: what is trained does not depend on who looks at other steps."""
    for driven, h0 in product((False, True), repeat=2):
        case = Case(kind, driven=driven, h0=h0)
        case = differing(case) if each else case
        engine = build(case) if fused else StateSpaceEngine(case.cell)
        given = case.inputs, case.weights, NONE, case.lengths
        whole, last = engine.forward(*given), engine.forward_last(*given)
        assert torch.equal(last.h[:, -1], whole.h[:, -1])
        (true, _), (found, _) = (engine.backward(one, case.direct, NONE, keep=False) for one in (whole, last))
        for name, value in named(true).items():
            assert torch.equal(named(found)[name], value), name


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_foreign_layouts_are_read_right(kind: tuple[str, bool]) -> None:
    """Weights inside a larger slab, as a pack has them; inputs and direct gradients with gaps."""
    case = Case(kind, steps=True)
    engine = build(case)
    _, want = case.run(engine)

    def placed(x: Tensor) -> Tensor:
        slab = torch.randn(case.P, x[0].numel() + 30, dtype=F64)
        slab[:, 16 : 16 + x[0].numel()] = x.flatten(1)
        return slab[:, 16 : 16 + x[0].numel()].unflatten(1, x.shape[1:])

    w = case.weights
    assert w.w_in is not None
    own = {name: placed(value) for name, value in w.cell.items()}
    case.weights = replace(w, w_in=placed(w.w_in), cell=own)
    case.inputs = torch.stack((case.inputs, case.inputs), -1)[..., 0]
    assert case.direct.steps is not None
    case.direct = Direct(steps=torch.stack((case.direct.steps, case.direct.steps), -1)[..., 1])
    _, found = case.run(engine)
    assert all(torch.equal(found[name], want[name]) for name in want)


def test_a_record_and_a_trace_survive_later_calls() -> None:
    case = Case()
    engine = build(case)
    _, found = case.run(engine)
    before = {name: value.clone() for name, value in found.items()}
    case.inputs = -case.inputs
    case.run(engine)
    assert all(torch.equal(found[name], before[name]) for name in before)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("each", [False, True])
def test_truncated_errors_are_those_of_the_step_by_step_engine(kind: tuple[str, bool], each: bool) -> None:
    """Windows: the chunks that `truncation` cuts a record into are read like any other."""
    case = Case(kind, (3, 11, 4, 9, 4, 3), steps=True)
    case = differing(case) if each else case

    @dataclass(frozen=True)
    class Loop:
        engine: Engine
        record: Record

        def backward(self, direct: Direct, *, keep: bool):
            return self.engine.backward(self.record, direct, NONE, keep=keep)

    found = []
    for engine in (StateSpaceEngine(case.cell), build(case)):
        loop = Loop(engine, case.record(engine))
        grads, trace = truncation.backward(loop, case.direct, 4, keep=True)  # type: ignore[arg-type]
        assert trace is not None
        found.append({**named(grads), "x": trace.x})
    for name, value in found[0].items():
        assert torch.allclose(found[1][name], value, rtol=1e-11, atol=1e-12), name


def test_who_gets_the_fused_loops() -> None:
    @dataclass(frozen=True)
    class Other(StateSpaceCell):
        """Computes something else."""

    cell = StateSpaceCell(4)
    for name in ("auto", "cpu"):
        engine, note = engine_for(cell, name, NONE, torch.float32, CPU)
        assert (type(engine), engine.name, note) == (BlockEngine, "cpu", "")
    assert type(engine_for(cell, "reference", NONE, torch.float32, CPU)[0]) is StateSpaceEngine
    assert type(engine_for(Other(4), "auto", NONE, torch.float32, CPU)[0]) is StateSpaceEngine
    engine, note = engine_for(cell, "cpu", NONE, torch.float32, CPU, regularised=True)
    assert type(engine) is StateSpaceEngine
    assert note == "cpu engine not used: its loop has no zoneout, recurrent dropout or layer norm"


def test_sizes_are_checked() -> None:
    case = Case()
    engine = build(case)
    record = case.record(engine)
    with pytest.raises(ValueError, match="direct gradients have 28 entries; a state has 27"):
        engine.backward(record, Direct(last=torch.zeros(3, 5, 28, dtype=F64)), NONE)
    with pytest.raises(ValueError, match="one of the two direct parts"):
        engine.backward(record, Direct(), NONE)
    narrow = {**case.weights.cell, "w_gate": case.weights.cell["w_gate"][..., 1:]}
    with pytest.raises(ValueError, match="w_gate is"):
        engine.forward(case.inputs, replace(case.weights, cell=narrow), NONE, case.lengths)
