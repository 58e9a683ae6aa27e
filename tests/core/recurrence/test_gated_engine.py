"""What only the fused engine of gated cells promises: the numbers of `CellEngine`, threads, buffers, who gets it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.families.adam_lstm import AdamLstm
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.momentum_lstm import MomentumLstm
from rnnsweep.core.families.nesterov_lstm import NesterovLstm
from rnnsweep.core.families.nesterov_lstm_diff import NesterovLstmDiff
from rnnsweep.core.families.rmsprop_lstm import RmspropLstm
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import CellEngine
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.recurrence.cpu.engine.gated import DifferenceLstmEngine, GruEngine, LstmEngine
from rnnsweep.core.recurrence.gated_cells import DifferenceLstmCell
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Direct, LoopWeights
from rnnsweep.errors import ConfigError
from tests.contract.test_gated_engines import CELLS, NONE, Case, fused

F64 = torch.float64
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("shape", [(2, 40, 10, 16, 6), (2, 25, 7, 33, 5), (2, 12, 20, 100, 6)])
@pytest.mark.parametrize("cell", list(CELLS))
def test_equals_the_step_by_step_engine(cell: str, shape: tuple[int, ...]) -> None:
    """Same names, shapes and values; float32 within 64 units of the last place of float64's results."""
    case = Case(cell, shape, steps=True, wide=True)
    _, true = case.run(CellEngine(case.cell))
    _, mine = case.run(fused(case.cell))
    assert mine.keys() == true.keys()
    single = Case(cell, shape, steps=True, wide=True, dtype=torch.float32)
    _, rounded = single.run(fused(single.cell))
    for name, value in true.items():
        assert mine[name].shape == value.shape, name
        scale = value.abs().max()
        assert ((mine[name] - value).abs().max() / scale) <= 1e-12, name
        assert ((rounded[name] - value).abs().max() / scale) <= 64 * torch.finfo(torch.float32).eps, name


@pytest.mark.parametrize("cell", list(CELLS))
def test_threads_change_no_bit(cell: str) -> None:
    case = Case(cell, (7, 41, 7, 36, 3), dtype=torch.float32)
    one = case.everything(fused(case.cell, 1))
    for threads in (2, 3, 16):
        for name, value in case.everything(fused(case.cell, threads)).items():
            assert torch.equal(value, one[name]), name


@pytest.mark.parametrize("cell", list(CELLS))
def test_gradients_of_a_short_row_are_those_of_a_shorter_pack_bit_for_bit(cell: str) -> None:
    case = Case(cell, (3, 41, 7, 20, 3))
    engine = fused(case.cell, 1)
    _, whole = case.run(engine)
    for p in range(3):
        short = case.rows(slice(p, p + 1))
        short.T = int(case.lengths[p])
        short.inputs = short.inputs[:, -short.T :]
        _, found = short.run(engine)
        for name in ("w_rec", "w_in", "bias", "h0", "b_n"):
            assert name not in whole or torch.equal(whole[name][p], found[name][0]), name


@pytest.mark.parametrize("cell", list(CELLS))
def test_foreign_layouts_are_read_right(cell: str) -> None:
    """Weights inside a larger slab, as a pack has them; inputs and direct gradients with gaps."""
    case = Case(cell, (3, 9, 4, 10, 3), steps=True)
    engine = fused(case.cell, 1)
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


@pytest.mark.parametrize("cell", list(CELLS))
def test_a_record_and_a_trace_survive_later_calls(cell: str) -> None:
    case = Case(cell)
    engine = fused(case.cell, 1)
    _, found = case.run(engine)
    before = {name: value.clone() for name, value in found.items()}
    case.inputs = -case.inputs
    case.run(engine)
    assert all(torch.equal(found[name], before[name]) for name in before)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("cell", list(CELLS))
def test_saturated_gates_and_nan(cell: str, dtype: torch.dtype) -> None:
    """Drives of any size give states in [-1, 1] and zero slopes; NaN and inf - inf stay in their sample."""
    inf, nan = float("inf"), float("nan")
    size = 4 if cell == "lstm" else 3
    weights = LoopWeights(torch.zeros(1, 5, size * 5, dtype=dtype), cell={"b_n": torch.zeros(1, 5, dtype=dtype)})
    if cell == "lstm":
        weights.cell = {}
    drives = torch.tensor([1e30, -1e30, inf, -inf, nan, 0.0], dtype=dtype)[None, None, :, None]
    drives = drives.expand(1, 1, 6, size * 5).contiguous()
    engine = fused(CELLS[cell](5), 1)
    record = engine.forward(drives, weights, NONE, torch.tensor([1]))
    h = record.h[0, 1, :, :5]
    top = torch.tanh(torch.ones((), dtype=dtype)) if cell == "lstm" else torch.zeros((), dtype=dtype)
    assert torch.allclose(h[[0, 2]], top.expand(2, 5))
    assert torch.allclose(h[[1, 3]], torch.full((2, 5), 0.0 if cell == "lstm" else -1.0, dtype=dtype))
    assert torch.isnan(h[4]).all()
    assert (h[5] == 0).all()
    _, trace = engine.backward(record, Direct(last=torch.ones(1, 6, 5, dtype=dtype)), NONE)
    assert trace is not None
    assert (trace.delta[0, 0, [0, 1, 2, 3]].isfinite()).all()
    assert torch.isnan(trace.delta[0, 0, 4]).any()


def test_who_gets_the_fused_loops() -> None:
    for family in (Lstm, Gru, MomentumLstm, AdamLstm, RmspropLstm, NesterovLstm):
        for name in ("auto", "cpu"):
            engine, note = engine_for(family(hidden=4).cell, name, NONE, torch.float32, CPU)
            assert (type(engine), engine.name, note) == (GruEngine if family is Gru else LstmEngine, "cpu", ""), family
        engine, note = engine_for(family(hidden=4).cell, "reference", NONE, torch.float32, CPU)
        assert (type(engine), note) == (CellEngine, "")
    cell = NesterovLstmDiff(hidden=4).cell
    assert type(engine_for(cell, "auto", NONE, torch.float32, CPU)[0]) is DifferenceLstmEngine
    engine, note = engine_for(cell, "auto", NONE, torch.float32, CPU, regularised=True)
    assert type(engine) is CellEngine
    assert "zoneout" in note


def ahead(engine: Engine, rows: slice, dtype: torch.dtype, lengths: torch.Tensor, *, steps: bool) -> list[torch.Tensor]:
    """All results of some rows of the LSTM that looks ahead, whose whole state begins and ends with something."""
    (P, T, B), H = (3, 7, 4), 13
    rng = torch.Generator().manual_seed(5)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=rng, dtype=F64).to(dtype)[rows]

    weights = LoopWeights(normal(P, H, 4 * H) / H**0.5, h0=normal(P, 6 * H))
    kappa = normal(P, T, B, 1).abs()
    own = own_steps(lengths, T)[..., None]
    direct = Direct(steps=normal(P, T, B, 6 * H) * own[rows]) if steps else Direct(last=normal(P, B, 6 * H))
    record = engine.forward(torch.cat((normal(P, T, B, 4 * H), kappa), -1), weights, NONE, lengths[rows])
    found, trace = engine.backward(record, direct, NONE)
    assert trace is not None
    lean, none = engine.backward(record, direct, NONE, keep=False)
    assert none is None
    results = [record.h, found.w_rec, found.h0, lean.w_rec, trace.delta, trace.x]
    for drives in (found.inputs, lean.inputs):
        assert drives is not None
        # kappa's, which is no parameter, is 0 or not there
        assert not drives[..., 4 * H :].any()
        results.append(drives[..., : 4 * H])
    return [value.clone() for value in results if value is not None]


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("lengths", [torch.tensor([7, 3, 1]), torch.tensor([[7, 2, 1, 7], [3, 3, 6, 1], [5, 5, 5, 5]])])
def test_the_gates_that_look_ahead_do_so_step_by_step_too(lengths: torch.Tensor, steps: bool) -> None:
    cell = DifferenceLstmCell(13)
    fast, slow = DifferenceLstmEngine(cell, 1), CellEngine(cell)
    if fast.refuses(NONE, F64):
        pytest.skip("no fused loops here")
    ours, true = (ahead(engine, slice(None), F64, lengths, steps=steps) for engine in (fast, slow))
    assert len(ours) == len(true) == 8
    for value, want in zip(ours, true, strict=True):
        torch.testing.assert_close(value, want, rtol=1e-11, atol=1e-12)
    for row in range(3):
        alone = ahead(fast, slice(row, row + 1), F64, lengths, steps=steps)
        assert all(torch.equal(one[0], whole[row]) for one, whole in zip(alone, ours, strict=True))


def test_fallbacks_say_why() -> None:
    cell = Lstm(hidden=4).cell
    engine, note = engine_for(cell, "cpu", NONE, torch.float16, CPU)
    assert (type(engine), note) == (CellEngine, "cpu engine not used: torch.float16 has no fused loop")
    engine, note = engine_for(cell, "gpu", NONE, torch.float32, CPU)
    assert (type(engine), note) == (CellEngine, "gpu engine not used: no GPU here")
    engine, note = engine_for(DifferenceLstmCell(4), "auto", NONE, torch.float32, torch.device("cuda"))
    assert (type(engine), note) == (CellEngine, "gpu engine not used: DifferenceLstmCell has no fused loop on a GPU")


def test_without_numba_gated_cells_run_step_by_step() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch; from rnnsweep.core.recurrence.choose import engine_for\n"
        "from rnnsweep.core.activations import ACTIVATIONS\n"
        "from rnnsweep.core.recurrence.gated_cells import LstmCell\n"
        "e, n = engine_for(LstmCell(4), 'auto', ACTIVATIONS['identity'], torch.float32, torch.device('cpu'))\n"
        "print(type(e).__name__, n)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.startswith("CellEngine cpu engine not used: numba cannot be imported")


def test_there_is_no_tangent() -> None:
    case = Case("lstm")
    engine = fused(case.cell, 1)
    trace, _ = case.run(engine)
    with pytest.raises(ConfigError, match="LstmCell has no tangent"):
        engine.tangent(trace, case.weights.w_rec, case.lengths, ACTIVATIONS["tanh"])
