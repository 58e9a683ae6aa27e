"""The contract of a model family: its parameters, what the time loop is fed, and the weights that it uses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core.activations import Activation, activation
from rnnsweep.core.families.input_path import InputPath
from rnnsweep.core.loop_place import LoopPlace
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.types import READ_OUT, Capability, LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import Range, Unit

Values = Mapping[str, Float[Tensor, "P ..."]]


STACKING: Mapping[str, Range | tuple[Any, ...]] = {
    "layers": Range(1, 16, integer=True),
    "residual": (False, True),
    "bidirectional": (False, True),
}
"""What every family's loops can be put together with."""

RATES = (
    "dropout", "input_dropout", "output_dropout", "recurrent_dropout", "zoneout", "zoneout_cell", "weight_drop",
)  # fmt: skip
"""Rates of what is random in training; 0 is off."""
INSIDE = ("recurrent_dropout", "zoneout", "zoneout_cell", "weight_drop")
"""Those that change the loop itself."""
_RATE = Range(0, 1, open_high=True)
_EVERY_ROW: Mapping[str, Range] = dict.fromkeys(RATES, _RATE)
_EVERY_FIXED: Mapping[str, Range | tuple[Any, ...]] = {
    **STACKING, "variational": (True, False), "layer_norm": (True, False), "weight_norm": (True, False),
}  # fmt: skip


@dataclass(frozen=True)
class Feed:
    """What the time loop is fed.

    Attributes:
        inputs: [P, T, B, I], or drives [P, T, B, D] where the weights have no `w_in`.
        pullback: gradients of raw parameters from those of the drives.
        back: gradient of what came in, [P, T, B, I], from that of the drives; a family with a filter gives it where its
            layers may stand on each other.
        both: `pullback` and `back` together, where either is a backward loop: of layers, and of an engine's filters.
    """

    inputs: Tensor
    # Inputs as they come have no parameters behind them.
    pullback: Callable[[Tensor | None], dict[str, Tensor]] = lambda gradient: {}
    back: Callable[[Tensor], Tensor] | None = None
    both: Callable[[Tensor | None], tuple[dict[str, Tensor], Tensor]] | None = None

    def backward(
        self, gradient: Float[Tensor, "P T B D"] | None
    ) -> tuple[dict[str, Float[Tensor, "P ..."]], Float[Tensor, "P T B K"]]:
        """Gradients of raw parameters, and of what came in."""
        if self.both is not None:
            return self.both(gradient)
        assert gradient is not None
        assert self.back is not None  # filters that are known one step at a time have it; others are refused
        return self.pullback(gradient), self.back(gradient).contiguous()


@dataclass(frozen=True)
class Family(Unit):
    """Base of families: a state that is carried by one recurrent loop.

    Read-outs are linear: parameters ``w_out`` [H, O] and ``b_out`` [O] belong to every family.

    Attributes:
        hidden: H, number of hidden units of each layer.
        widths: H of each layer, at the inputs first, where they differ (a word: ``64/32``); `hidden` is not read then.
        layers: L, one on the other; the read-out sees the last one (`core.layered`).
        residual: whether each layer from the second on adds what it sees to what it shows.
        bidirectional: whether each layer has a second loop, which reads the sequences from their end.
        dropout: share of what each layer but the first sees that is dropped in training, as torch.nn.LSTM's.
        input_dropout, output_dropout: share of the inputs, and of what the read-out sees.
        variational: whether these three masks are the same at all steps of a sequence.
        recurrent_dropout: share of the state that the recurrent matrix does not see, one mask per sequence.
        zoneout, zoneout_cell: probability that a unit keeps its h, and its c, for a step.
        weight_drop: share of the recurrent matrix that is dropped, one mask per mini-batch.
        layer_norm, weight_norm: see `core.regularised`.
        capabilities: what controllers may rely on.
        slots: names of the family's own row state [P], zero at first, checkpointed; shown among its hyperparameters.
        first_values: keys that are about first values which the family sets unless the init draws their role: key ->
            role.
        orthogonal: whether the loop's whole recurrent matrix is orthogonal (of complex units: unitary), whatever the
            parameters are.
        counted: those of them that are reported: slot -> metric key.
        looks_up: whether inputs are codes of symbols, see `embedded`.
        pace: what to say before training where it takes far longer than with others; empty where it does not.
    """

    unit_group: ClassVar[str] = "family"
    rows: ClassVar[Mapping[str, Range]] = _EVERY_ROW
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = _EVERY_FIXED
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)
    slots: ClassVar[tuple[str, ...]] = ()
    first_values: ClassVar[Mapping[str, str]] = {}
    orthogonal: ClassVar[bool] = False
    counted: ClassVar[Mapping[str, str]] = {}
    looks_up: ClassVar[bool] = False
    pace: ClassVar[str] = ""

    hidden: int = 50
    layers: int = field(default=1, kw_only=True)
    widths: tuple[int, ...] | str | None = field(default=None, kw_only=True)
    residual: bool = field(default=False, kw_only=True)
    bidirectional: bool = field(default=False, kw_only=True)
    dropout: float = field(default=0.0, kw_only=True)
    input_dropout: float = field(default=0.0, kw_only=True)
    output_dropout: float = field(default=0.0, kw_only=True)
    variational: bool = field(default=False, kw_only=True)
    recurrent_dropout: float = field(default=0.0, kw_only=True)
    zoneout: float = field(default=0.0, kw_only=True)
    zoneout_cell: float = field(default=0.0, kw_only=True)
    weight_drop: float = field(default=0.0, kw_only=True)
    layer_norm: bool = field(default=False, kw_only=True)
    weight_norm: bool = field(default=False, kw_only=True)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # whatever else a family declares; a mixin without declarations of its own must not hide those of its base
        if "fixed" in vars(cls):
            cls.fixed = {**cls.fixed, **_EVERY_FIXED}
        if "rows" in vars(cls):
            cls.rows = {**cls.rows, **_EVERY_ROW}

    def structure(self) -> dict[str, Any]:
        """Which rates are not 0: a row without masks never pays for a neighbour with some, and is what it was."""
        return {**super().structure(), **({"random": on} if (on := self.random) else {})}

    def unread(self) -> Mapping[str, str]:
        """See `Unit.unread`: one layer has nothing to add, and nothing between; without masks none can be kept."""
        found = dict(super().unread())
        if self.layers == 1:
            found |= {"residual": "layers=1", "dropout": "layers=1"}
        if self.widths is not None:
            widths = self.widths if isinstance(self.widths, str) else "/".join(map(str, self.widths))
            found["hidden"] = f"widths={widths}"
        masks = (self.input_dropout, self.output_dropout, self.dropout if self.layers > 1 else 0.0)
        return found if any(masks) else {**found, "variational": "neither dropout nor input_dropout or output_dropout"}

    @property
    def random(self) -> tuple[str, ...]:
        """The rates that are not 0."""
        return tuple(name for name in RATES if getattr(self, name))

    @property
    def inside(self) -> tuple[str, ...]:
        """What changes the loop itself, beside its weights' values: such rates, layer norm."""
        return (*(name for name in self.random if name in INSIDE), *(("layer_norm",) if self.layer_norm else ()))

    @property
    @abstractmethod
    def cell_activation(self) -> Activation:
        """The loop's f; for cells of their own only its gain counts."""

    @property
    def cell(self) -> Cell | None:
        """The cell of the loop, or None for the simple one, which fused engines run."""
        return None

    @property
    def leaky(self) -> bool:
        """Whether the simple loop has leak terms."""
        return False

    @property
    def learns(self) -> bool:
        """Whether anything before the read-out is trained; else errors have nothing to go back for."""
        specs = self.parameters(1, 1)  # as below
        return self.feeds or any(spec.role != "fixed" and spec.name not in READ_OUT for spec in specs)

    @property
    def restarts(self) -> bool:
        """Whether a sequence's first steps differ from later ones, so that no state can be taken up: filters, h_0."""
        # Any sizes will do: roles do not depend on them.
        trained = any(spec.role == "state" for spec in self.parameters(1, 1))
        # A feed of its own remembers steps, and that memory is no part of the carried state.
        return trained or self.feeds

    @property
    def feeds(self) -> bool:
        """Whether `feed` does something."""
        return type(self).feed is not Family.feed

    @cached_property
    def parts(self) -> tuple[Family, ...]:
        """The family of each loop alone, in the order of `loops.places_of`; itself where there is one."""
        return (self,)

    def part_hypers(self, place: LoopPlace, hypers: Values) -> Values:
        """Per-row hyperparameters and row state of the loop at a place; those of one family share the former."""
        del place
        return hypers

    @property
    def loop_kind(self) -> tuple[Cell | None, str, bool]:
        """What an engine depends on: loops of which it is the same can run in one."""
        cell = self.cell
        return cell, "" if cell is not None else self.cell_activation.name, bool(self.inside)

    @property
    def width(self) -> int:
        """K, entries of a state that the read-out sees."""
        # any sizes will do
        return next(spec.shape[0] for spec in self.parameters(1, 1) if spec.name == "w_out")

    @property
    def filters(self) -> bool:
        """Whether `feed` puts a filter between the input path and the loop."""
        return False

    @abstractmethod
    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """All parameters of one row, read-out included."""

    @abstractmethod
    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights of raw parameters [P, *shape] and per-row hyperparameters [P]."""

    def feed(
        self,
        values: Values,
        hypers: Values,
        inputs: Float[Tensor, "P T B I"],
        lengths: Int64[Tensor, "P ..."],
        engine: Engine,
    ) -> Feed:
        """What the loop is fed; the inputs themselves, unless a filter over time comes first."""
        del values, hypers, lengths, engine
        return Feed(inputs)

    @property
    def input_path(self) -> InputPath | None:
        """What `feed` does, one step at a time; None: it does nothing, or is known over whole sequences only."""
        return None

    def visible(self, states: Float[Tensor, "... S"]) -> Float[Tensor, "... H"]:
        """The part of the carried state [..., S] that the read-out sees, [..., H]."""
        return states

    @abstractmethod
    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of raw parameters from those of the loop's weights."""

    @abstractmethod
    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """First-order change [P, H, H] of the loop's recurrent matrix for a candidate step of the raw parameters."""

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Initial values, float64 [P, *shape], that the family sets itself, over those that an init has drawn."""
        del drawn, specs, keys
        return {}

    def advance(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, " P"]]:
        """The row state `slots` after a step that led to these parameters."""
        del values, hypers
        return {}


def path_of(family: Family) -> InputPath | None:
    """The family's filter step by step, unless a subclass has changed the filter but not this form of it."""
    order = type(family).__mro__
    place = {
        name: next((index for index, kind in enumerate(order) if name in vars(kind)), len(order))
        for name in ("input_path", "feed", "filter_of")
    }
    return family.input_path if place["input_path"] <= min(place["feed"], place["filter_of"]) else None


@dataclass(frozen=True)
class CellFamily(Family):
    """Base of families with a cell of their own: ``w_rec`` [R, A], ``w_in`` [I, D], ``b`` [D] and the cell's own.

    Omega works for all of them that have a ``w_rec``; sampling's recursion is not defined and is refused.

    Attributes:
        own: names of the parameters that the cell reads besides w_rec, w_in and b.
        constants: names of the per-row hyperparameters that it reads, which are not trained.
    """

    # Neither SIMPLE nor TANGENT: a cell has no single f' for them to read.
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.RECURRENT, Capability.LOCAL})
    fixed: ClassVar[Mapping] = {"hidden": Range(1, 8192, integer=True)}

    @property
    def cell_activation(self) -> Activation:
        """Only its gain, 1, counts."""
        return activation("identity")

    @property
    @abstractmethod
    def cell(self) -> Cell:
        """The cell."""

    own: ClassVar[tuple[str, ...]] = ()
    constants: ClassVar[tuple[str, ...]] = ()

    def visible(self, states: Float[Tensor, "... S"]) -> Float[Tensor, "... H"]:
        """The first H entries."""
        return states[..., : self.hidden]  # ... S -> ... H

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The raw parameters themselves; an empty matrix where there is no ``w_rec``."""
        own = {name: values[name] for name in self.own}
        own |= {name: hypers[name][:, None] for name in self.constants}  # P 1: broadcasts over units
        w_in = values["w_in"]
        # P 0 0: the loop's product then has no entries, and no other case is needed.
        w_rec = values["w_rec"] if "w_rec" in values else w_in.new_zeros(len(w_in), 0, 0)
        return LoopWeights(w_rec, w_in, values.get("b"), h0=values.get("h0"), cell=own)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """The loop's gradients themselves, of what is a parameter."""
        del hypers
        named = {**gradients.parts(), **gradients.cell}
        # The engine gives a gradient for all that the cell reads, constants and an empty matrix among them.
        return {name: value for name, value in named.items() if name in values}

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The step of W_rec itself."""
        del values, hypers
        return step["w_rec"]


@runtime_checkable
class OutputFeedback(Protocol):
    """A family whose outputs come in again: y_{t-1} `w_fb` is part of step t's drive (parameter ``w_fb`` [O, D]).

    Its `weights` have that way round in them; a rule that puts something else in its place wants the loop without.
    """

    def open_weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights without what is fed back."""
        ...

    def open_pullback(
        self, values: Values, hypers: Values, gradients: LoopGradients
    ) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of the raw parameters from those of `open_weights`."""
        ...


def readout_parameters(hidden: int, n_outputs: int, bias: bool = True) -> tuple[ParameterSpec, ...]:
    """The linear read-out's parameters."""
    weight = ParameterSpec("w_out", (hidden, n_outputs), "output")
    return (weight, ParameterSpec("b_out", (n_outputs,), "bias")) if bias else (weight,)
