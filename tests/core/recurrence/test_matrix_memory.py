"""The chunks of a matrix memory against the cell step by step, against pairs of steps under autograd, and alone."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, replace

import pytest
import torch

from rnnsweep.core.activations import activation
from rnnsweep.core.recurrence.cells import CellEngine, CellRecord
from rnnsweep.core.recurrence.exponential_gates import MatrixMemoryCell
from rnnsweep.core.recurrence.memory_records import MemoryRecord, chunks
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Direct, LoopGradients, LoopMasks, LoopWeights, Record, Trace
from tests.kit.replayed import as_on_a_device, without_host

F64 = torch.float64
NONE = activation("identity")
P, B, I = 3, 4, 3  # noqa: E741


@dataclass
class Case:
    """Arguments of a loop; the shapes' letters are those of `core.types`."""

    T: int
    hidden: int
    heads: int = 1
    sigmoid: bool = True
    dtype: torch.dtype = F64
    lengths: torch.Tensor | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        rng = torch.Generator().manual_seed(self.seed)

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=rng, dtype=F64).to(self.dtype)

        self.cell = MatrixMemoryCell(self.hidden, self.heads, self.sigmoid)
        self.inputs, self.w_in = draw(P, self.T, B, I), draw(P, I, self.cell.drive) / 2
        # where n q is near 0 a quotient has no digits: of exponential forget gates, whose n is large, it must not be
        overlap = 0.0 if self.sigmoid else 1.5
        self.bias, self.errors = draw(P, self.cell.drive) / 2, draw(P, self.T, B, self.hidden)
        self.bias[:, : 2 * self.hidden] += overlap
        self.lengths = torch.full((P,), self.T) if self.lengths is None else self.lengths
        own = own_steps(self.lengths, self.T)[..., None]
        self.errors = torch.where(own, self.errors, torch.zeros_like(self.errors))
        self.h0: torch.Tensor | None = None

    @property
    def weights(self) -> LoopWeights:
        return LoopWeights(self.w_in.new_zeros(P, 0, 0), self.w_in, self.bias, h0=self.h0)

    def direct(self, steps: bool) -> Direct:
        return Direct(steps=self.errors) if steps else Direct(last=self.errors[:, -1])

    def carried(self) -> Case:
        """From a state that other inputs led to, of some sequences from nothing."""
        other = Case(5, self.hidden, self.heads, self.sigmoid, self.dtype, seed=9)
        self.h0 = other.stepwise().h[:, -1].clone()
        self.h0[0, 0] = 0
        return self

    def stepwise(self) -> Record:
        assert self.lengths is not None
        return CellEngine(self.cell).forward(self.inputs, self.weights, NONE, self.lengths)

    def record(self) -> CellRecord:
        assert self.lengths is not None
        return self.cell.engine().forward(self.inputs, self.weights, NONE, self.lengths)  # type: ignore[return-value]

    def back(self, record: Record, steps: bool) -> tuple[LoopGradients, Trace]:
        found, trace = self.cell.engine().backward(record, self.direct(steps), NONE)
        assert trace is not None
        return found, trace

    def back_stepwise(self, record: Record, steps: bool) -> tuple[LoopGradients, Trace]:
        found, trace = CellEngine(self.cell).backward(record, self.direct(steps), NONE)
        assert trace is not None
        return found, trace


def close(found: torch.Tensor, true: torch.Tensor, tolerance: float = 1e-12) -> None:
    """Beside the largest entry: gradients pass through quotients."""
    assert found.shape == true.shape
    size = max(1.0, float(true.abs().max()))
    assert float((found - true).abs().max()) <= tolerance * size


def check(case: Case, steps: bool, tolerance: float = 1e-12) -> None:
    """States, whole ones of some steps, gradients, and norms of what steps hand back."""
    true, record = case.stepwise(), case.record()
    assert isinstance(record, MemoryRecord)
    close(record.h, true.h[..., : case.hidden], tolerance)
    for t in {0, 1, case.T // 2, case.T}:
        close(record.at(t), true.h[:, t], tolerance)
    (wanted, trace), (found, mine) = case.back_stepwise(true, steps), case.back(record, steps)
    assert wanted.w_in is not None
    assert wanted.bias is not None
    assert found.w_in is not None
    assert found.bias is not None
    close(found.w_in, wanted.w_in, tolerance)
    close(found.bias, wanted.bias, tolerance)
    close(mine.x[..., 0], trace.x.square().sum(-1).sqrt(), tolerance)


SHAPES = [(1, 6, 2), (33, 6, 1), (70, 10, 5), (96, 8, 2), (100, 50, 1), (130, 50, 1)]
"""One step, chunks with and without a shorter one, two blocks of queries, three chunks of a wide head."""


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("sigmoid", [True, False])
@pytest.mark.parametrize(("T", "hidden", "heads"), SHAPES)
def test_chunks_are_the_cell_step_by_step(T, hidden, heads, sigmoid, steps):
    check(Case(T, hidden, heads, sigmoid), steps)


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("carried", [False, True])
def test_lengths_and_states_that_are_carried(carried, ragged, steps):
    lengths = torch.tensor([70, 35, 1])
    if ragged:
        lengths = torch.tensor([[70, 1, 2, 69], [32, 33, 38, 39], [5, 64, 65, 70]])
    case = Case(70, 6, 2, lengths=lengths)
    check(case.carried() if carried else case, steps)


def literal(case: Case) -> torch.Tensor:
    """What is shown, from all pairs of steps at once, without a stabiliser (Beck et al., 2024, eq. 19-27)."""
    N, D, T = case.heads, case.cell.size, case.T
    drive = torch.einsum("ptbi,pij->ptbj", case.inputs, case.w_in) + case.bias[:, None, None]
    q, k, v, o = drive[..., : 4 * case.hidden].unflatten(-1, (4, N, D)).unbind(3)
    i, f = drive[..., 4 * case.hidden :].split(N, -1)
    log_f = torch.nn.functional.logsigmoid(f) if case.sigmoid else f
    total = log_f.cumsum(1)
    log_w = total[:, :, None] - total[:, None] + i[:, None]  # P t s B N
    log_w = log_w.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril()[None, :, :, None, None], -torch.inf)
    s = torch.einsum("ptbnd,psbnd->ptsbn", q, k) / math.sqrt(D) * log_w.exp()
    y = torch.einsum("ptsbn,psbnd->ptbnd", s, v) / s.sum(2).abs().clamp_min(1)[..., None]
    return (torch.sigmoid(o) * y).flatten(3)


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize(("T", "heads", "sigmoid"), [(40, 1, True), (40, 2, True), (20, 2, False)])
def test_chunks_are_all_pairs_of_steps_under_autograd(T, heads, sigmoid, steps):
    """Of an exponential forget gate few steps: without a stabiliser digits are lost."""
    case = Case(T, 6, heads, sigmoid)
    with torch.enable_grad():
        case.w_in, case.bias = case.w_in.requires_grad_(), case.bias.requires_grad_()
        h = literal(case)
        g = case.errors if steps else torch.cat((torch.zeros_like(case.errors[:, :-1]), case.errors[:, -1:]), 1)
        w_in, bias = torch.autograd.grad(h, [case.w_in, case.bias], g)
    case.w_in, case.bias = case.w_in.detach(), case.bias.detach()
    record = case.record()
    found, _ = case.back(record, steps)
    assert found.w_in is not None
    assert found.bias is not None
    close(record.h[:, 1:], h.detach(), 1e-11)
    close(found.w_in, w_in, 1e-11)
    close(found.bias, bias, 1e-11)


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("sigmoid", [True, False])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_gates_that_exponentials_do_not_hold(dtype, sigmoid, steps):
    """Pre-activations of 300 and -300 in some steps, in float32 beyond every number; the divisor's bound is cut."""
    case = Case(40, 6, 2, sigmoid, dtype)
    drive = torch.einsum("ptbi,pij->ptbj", case.inputs, case.w_in) + case.bias[:, None, None]
    gates = drive[..., 4 * case.hidden :]
    pick = torch.randint(0, 6, gates.shape, generator=torch.Generator().manual_seed(3))
    gates.copy_(torch.where(pick == 0, 300.0, torch.where(pick == 1, -300.0, gates)))
    weights, lengths = LoopWeights(drive.new_zeros(P, 0, 0)), torch.tensor([40, 39, 7])
    direct = Direct(steps=torch.where(own_steps(lengths, 40)[..., None], case.errors, 0.0 * case.errors))
    direct = direct if steps else case.direct(False)
    slow, fast = CellEngine(case.cell), case.cell.engine()
    true, record = (engine.forward(drive, weights, NONE, lengths) for engine in (slow, fast))
    wanted, found = (e.backward(r, direct, NONE, keep=False)[0].inputs for e, r in ((slow, true), (fast, record)))
    assert wanted is not None
    assert found is not None
    tolerance = 1e-12 if dtype == F64 else 1e-4
    close(record.h, true.h[..., : case.hidden], tolerance)
    close(found, wanted, tolerance)


def test_float32_is_as_accurate_as_step_by_step():
    """Errors beside float64, at most twice those of the cell's own steps, over some draws together."""
    errors = torch.zeros(2, 3, dtype=F64)
    for seed in range(4):
        single = Case(150, 40, dtype=torch.float32, seed=seed)
        exact = Case(150, 40, seed=seed)
        # what is compared has the same numbers
        for name in ("inputs", "w_in", "bias", "errors"):
            setattr(exact, name, getattr(single, name).double())
        h, (wanted, _) = (record := exact.stepwise()).h[..., :40], exact.back_stepwise(record, True)
        for index, (run, back) in enumerate(((single.stepwise, single.back_stepwise), (single.record, single.back))):
            record = run()
            found = back(record, True)[0]
            pairs = ((record.h[..., :40], h), (found.w_in, wanted.w_in), (found.bias, wanted.bias))
            for part, (mine, its) in enumerate(pairs):
                assert mine is not None
                assert its is not None
                errors[index, part] += (mine.double() - its).square().sum() / its.square().sum()
    assert (errors[1] <= 4 * errors[0]).all()  # squares


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize(("T", "hidden", "heads"), [(70, 10, 2), (130, 50, 1), (100, 50, 1)])
def test_a_row_is_what_it_is_alone_whatever_is_beside_it(T, hidden, heads, dtype, steps):
    """To the bit, with a neighbour that is not finite."""
    lengths = torch.tensor([T, T // 2, T - 1])
    case = Case(T, hidden, heads, dtype=dtype, lengths=lengths).carried()
    case.inputs[1] = torch.nan
    record = case.record()
    found, trace = case.back(record, steps)
    for row in (0, 2):
        at, engine = slice(row, row + 1), case.cell.engine()
        assert case.h0 is not None
        weights = LoopWeights(case.w_in.new_zeros(1, 0, 0), case.w_in[at], case.bias[at], h0=case.h0[at])
        alone = engine.forward(case.inputs[at], weights, NONE, lengths[at])
        errors = Direct(steps=case.errors[at]) if steps else Direct(last=case.errors[at, -1])
        own, its = engine.backward(alone, errors, NONE)
        assert its is not None
        assert torch.equal(alone.h[0], record.h[row])
        assert torch.equal(alone.at(T)[0], record.at(T)[row])
        assert torch.equal(its.x[0], trace.x[row])
        for name in ("w_in", "bias"):
            assert torch.equal(getattr(own, name)[0], getattr(found, name)[row]), name


def test_a_sequence_that_is_not_finite_leaves_the_others_of_its_row():
    case = Case(70, 6, 2)
    true = case.record().h
    case.inputs[0, 40:, 1] = torch.inf
    found = case.record().h
    assert not torch.isfinite(found[0, 41:, 1]).any()
    assert torch.equal(found[:, :, [0, 2, 3]], true[:, :, [0, 2, 3]])


def test_steps_before_a_start_are_not_read():
    lengths = torch.tensor([20, 70, 35])
    case = Case(70, 6, 2, lengths=lengths)
    true = case.record(), case.back(case.record(), True)[0]
    case.inputs = torch.where(own_steps(lengths, 70)[..., None], case.inputs, torch.full_like(case.inputs, 1e30))
    record = case.record()
    assert torch.equal(record.h, true[0].h)
    assert torch.equal(record.at(60), true[0].at(60))


def test_a_part_of_a_record_goes_on_from_its_first_state():
    """What truncated backpropagation asks for."""
    for lengths in (torch.tensor([70, 35, 1]), torch.tensor([[70, 1, 2, 69], [32, 33, 38, 39], [5, 64, 65, 70]])):
        case = Case(70, 6, 2, lengths=lengths)
        true, found = case.stepwise().between(21, 57), case.record().between(21, 57)
        assert isinstance(found, MemoryRecord)
        close(found.h, true.h[..., :6])
        direct = Direct(steps=torch.where(own_steps(true.lengths, 36)[..., None], case.errors[:, 21:57], 0.0))
        wanted = CellEngine(case.cell).backward(true, direct, NONE, keep=False)[0]
        mine = case.cell.engine().backward(found, direct, NONE, keep=False)[0]
        assert wanted.w_in is not None
        assert mine.w_in is not None
        close(mine.w_in, wanted.w_in)


def test_errors_of_whole_states_and_masks_go_step_by_step():
    case = Case(40, 6, 2)
    engine, errors = case.cell.engine(), torch.randn(P, 40, B, case.cell.state, dtype=F64)
    true, record = case.stepwise(), case.record()
    close(record.whole().h, true.h)  # a bias is added in another order
    wanted, trace = CellEngine(case.cell).backward(true, Direct(steps=errors), NONE)
    found, mine = engine.backward(record, Direct(steps=errors), NONE)
    assert trace is not None
    assert mine is not None
    close(mine.x, trace.x)
    close(found.bias, wanted.bias)  # type: ignore[arg-type]
    zone = torch.full((P, 40, B, case.cell.state), 0.5, dtype=F64)
    masked = replace(case.weights, masks=LoopMasks(zone=zone))
    lengths = torch.full((P,), 40)
    records = [e.forward(case.inputs, masked, NONE, lengths) for e in (CellEngine(case.cell), engine)]
    assert torch.equal(records[0].h, records[1].h)


def test_gradients_are_the_same_with_a_trace_and_without():
    case = Case(70, 6, 2)
    for steps in (False, True):
        kept, _ = case.back(case.record(), steps)
        found, none = case.cell.engine().backward(case.record(), case.direct(steps), NONE, keep=False)
        assert none is None
        assert torch.equal(found.w_in, kept.w_in)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [False, True])
def test_nothing_is_asked_of_the_host(steps):
    """Nor are other bits made where nothing can be asked."""
    case = Case(70, 6, 2, lengths=torch.tensor([70, 70, 70]))
    with as_on_a_device():
        true = case.back(case.record(), steps)[0]
        with without_host():
            found = case.back(case.record(), steps)[0]
    assert torch.equal(found.w_in, true.w_in)  # type: ignore[arg-type]


RAGGED = torch.tensor([[70, 1, 2, 69], [32, 33, 38, 39], [5, 64, 65, 70]])


def last_step(case: Case) -> tuple[torch.Tensor, LoopGradients]:
    """What the last step shows, and gradients of an error of it, where nothing else is shown."""
    engine = case.cell.engine()
    assert case.lengths is not None
    record = engine.forward_last(case.inputs, case.weights, NONE, case.lengths)
    gradients, trace = engine.backward(record, case.direct(False), NONE, keep=False)
    assert trace is None
    return record.h[:, -1], gradients


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.parametrize("drives", [False, True])
@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize(
    ("T", "hidden", "heads", "sigmoid", "lengths"),
    [(1, 6, 2, True, None), (100, 50, 1, False, None), (130, 50, 1, True, None), (70, 6, 2, True, RAGGED)],
)
def test_the_last_step_alone_is_the_last_of_all(T, hidden, heads, sigmoid, lengths, carried, drives, device):
    case = Case(T, hidden, heads, sigmoid, lengths=lengths)
    case = case.carried() if carried else case
    if drives:  # as behind a layer
        case.inputs, case.w_in, case.bias = case.stepwise().inputs @ case.w_in[:, None], None, case.bias  # type: ignore[assignment]
    weights = LoopWeights(case.inputs.new_zeros(P, 0, 0), case.w_in, case.bias, h0=case.h0)
    true = case.cell.engine().forward(case.inputs, weights, NONE, case.lengths)  # type: ignore[arg-type]
    wanted, _ = case.cell.engine().backward(true, case.direct(False), NONE, keep=False)
    # To the bit, but for the order of sums where there are no kernels: what is trained shall not depend on who looks.
    same = close if device else lambda found, true: torch.testing.assert_close(found, true, rtol=0, atol=0)
    with as_on_a_device() if device else nullcontext():
        engine = case.cell.engine()
        record = engine.forward_last(case.inputs, weights, NONE, case.lengths)
        found, _ = engine.backward(record, case.direct(False), NONE, keep=False)
    assert record.h.shape[1] == 1
    same(record.h[:, -1], true.h[:, -1])
    for name in ("bias", "inputs" if drives else "w_in"):
        same(getattr(found, name), getattr(wanted, name))


def test_the_last_step_of_a_row_is_what_it_is_alone():
    """To the bit, with neighbours that are not finite; idle steps are not read."""
    case = Case(100, 50, lengths=torch.tensor([100, 100, 60]))
    case.inputs[1], case.inputs[2, :40] = torch.nan, 1e30
    (shown, found), weights = last_step(case), case.weights
    for row in (0, 2):
        at, engine = slice(row, row + 1), case.cell.engine()
        alone = replace(weights, w_rec=weights.w_rec[at], w_in=case.w_in[at], bias=case.bias[at])
        record = engine.forward_last(case.inputs[at], alone, NONE, case.lengths[at])  # type: ignore[index]
        own, _ = engine.backward(record, Direct(last=case.errors[at, -1]), NONE, keep=False)
        assert torch.equal(record.h[0, -1], shown[row])
        for name in ("w_in", "bias"):
            assert torch.equal(getattr(own, name)[0], getattr(found, name)[row]), name


@pytest.mark.parametrize(
    ("T", "hidden"), [(1, 6), (32, 6), (33, 6), (96, 6), (64, 50), (128, 50), (129, 50), (300, 100)]
)
def test_chunks_cover_all_steps_once_and_end_with_them(T, hidden):
    found = [*chunks(MatrixMemoryCell(hidden), T)]
    assert [t for first, end in found for t in range(first, end)] == [*range(T)]
    sizes = [end - first for first, end in found]
    assert len({*sizes[1:]}) <= 1
    assert sizes[0] <= max(sizes)
