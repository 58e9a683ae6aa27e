"""The memory model of a loop's record against the bytes of a record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch

from rnnsweep.app.config.load import load, search_path
from rnnsweep.core.build import build_program, build_units, row_hypers
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.layered import layered
from rnnsweep.core.loops import LoopRun, loops_of, run
from rnnsweep.core.pack import Member, Pack, Streams
from rnnsweep.core.readout import read_out
from rnnsweep.core.recurrence import matrix_memory
from rnnsweep.core.recurrence.cells import CellEngine
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import tiles, train_batch
from rnnsweep.core.types import Direct, LoopGradients
from tests.kit.networks import Setup
from tests.kit.ragged import Ragged

FAMILIES = [name for name in search_path().options("family") if name != "srn_feedback"]
ROWS = 3


def tensors_of(*things: Any) -> Iterator[torch.Tensor]:
    """All tensors in records, closures and mappings."""
    for thing in things:
        if isinstance(thing, torch.Tensor):
            yield thing
        elif isinstance(thing, dict):
            yield from tensors_of(*thing.values())
        elif is_dataclass(thing):
            yield from tensors_of(*(getattr(thing, field.name) for field in fields(thing)))
        elif getattr(thing, "__closure__", None):
            yield from tensors_of(*(cell.cell_contents for cell in thing.__closure__))


@pytest.fixture
def drives(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Gradients of a cell's drives, which live while its backward loop runs."""
    kept: list[torch.Tensor] = []
    plain = CellEngine._of

    def spy(self: CellEngine, trace: Any, drive: torch.Tensor, total: Any) -> Any:
        kept.append(drive)
        return plain(self, trace, drive, total)

    monkeypatch.setattr(CellEngine, "_of", spy)
    fed = matrix_memory._fed

    def spy_fed(record: Any) -> Any:
        kept.append((found := fed(record))[2])
        return found

    monkeypatch.setattr(matrix_memory, "_fed", spy_fed)
    return kept


def held(pack: Pack, drives: list[torch.Tensor]) -> int:
    """Bytes of storage that one mini-batch's record holds: whatever has a time axis."""
    (_, tile), *_ = tiles(pack)
    program, hypers = pack.program, tile.unit_hypers("family")
    values, batch = program.layout.view(tile.params), train_batch(tile)
    feed = program.family.feed(values, hypers, batch.inputs, batch.lengths, program.engine)
    weights = program.family.weights(values, hypers)
    record = program.engine.forward(feed.inputs, weights, program.activation, batch.lengths)
    out = read_out(program.task, values, program.family.visible(record.h), batch, program.engine)
    assert out.direct is not None
    loop, trace = program.engine.backward(record, out.direct, program.activation, keep=True)
    T, B = program.task.max_length, program.batch
    timed = [
        tensor
        for tensor in tensors_of(batch.inputs, feed, record, trace, loop.inputs, *drives, out)
        if tensor.is_floating_point() and not {T, T + 1, T * B}.isdisjoint(tensor.shape) and tensor.shape[-1] != T
    ]
    # states before chunks of steps, which have no time axis
    timed += [memory for memory in getattr(record, "memories", ()) if memory is not None]
    return sum({part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in timed}.values())


@pytest.mark.parametrize("task", ["adding", "memorization"])
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "stack"])  # has two loops: see below
def test_the_model_is_what_a_record_holds(family, task, tmp_path, drives):
    typed = [f"family={family}", f"task={task}", "task.length=40", "family.hidden=16", "training.batch=6", "space={}"]
    # Blocks keep more in their fused loops than step by step; the others there as much, and no padding.
    engine = "cpu" if family in ("lru_block", "s5") else "reference"
    config = load(None, [*typed, f"engine={engine}"], store=tmp_path).resolved
    units = build_units(config)
    program = build_program(config, units, torch.device("cpu"))
    pack = Pack(program)
    setup = Setup(dtype=program.dtype, sigma=0.05)
    members = [Member(r, 5, row_hypers(units), Streams(0, r)) for r in range(ROWS)]
    pack.join([(member, setup.state(program, r)) for r, member in enumerate(members)])
    found = held(pack, drives)
    if family == "mlstm" and not program.task.per_step:
        # an error at the last step alone needs no gradients of drives; a tile has room for them all the same
        steps, width = (size + -size % 16 for size in (40 * 6, program.family.cell.drive))
        found += ROWS * steps * width * program.dtype.itemsize
    assert program.record_bytes * ROWS == pytest.approx(found, rel=0.05)


def test_a_tile_holds_as_many_standard_records_as_the_engine_wants_whatever_the_cell():
    """T = 100, B = 10, H = 100 in float32; twice the steps, half the rows."""
    for family in (Srn(hidden=100), Lstm(hidden=100)):
        found = []
        for length in (100, 200):
            program = Setup(family=family, task=TemporalOrder(length=length), batch=10, dtype=torch.float32).program()
            assert program.engine.tile is not None
            found.append(program.tile_rows)
        assert found == [program.engine.tile, program.engine.tile // 2]


@pytest.mark.parametrize("every", [False, True], ids=["end", "every"])
@pytest.mark.parametrize(
    "form",
    [
        {"layers": 3},
        {"layers": 3, "residual": True},
        {"bidirectional": True},
        {"layers": 3, "bidirectional": True},
        {"layers": 2, "widths": (24, 12)},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [Srn, Lstm, Gru])
def test_no_network_of_several_loops_holds_more_than_the_model_says(kind, form, every):
    """Nor much less: of a fifth to a third that is too much, nearly all is what engines of cells free in between."""
    setup = Setup(family=layered(kind(16, **form)), task=Ragged(every=every, length=40), batch=6)
    pack = setup.pack([0, 1, 2])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    values = program.layout.view(tile.params)
    found = run(loops_of(program.wires, values, tile.unit_hypers("family")), batch)
    out = read_out(
        program.task, values, found.see(program.readout, values, per_step=every).states, batch, program.engine
    )
    kept: list[Any] = [batch.inputs, found.states, out]

    def through(loop: LoopRun, errors: Direct) -> LoopGradients:
        gradients, trace = loop.backward(errors, keep=True)
        kept.extend((loop.entry.inputs, loop.entry.fed, loop.record, trace, gradients.inputs, errors))
        return gradients

    assert out.direct is not None
    found.backward(out.direct, through)
    T, B = 40, 6
    timed = [part for part in tensors_of(*kept) if part.is_floating_point() and {T, T + 1, T * B} & {*part.shape}]
    true = sum({part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in timed}.values())
    assert 0.97 * true < program.record_bytes * 3 < 1.3 * true


@pytest.mark.parametrize("family", ["srn", "lstm", "momentum_srn", "momentum_lstm", "scurnn", "mingru"])
def test_behind_a_look_up_the_model_is_what_a_record_holds(family, tmp_path, drives):
    """And the gradient of the vectors, which lives while the table's is summed; codes are whole numbers."""
    typed = [f"family={family}", "task=memorization", "task.length=40", "family.hidden=16", "training.batch=6"]
    chosen = ["space={}", "engine=reference", "embedding=learned", "embedding.size=24"]
    units = build_units(config := load(None, [*typed, *chosen], store=tmp_path).resolved)
    program = build_program(config, units, torch.device("cpu"))
    pack = Pack(program)
    setup = Setup(dtype=program.dtype, sigma=0.05)
    members = [Member(r, 5, row_hypers(units), Streams(0, r)) for r in range(ROWS)]
    pack.join([(member, setup.state(program, r)) for r, member in enumerate(members)])
    vectors = ROWS * program.task.max_length * 6 * 24 * program.dtype.itemsize
    assert program.record_bytes * ROWS == pytest.approx(held(pack, drives) + vectors, rel=0.05)
