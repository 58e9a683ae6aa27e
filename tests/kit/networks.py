"""Small programs and packs for tests: float64, one thread, seeds from (sweep seed, replica, purpose)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from rnnsweep.core import rng
from rnnsweep.core.controllers.base import Context, Controller, Tally
from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.embedded import embedded
from rnnsweep.core.embedding import Embedding
from rnnsweep.core.families.base import Family
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.learners.base import Learner
from rnnsweep.core.learners.bptt import Bptt
from rnnsweep.core.loops import loops_of, run
from rnnsweep.core.metrics.scorers import Scorer
from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.pack import Member, Pack, RowSnapshot, Streams
from rnnsweep.core.program import Program
from rnnsweep.core.readout import Readout, read_out
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import Tile, learn, tiles, train_batch
from rnnsweep.core.types import Wanted

CPU = torch.device("cpu")


@dataclass
class Setup:
    """How to build a program; the defaults are a small temporal-order network."""

    family: Family = field(default_factory=lambda: Srn(hidden=12))
    task: Task = field(default_factory=lambda: TemporalOrder(length=12))
    optimizer: Optimizer = field(default_factory=lambda: Sgd(lr=0.05, momentum=0.5))
    learner: Learner = field(default_factory=Bptt)
    controllers: dict[str, Controller] = field(default_factory=lambda: {"clip": GlobalNormClip()})
    engine: str = "reference"
    device: torch.device = CPU
    dtype: torch.dtype = torch.float64
    batch: int = 5
    eval_size: int = 20
    sigma: float = 0.3
    readout: Readout = field(default_factory=Readout)
    scorers: tuple[Scorer, ...] = ()
    embedding: Embedding = field(default_factory=Embedding)

    def program(self) -> Program:
        family = self.family
        engine, note = engine_for(family.cell, self.engine, family.cell_activation, self.dtype, self.device)
        assert engine.name == self.engine, note
        return Program(
            embedded(family) if self.embedding.size else family,
            self.task,
            self.learner,
            self.optimizer,
            self.controllers,
            engine,
            note,
            self.dtype,
            self.device,
            self.batch,
            self.eval_size,
            readout=self.readout,
            scorers=self.scorers,
            embedding=self.embedding,
        )

    def hypers(self, **changes: float) -> dict[str, float]:
        """Defaults of the units, with changes by dotted key (dots written as two underscores)."""
        program = self.program()
        values = {
            f"{prefix}.{name}": value
            for prefix, unit in program.row_units.items()
            for name, value in unit.row_values().items()
        }
        return values | {key.replace("__", "."): value for key, value in changes.items()}

    def state(self, program: Program, replica: int, sigma: float | None = None) -> RowSnapshot:
        """Gaussian weights of a replica; biases too, so that nothing is zero by accident."""
        key = torch.tensor([rng.key(7, replica, "init")])
        scale = self.sigma if sigma is None else sigma
        return RowSnapshot(
            {
                spec.name: (rng.normals(key, spec.size, rng.stream_of(spec.name))[0].view(spec.shape) * scale).to(
                    self.dtype
                )
                for spec in program.layout.specs
            }
        )

    def pack(self, replicas: list[int], updates: int = 1000, **changes: float) -> Pack:
        """A pack of fresh replicas, all with the same hyperparameters."""
        program = self.program()
        pack = Pack(program)
        pack.join([(self.member(r, updates, **changes), self.state(program, r)) for r in replicas])
        return pack

    def member(self, replica: int, updates: int = 1000, **changes: float) -> Member:
        return Member(replica, updates, self.hypers(**changes), Streams(7, replica))


def context_of(pack: Pack, prefix: str | None = None, *, detailed: bool = False) -> tuple[Tile, Context]:
    """The first tile of a pack, and the context of its next update with plain gradients in it."""
    (_, tile), *_ = tiles(pack)
    _, context = learn(tile, Tally(), Wanted(trace=True))
    context.hypers = tile.unit_hypers(prefix) if prefix else {}
    context.ending = torch.ones(len(pack), dtype=torch.bool) if detailed else None
    return tile, context


def loss_at(pack: Pack, tile: Tile, params: torch.Tensor) -> torch.Tensor:
    """Loss [P] of the tile's next mini-batch at other parameters."""
    program = pack.program
    values = program.layout.view(params)
    batch = train_batch(tile)
    found = run(loops_of(program.wires, values, tile.unit_hypers("family")), batch)
    seen = found.see(program.readout, values, per_step=program.task.per_step)
    return read_out(program.task, values, seen.states, batch, program.engine).loss


def assert_same_row(first: RowSnapshot, second: RowSnapshot) -> None:
    """Bit for bit the same, counters included."""
    assert first.params.keys() == second.params.keys()
    for name, value in first.params.items():
        assert torch.equal(value, second.params[name]), name
    assert first.slots.keys() == second.slots.keys()
    for name, value in first.slots.items():
        assert torch.equal(value, second.slots[name]), name
    for name in ("step", "taken", "rung", "solved_at", "solved_exactly_at", "diverged_at", "best_rung"):
        assert getattr(first, name) == getattr(second, name), name
    assert first.best_loss == second.best_loss or math.isnan(first.best_loss)
