"""The contracts of controllers: add -> transform -> (step proposed) -> after -> admit, on gradients and steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Shaped
from torch import Tensor

from rnnsweep.core import host_graph, numerics
from rnnsweep.core.loops import top_of
from rnnsweep.core.types import Capability
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.unit import Metric, Unit

if TYPE_CHECKING:
    from rnnsweep.core.activations import Activation
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.learners.base import Learner
    from rnnsweep.core.loops import BackwardPass
    from rnnsweep.core.readout import Readout
    from rnnsweep.core.recurrence.base import BackwardTerm, Engine, TermResult
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import Batch, ParameterLayout, ParameterSpec, Trace
    from rnnsweep.core.wires import Wire


@dataclass
class Tally:
    """Per-row sums and counts of diagnostics over a rung, float64 [P].

    Attributes:
        whole: how often all rows at once added to a mean; `counts` has the rest.
        alive: rows whose values are taken; the others', and keys that a row never had, stay out of its report.
    """

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)
    whole: dict[str, int] = field(default_factory=dict)
    seen: dict[str, Tensor] = field(default_factory=dict)
    alive: Tensor | None = None
    _rows: Tensor | None = None

    def clear(self) -> None:
        """Begin a rung: all totals are 0 again, in the same memory."""
        for total in (*self.sums.values(), *self.counts.values(), *self.seen.values()):
            total.zero_()
        self.whole.clear()

    def begin(self, alive: Bool[Tensor, " P"]) -> None:
        """An update of these rows begins."""
        host_graph.lasts()
        self.alive = self._rows = alive

    def among(self, rows: Bool[Tensor, " P"] | None) -> None:
        """Take values of these rows only (bool [P]), or of all that live: what a row reports is not its neighbours'."""
        self.alive = self._rows if rows is None or self._rows is None else self._rows & rows

    def mean(self, key: str, value: Shaped[Tensor, " P"], where: Bool[Tensor, " P"] | None = None) -> None:
        """Add a value per row to the mean of `key`; rows outside `where` (and ended rows) add nothing."""
        on = self.alive if where is None else (where if self.alive is None else where & self.alive)
        # Whole packs only count, so that no tensor is made for the usual case.
        if on is None or numerics.known_all(on):
            self.whole[key] = self.whole.get(key, 0) + 1
            self._add(self.sums, key, value)
            return
        # Selected, not multiplied: what an ended row computes may be NaN.
        self._add(self.sums, key, torch.where(on, value, 0.0))
        self._add(self.counts, key, on)

    @staticmethod
    def _add(totals: dict[str, Tensor], key: str, value: Tensor) -> None:
        # In place, so that a replayed update adds to the same memory; from 0 also the first time, as -0 + 0 is 0.
        if key not in totals:
            totals[key] = _begun(value, torch.float64)
        totals[key] += value  # which makes it float64 on the way: a launch less than to make it so before

    def of_mean(self, key: str, like: Shaped[Tensor, " P"]) -> tuple[Float64[Tensor, " P"], Float64[Tensor, " P"]]:
        """The total of `key`, and how many values each row added to it: for who adds to them without `mean`."""
        for totals in (self.sums, self.counts):
            if key not in totals:
                totals[key] = _begun(like, torch.float64)
        return self.sums[key], self.counts[key]

    def of_count(self, key: str, like: Shaped[Tensor, " P"]) -> tuple[Float64[Tensor, " P"], Bool[Tensor, " P"]]:
        """The count of `key`, and which rows it was looked at for: for who counts without `count`."""
        if key not in self.sums:
            self.sums[key], self.seen[key] = _begun(like, torch.float64), _begun(like, torch.bool)
        return self.sums[key], self.seen[key]

    def count(self, key: str, flag: Bool[Tensor, " P"]) -> None:
        """Count the rows' events of `key`."""
        alive = torch.ones_like(flag) if self.alive is None else self.alive
        value = (flag & alive).to(torch.float64)
        self._add(self.sums, key, value)
        if key not in self.seen:
            self.seen[key] = _begun(alive, torch.bool)
        self.seen[key] |= alive

    def values(self) -> dict[str, Float64[Tensor, " P"]]:
        """Means and counts by key, float64 [P]; NaN where a row has no entry."""
        # Added to counts: NaN blanks the rows that never took part, 0 changes nothing.
        blank = {key: torch.where(seen, 0.0, torch.nan) for key, seen in self.seen.items()}
        return {
            key: total + blank[key] if key in blank else total / (self.counts.get(key, 0) + self.whole.get(key, 0))
            for key, total in self.sums.items()
        }


def _begun(like: Tensor, dtype: torch.dtype) -> Tensor:
    """0 for each row; made once, whatever else of an update is done again."""
    with host_graph.aside():
        return torch.zeros_like(like, dtype=dtype)


@dataclass
class Context:
    """What a controller may read about one update of a tile.

    Attributes:
        hypers: the controller's own per-row hyperparameters, [P], by field name.
        slots: the controller's own row state, [P, ...]; it may replace entries (not write into them): the new ones
            are kept where the row takes its step, so that a refused mini-batch leaves no trace.
        gradients: [P, N], flat; `layout.view` names its parts.
        params: [P, N]. values: views of it.
        family_hypers: the family's per-row hyperparameters.
        passes: what is left of each loop's way back, at the inputs first.
        step: int64 [P], updates done so far.
        ending: rows [P] for which this is the last update of a rung, where there are such: costly diagnostics may run,
            for these rows only.
        notes: what one phase leaves for a later one.
        readout: what the linear map is applied to.
        wires: of each loop; `engine` is the last one's.
        proposed: the step [P, N], where the learning rule proposes it itself.
        fresh: row state of all units as it will be where the step is taken, by slot key (`training` fills it).
    """

    family: Family
    task: Task
    engine: Engine
    activation: Activation
    layout: ParameterLayout
    params: Tensor
    values: Mapping[str, Tensor]
    family_hypers: Mapping[str, Tensor]
    batch: Batch
    gradients: Tensor
    passes: tuple[BackwardPass, ...]
    step: Tensor
    tally: Tally
    readout: Readout
    wires: tuple[Wire, ...]
    hypers: Mapping[str, Tensor] = field(default_factory=dict)
    slots: dict[str, Tensor] = field(default_factory=dict)
    ending: Tensor | None = None
    notes: dict[str, Tensor] = field(default_factory=dict)
    fresh: dict[str, Tensor] = field(default_factory=dict)
    proposed: Tensor | None = None

    @property
    def trace(self) -> Trace | None:
        """The last layer's gradient record, or None where nobody needs it."""
        return self.top.trace if self.passes else None

    @property
    def term(self) -> TermResult | None:
        """What the last loop took along for controllers with a `backward_term`, or None."""
        return self.top.term if self.passes else None

    @property
    def top(self) -> BackwardPass:
        """The last layer's way back, from the loop that reads forward."""
        top = top_of(self.passes)
        assert top is not None  # of rules that leave any
        return top

    @property
    def detailed(self) -> bool:
        """Whether this is the last update of a rung for some row."""
        return self.ending is not None


@dataclass(frozen=True)
class Controller(Unit):
    """Base of controllers. A row that is switched off is bit for bit what it is without the controller.

    Attributes:
        needs_trace: whether the gradient record must be kept for it.
    """

    unit_group: ClassVar[str] = "controllers"
    needs_trace: ClassVar[bool] = False

    @property
    def whole_graph(self) -> bool:
        """Whether it runs whole sequences by itself, so that cuts of the learning rule do not reach it."""
        return False

    @property
    def unit_key(self) -> str:
        """A sweep may have several controllers, each under its name."""
        return f"controllers.{self.unit_name}"

    @property
    def backward_term(self) -> BackwardTerm | None:
        """The term that a backward loop may take along for it; it then needs no trace (`Context.term`)."""
        return None

    def term_layers(self, count: int) -> frozenset[int]:
        """Of so many layers, those whose backward loop is to take the term along, counted from 1."""
        return frozenset({count})

    @property
    def requires(self) -> frozenset[Capability]:
        """What of the family's loop this controller needs; another family is refused when the config is checked."""
        return frozenset()

    def check_with(self, family: Family, task: Task, specs: Sequence[ParameterSpec]) -> None:
        """Raise `ConfigError` where it is not defined for this family or task; `specs` are all parameters of a row."""
        del family, task, specs

    def idle_beside(self, family: Family, learner: Learner, specs: Sequence[ParameterSpec]) -> str | None:
        """Why it changes nothing beside these units although it is switched on; None where it can.

        A config is warned of it before training. Say only what is certain, whatever the data.
        """
        del family, learner, specs

    def slot_shapes(self) -> dict[str, tuple[int, ...]]:
        """Row state of this controller: name -> shape without the leading P; starts at zero, is checkpointed."""
        return {}

    def active(self, hypers: Mapping[str, Float[Tensor, " P"]]) -> Bool[Tensor, " P"]:
        """Which rows are switched on, bool [P]; decided once when rows join, to save idle work."""
        return (
            # Without hyperparameters there is no [P] to look at: one answer, which the tile expands.
            torch.ones_like(next(iter(hypers.values())), dtype=torch.bool)
            if hypers
            else torch.ones(1, dtype=torch.bool)
        )


class Additive(Controller):
    """Adds a term to the gradient (regularisers, penalties)."""

    @abstractmethod
    def add(self, context: Context) -> Float[Tensor, "P N"]:
        """The new gradients [P, N]."""


@dataclass
class Transformed:
    """What a transform returns.

    Attributes:
        gradients: [P, N].
        drop: rows whose update is dropped (weights, optimiser state stay), bool [P], or None.
        diverged: rows to freeze, bool [P], or None.
        norm: 2-norm of the new gradients [P], where known.
    """

    gradients: Float[Tensor, "P N"]
    drop: Bool[Tensor, " P"] | None = None
    diverged: Bool[Tensor, " P"] | None = None
    norm: Float[Tensor, " P"] | None = None


CLIP_SHARE = "clip/share"
CLIPPED = {CLIP_SHARE: Metric("share of updates that were clipped", "clipped updates (share)", drawn=True)}
"""Metrics of all clippers: one key, so that they compare."""


@dataclass(frozen=True)
class NormLimit:
    """A transform that does nothing but `controllers.clip.limited`.

    Attributes:
        hyper: name of the hyperparameter that is the largest norm.
        diverges: whether a row whose norm is not finite ends; else its step is dropped.
    """

    hyper: str
    diverges: bool


class Transform(Controller):
    """Replaces the gradient (clipping)."""

    @property
    def limit(self) -> NormLimit | None:
        """What it does, where that is no more than to limit the norm: a kernel does it along with the step."""
        return None

    def idle_beside(self, family: Family, learner: Learner, specs: Sequence[ParameterSpec]) -> str | None:
        """Where the learning rule makes its steps without the gradient."""
        del family, specs
        if learner.proposes:
            return f"the learning rule {learner.unit_name} proposes its steps itself, and the gradient goes into none"
        return None

    @abstractmethod
    def transform(self, context: Context, norm: Float[Tensor, " P"]) -> Transformed:
        """The new gradients; `norm` [P] is the 2-norm of `context.gradients`."""


class Proximal(Controller):
    """Moves the parameters once more after the optimiser's step."""

    @abstractmethod
    def after(self, context: Context, moved: Float[Tensor, "P N"], rate: Float[Tensor, "P 1"]) -> Float[Tensor, "P N"]:
        """The new parameters [P, N]; `moved` are those after the step, `rate` [P, 1] the optimiser's learning rate.

        Gates see the whole way from the old parameters to these as the candidate step.
        """


class Gate(Controller):
    """Decides whether the proposed step is taken."""

    @abstractmethod
    def admit(self, context: Context, step: Float[Tensor, "P N"]) -> Bool[Tensor, " P"]:
        """Rows that take the step, bool [P]; `step` [P, N] is the full candidate step, momentum included."""

    def observe(self, context: Context, moved: Float[Tensor, "P N"], accepted: Bool[Tensor, " P"]) -> None:
        """Look at the parameters [P, N] that the accepted rows will have; the trace may be overwritten from here on."""
        del context, moved, accepted


def check_parameters(unit: Controller, names: Sequence[str], specs: Sequence[ParameterSpec]) -> None:
    """Raise `ConfigError` for the first of the names, given as the unit's ``parameters``, that no parameter has."""
    known = tuple(spec.name for spec in specs)
    for name in names:
        if name not in known:
            key, hint = f"{unit.unit_key}.parameters", nearest(str(name), known)
            raise ConfigError("unknown parameter", key=key, value=name, allowed=known, hint=hint)
