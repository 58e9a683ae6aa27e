"""A tensor program: what all rows of a pack share (their shape key)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.activations import Activation
from rnnsweep.core.controllers.base import Additive, Controller, Gate, Proximal, Transform
from rnnsweep.core.embedding import Embedding, TiedLayout
from rnnsweep.core.families.base import Family
from rnnsweep.core.learners.base import Learner
from rnnsweep.core.metrics.scorers import Scorer
from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.core.readout import Readout
from rnnsweep.core.recurrence.base import BackwardTerm, Engine, TermEngine
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.sizes import record_entries, standard_bytes
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.types import ParameterLayout, ParameterSpec
from rnnsweep.core.wires import Wire, places_of, wire
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Unit

_PLAIN = Embedding()
_SHARE = rng.key(0, 0, "share of the training data")
CARRIED = "task.state"
"""Slot of the state that goes over from one mini-batch to the next."""


def parameters_of(
    family: Family, readout: Readout, task: Task, embedding: Embedding = _PLAIN
) -> tuple[ParameterSpec, ...]:
    """All parameters of a row: the family's, the read-out's own, the embedding's; a tied ``w_out`` is none."""
    specs, width = family.parameters(embedding.width(task.n_inputs), task.n_outputs), family.width
    read = (readout.width(width), task.n_outputs)
    own = (replace(spec, shape=read) if spec.name == "w_out" else spec for spec in specs)
    kept = (spec for spec in own if not (embedding.tied and spec.name == "w_out"))
    return (*kept, *readout.parameters(width), *embedding.parameters(task.n_inputs))


@dataclass(frozen=True)
class Program:
    """Units and sizes of one shape key.

    Attributes:
        controllers: by name (``clip``, ``omega``, ...), in the order in which they act within their kind.
        engine: of the last layer; with `engine_note`, why some loop has not the one that was asked for (else empty).
        wanted: name of what was asked for, for loops of other kinds than the last layer's; empty: as `engine`.
        batch: B. eval_size: sequences per evaluation.
        solved_below: a row is solved at its first evaluation with a smaller share of errors.
        stop_when_solved: rows end when they are solved.
        scorers: functions of the user's that score every evaluation.
        data_share: part of a finite training set that mini-batches are drawn from, > 0 to 1; which one is the same for
            all rows, and a smaller one lies within a larger one.
    """

    family: Family
    task: Task
    learner: Learner
    optimizer: Optimizer
    controllers: Mapping[str, Controller]
    engine: Engine
    engine_note: str
    dtype: torch.dtype
    device: torch.device
    batch: int
    eval_size: int
    solved_below: float = 0.01
    stop_when_solved: bool = False
    readout: Readout = field(default_factory=Readout)
    scorers: tuple[Scorer, ...] = ()
    embedding: Embedding = field(default_factory=Embedding)
    wanted: str = ""
    data_share: float = 1.0

    def __post_init__(self) -> None:
        # The config is checked for this before; here for programs that Python code builds.
        if self.task.carries and self.engine.name != "reference":
            problem = "only the engine 'reference' begins with a state per sequence"
            raise ConfigError(problem, key="engine", value=self.engine.name, allowed="reference")

    @cached_property
    def carries(self) -> bool:
        """Whether the state goes over from one mini-batch to the next."""
        return self.task.carries

    @cached_property
    def chosen(self) -> Int64[Tensor, " n"] | None:
        """Ids of the training samples that are drawn from, on the device; None: all of them, or sequences are endless.

        The first ones of an order in which all samples are shuffled: a file may be sorted by class.
        """
        samples = self.task.samples
        if samples is None or self.data_share >= 1:
            return None
        order = rng.permutations(torch.tensor([_SHARE]), samples, 0)[0]
        return order[: max(1, math.ceil(samples * self.data_share))].to(self.device)

    @cached_property
    def places(self) -> Int64[Tensor, " B"]:
        """0..B-1 on the device, made once."""
        return torch.arange(self.batch, device=self.device)

    @cached_property
    def layout(self) -> ParameterLayout:
        """Where parameters lie in a row's slab."""
        specs = parameters_of(self.family, self.readout, self.task, self.embedding)
        return TiedLayout(specs, self.embedding) if self.embedding.tied else ParameterLayout(specs)

    @cached_property
    def replays(self) -> bool:
        """Whether an update can be recorded and replayed: no unit asks the host."""
        units = (*self.row_units.values(), self.task, self.readout, self.embedding)
        return self.device.type in ("cuda", "cpu") and not any(unit.asks_host for unit in units)

    @cached_property
    def engines(self) -> tuple[Engine, ...]:
        """Of each loop; each kind of loop has its own."""
        made = {self.family.parts[-1].loop_kind: self.engine}
        for part in self.family.parts:
            if part.loop_kind not in made:
                f, name, inside = part.cell_activation, self.wanted or self.engine.name, bool(part.inside)
                made[part.loop_kind] = engine_for(part.cell, name, f, self.dtype, self.device, regularised=inside)[0]
        return tuple(made[part.loop_kind] for part in self.family.parts)

    @cached_property
    def wires(self) -> tuple[Wire, ...]:
        """The network's loops, without numbers."""
        return wire(self.family, self.engines)

    @cached_property
    def random(self) -> bool:
        """Whether mini-batches come with masks."""
        return bool(self.family.random)

    @property
    def record_bytes(self) -> int:
        """Memory of one row's mini-batch, in bytes.

        Its loop record: states, deltas, handed-back errors, inputs, what a cell keeps; and what the rule holds beside.
        """
        size = torch.empty((), dtype=self.dtype).element_size()
        record = self.task.max_length * record_entries(self.family, self.task, self.readout, self.embedding)
        return self.batch * (record + self.learner.entries(self.family, self.task)) * size

    @property
    def tile_rows(self) -> int | None:
        """Rows trained together; None = the whole pack.

        The engine's tile is meant for records of the family's loop at T = 100, B = 10, H = 100; small records allow
        more rows, which share the cost of calling kernels, and large ones fewer, so that a tile stays in the last level
        of cache.
        """
        # On a GPU no cache would be left: all rows at once, whatever runs their loops.
        if self.engine.tile is None or self.device.type != "cpu":
            return None
        # In proportion to the record: twice as long a record, half as many rows.
        fitting = self.engine.tile * standard_bytes(self.family) // self.record_bytes
        # At least 4: below that, calling kernels would cost more than cache misses do. Two for each thread: rows end at
        # different times.
        return max(4, 2 * getattr(self.engine, "threads", 1), min(8 * self.engine.tile, fitting))

    @cached_property
    def activation(self) -> Activation:
        """The loop's activation."""
        return self.family.cell_activation

    @cached_property
    def row_units(self) -> dict[str, Unit]:
        """Units with per-row hyperparameters, by dotted prefix."""
        named: dict[str, Unit] = {"family": self.family, "learner": self.learner, "optimizer": self.optimizer}
        named.update({f"controllers.{name}": unit for name, unit in self.controllers.items()})
        return named

    @cached_property
    def hyper_keys(self) -> tuple[str, ...]:
        """Dotted keys of all per-row hyperparameters of the program."""
        return tuple(f"{prefix}.{name}" for prefix, unit in self.row_units.items() for name in unit.rows)

    @cached_property
    def slot_shapes(self) -> dict[str, tuple[int, ...]]:
        """Row state besides parameters: slot name -> shape without the leading P."""
        # as long as the parameters and laid out like them: `Pack.row` names their parts by parameter
        shapes: dict[str, tuple[int, ...]] = {f"optimizer.{name}": (self.layout.size,) for name in self.optimizer.slots}
        shapes.update({f"family.{name}": () for name in self.family.slots})
        shapes.update({f"learner.{name}": shape for name, shape in self.learner.slot_shapes(self).items()})  # pyright: ignore[reportArgumentType] - it takes a cached_property for no property
        for name, unit in self.controllers.items():
            shapes.update({f"controllers.{name}.{slot}": shape for slot, shape in unit.slot_shapes().items()})
        if self.carries:
            shapes[CARRIED] = (self.batch, self.family.width if self.family.cell is None else self.family.cell.state)
        return shapes

    @cached_property
    def backward_term(self) -> BackwardTerm | None:
        """The term that the backward loop takes along: where rule and engine can, and no two controllers differ."""
        asking = [unit for unit in self.controllers.values() if unit.backward_term is not None]
        places, layers = places_of(self.family), self.family.layers
        # One loop takes one term; two controllers that differ both work from the trace.
        if (
            len({(unit.backward_term, unit.term_layers(layers)) for unit in asking}) != 1
            or not self.learner.takes_terms
        ):
            return None
        term, chosen = asking[0].backward_term, asking[0].term_layers(layers)
        engines = [engine for place, engine in zip(places, self.engines, strict=True) if place.layer in chosen]
        takes = term is not None and all(isinstance(engine, TermEngine) and engine.takes(term) for engine in engines)
        return term if takes else None

    @cached_property
    def term_layers(self) -> frozenset[int]:
        """The layers whose loops take `backward_term` along, counted from 1."""
        layers = self.family.layers
        asking = [unit for unit in self.controllers.values() if unit.backward_term is not None]
        return asking[0].term_layers(layers) if self.backward_term is not None else frozenset()

    @cached_property
    def additive(self) -> list[tuple[str, Additive]]:
        """Controllers that add to the gradient."""
        return [(name, unit) for name, unit in self.controllers.items() if isinstance(unit, Additive)]

    @cached_property
    def transforms(self) -> list[tuple[str, Transform]]:
        """Controllers that replace the gradient."""
        return [(name, unit) for name, unit in self.controllers.items() if isinstance(unit, Transform)]

    @cached_property
    def proximals(self) -> list[tuple[str, Proximal]]:
        """Controllers that move the parameters after the step."""
        return [(name, unit) for name, unit in self.controllers.items() if isinstance(unit, Proximal)]

    @cached_property
    def gates(self) -> list[tuple[str, Gate]]:
        """Controllers that admit the step."""
        return [(name, unit) for name, unit in self.controllers.items() if isinstance(unit, Gate)]
