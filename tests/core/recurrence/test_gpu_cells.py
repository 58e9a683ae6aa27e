"""Loops of gated and described cells by the gpu engine: the numbers of `CellEngine`, rows, lengths, what is refused."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from rnnsweep.core.recurrence.cells import Cell, CellEngine
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.recurrence.continuous import GatedIncrementCell
from rnnsweep.core.recurrence.gated_cells import GruCell, LongMemoryCell, LstmCell
from rnnsweep.core.recurrence.gpu import layout
from rnnsweep.core.recurrence.normed_cells import NormedLstmCell
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.types import Direct, LoopWeights
from rnnsweep.errors import ConfigError
from tests.contract import test_described_engines as described
from tests.contract import test_engines as simple
from tests.contract import test_gated_engines as gated
from tests.contract import test_sequence_lengths as lengths
from tests.contract.test_engines import assert_close, tensors_of
from tests.core.recurrence.conftest import OnDevice
from tests.core.recurrence.test_diagonal_loops import DiagonalCase, kinds
from tests.kit.strangers import assert_short_rows_are_shorter_packs

KINDS: dict[str, ModuleType] = {**dict.fromkeys(gated.CELLS, gated), **dict.fromkeys(described.KINDS, described)}
LOOPS = ("h", "x", "w_rec", "h0")


def fused(gpu: OnDevice, cell: Cell) -> OnDevice:
    """The engine under test of a cell."""
    from rnnsweep.core.recurrence.gpu.cell_engine import GpuCellEngine

    return OnDevice(GpuCellEngine(cell), gpu.device)


def close(mine: torch.Tensor, true: torch.Tensor, bound: float) -> bool:
    scale = true.abs().max().clamp_min(1e-300)  # what is not trained is 0
    return bool((mine - true).abs().max() <= bound * scale)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((2, 7, 10, 16, 6), id="unit"),
        pytest.param((2, 4, 17, 9, 40), id="two tiles, wide input", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kind", list(KINDS))
def test_equals_the_step_by_step_engine(gpu: OnDevice, kind: str, shape: tuple[int, ...]) -> None:
    """Same names, shapes and values; float32 within three times what the other engine is off, or 64 last places."""
    case = KINDS[kind].Case(kind, shape, steps=True, wide=True)
    _, true = case.run(CellEngine(case.cell))
    _, mine = case.run(fused(gpu, case.cell))
    assert mine.keys() == true.keys()
    single = KINDS[kind].Case(kind, shape, steps=True, wide=True, dtype=torch.float32)
    _, rounded = single.run(fused(gpu, single.cell))
    _, other = single.run(CellEngine(single.cell))
    for name, value in true.items():
        assert mine[name].shape == value.shape, name
        if value.numel():
            assert close(mine[name], value, 1e-12), name
            scale = value.abs().max().clamp_min(1e-300)
            off = 3 * float((other[name] - value).abs().max() / scale)
            assert close(rounded[name], value, max(64 * torch.finfo(torch.float32).eps, off)), name


@pytest.mark.parametrize("kind", list(KINDS))
def test_drives_and_a_loss_of_the_last_step(gpu: OnDevice, kind: str) -> None:
    case = KINDS[kind].Case(kind, (3, 5, 4, 7, 2), driven=False)
    (_, true), (_, mine) = case.run(CellEngine(case.cell)), case.run(fused(gpu, case.cell))
    assert all(close(mine[name], value, 1e-12) for name, value in true.items() if value.numel())


@pytest.mark.parametrize("kind", ["lstm", "gru", "sbo", "lem", "cornn"])
def test_matrices_that_shared_memory_does_not_hold(gpu: OnDevice, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    from rnnsweep.core.recurrence.gpu import loops

    def forget() -> None:
        for sized in (loops.forward_sized, loops.backward_sized, loops.tangent_sized):
            sized.cache_clear()

    case = KINDS[kind].Case(kind, (2, 5, 3, 9, 2), steps=True, wide=True)
    _, true = case.run(CellEngine(case.cell))
    forget()
    monkeypatch.setattr(loops, "SHARED_BYTES", 4096)
    _, mine = case.run(fused(gpu, case.cell))
    monkeypatch.undo()
    forget()
    assert all(close(mine[name], value, 1e-12) for name, value in true.items() if value.numel())


def loops_alone(gpu: OnDevice, kind: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Any:
    """A case whose drives are none of cuBLAS's products, which are equal for equal packs only."""
    driven = gpu.device == "cpu" or KINDS[kind].Case(kind).cell.additive
    return KINDS[kind].Case(kind, shape, driven=driven, dtype=dtype)


@pytest.mark.parametrize("kind", list(KINDS))
def test_loops_of_a_row_are_the_same_in_every_pack(gpu: OnDevice, kind: str) -> None:
    case = loops_alone(gpu, kind, (3, 4, 5, 12, 2), torch.float32)
    whole = case.run(fused(gpu, case.cell))[1]
    for p in range(3):
        alone = case.rows(slice(p, p + 1)).run(fused(gpu, case.cell))[1]
        assert all(torch.equal(alone[key][0], whole[key][p]) for key in LOOPS)


@pytest.mark.parametrize("kind", list(KINDS))
def test_samples_may_be_spread_over_any_number_of_programs(
    gpu: OnDevice, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few rows are cut otherwise than many: all that loops make is the same, with sums over samples."""
    case = KINDS[kind].Case(kind, (2, 4, 7, 12, 2), dtype=torch.float32)
    whole = case.run(fused(gpu, case.cell))[1]
    for multiprocessors, items in ((2, 4), (6, 3)):  # of the 2 x 7 samples
        monkeypatch.setattr(layout, "MULTIPROCESSORS", multiprocessors)
        assert layout.items_for(2, 7, 7, 4) == items
        spread = case.run(fused(gpu, case.cell))[1]
        assert all(torch.equal(spread[key], whole[key]) for key in whole)


@pytest.mark.parametrize("kind", ["lstm", "gru", *list(described.KINDS)[:3]])
def test_short_rows_are_shorter_packs(gpu: OnDevice, kind: str) -> None:
    case = loops_alone(gpu, kind, (3, 6, 4, 8, 3))
    assert_short_rows_are_shorter_packs(case, fused(gpu, case.cell), ("w_rec", "w_in", "bias", "h0"), assert_close)


@kinds
@pytest.mark.parametrize("each", [False, True])
def test_a_simple_loop_of_diagonals_is_what_its_matrix_says(gpu: OnDevice, kind: tuple[int, str], each: bool) -> None:
    case = DiagonalCase(kind, (3, 6, 4, 14, 2), steps=True)
    case = lengths.differing(case) if each else case
    true, mine = (case.counted(case.run(engine)[-1]) for engine in (ReferenceEngine(), gpu))
    assert mine.keys() == true.keys()
    assert all(close(mine[name], value, 1e-13) for name, value in true.items())


@pytest.mark.parametrize("cell", [LongMemoryCell(9), GatedIncrementCell(7)], ids=["lem", "gated increment"])
@pytest.mark.parametrize("wide", [None, 3], ids=["drives", "inputs"])
def test_sequences_of_different_lengths(gpu: OnDevice, cell: Cell, wide: int | None) -> None:
    P, T, B, (H, D) = 3, 6, 5, (cell.hidden, cell.drive)
    rng = torch.Generator().manual_seed(8)

    def normal(*sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, generator=rng, dtype=torch.float64)

    own = {"dt": normal(P, 1).abs(), "w_y": normal(P, H, H) / 3} if cell.state > H else {"step": normal(P, 1).abs()}
    path = (None, None) if wide is None else (normal(P, wide, D), normal(P, D))
    weights = LoopWeights(normal(P, H, cell.product) / 3, *path, h0=normal(P, cell.state), cell=own)
    inputs, begun = normal(P, T, B, wide or D), torch.tensor([[6] * 5, [1, 2, 3, 4, 6], [2] * 5])
    own_steps = torch.arange(T)[None, :, None] >= T - begun[:, None]
    direct, found = Direct(steps=normal(P, T, B, cell.state) * own_steps[..., None]), []
    for engine in (CellEngine(cell), fused(gpu, cell)):
        record = engine.forward(inputs, weights, gated.NONE, begun)
        grads, trace = engine.backward(record, direct, gated.NONE)
        of_own = {f"own {name}": value for name, value in grads.cell.items()}
        found.append({**tensors_of(grads), **of_own, "h": record.h, "delta": trace.delta, "x": trace.x})
    assert found[0].keys() == found[1].keys()
    assert all(close(found[1][name], value, 1e-12) for name, value in found[0].items())


def test_who_gets_these_loops(gpu: OnDevice) -> None:
    none, device = gated.NONE, torch.device("cuda")
    for cell in (LstmCell(4), GruCell(4), described.Case(next(iter(described.KINDS))).cell):
        engine, note = engine_for(cell, "auto", none, torch.float32, device)
        assert (type(engine).__name__, engine.tile, note) == ("GpuCellEngine", None, "")
        engine, note = engine_for(cell, "gpu", none, torch.float32, device, regularised=True)
        assert (engine.name, "no zoneout" in note) == ("reference", True)
    engine, note = engine_for(NormedLstmCell(4), "auto", none, torch.float32, device)
    assert (engine.name, "no fused loop on a GPU" in note) == ("reference", True)


def test_they_have_no_tangents(gpu: OnDevice) -> None:
    case = gated.Case("lstm")
    trace, _ = case.run(CellEngine(case.cell))
    engine = fused(gpu, case.cell).engine
    with pytest.raises(ConfigError, match="LstmCell has no tangent recursion"):
        engine.tangent(trace, case.weights.w_rec, case.lengths, gated.NONE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tanh", "lstm"])
def test_more_columns_than_a_program_has_warps(gpu: OnDevice, kind: str) -> None:
    """A simple cell of 800 units with its tangent, and 2400 columns of gates: programs have 1024 threads at most."""
    from rnnsweep.core.recurrence.gpu import loops
    from rnnsweep.core.recurrence.gpu.description import Description

    if kind == "lstm":
        case = gated.Case("lstm", (1, 2, 3, 600, 2), steps=True)
        _, true = case.run(CellEngine(case.cell))
        _, mine = case.run(fused(gpu, case.cell))
        description = Description.of(case.cell)
    else:
        case = simple.Case("tanh", (1, 3, 3, 800, 2))
        true, mine = (case.everything(engine) for engine in (ReferenceEngine(), gpu))
        description = Description.simple(case.act, 800, leaky=False)
        assert loops.tangent_sized(description, 8, 3).threads <= 1024
    assert all(close(mine[name], value, 1e-12) for name, value in true.items())
    assert loops.forward_sized(description, 8, 3, 2, biased=True).threads <= 1024
    assert loops.backward_sized(description, 8, 3).threads <= 1024
