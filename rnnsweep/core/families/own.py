"""Families made of a user's own step: a module class like `torch.nn.RNNCell`, or a function in plain torch."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import lru_cache
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core.families import own_checks
from rnnsweep.core.families.base import RATES, CellFamily, Values, readout_parameters
from rnnsweep.core.families.own_steps import PREFIX, Build, FunctionBuild, ModuleBuild, OwnSpec, dotted
from rnnsweep.core.recurrence.own_cell import OwnCell
from rnnsweep.core.types import Capability, LoopGradients, LoopWeights, ParameterLayout, ParameterSpec
from rnnsweep.errors import ConfigError
from rnnsweep.unit import ANY, Range

_PLACED = ("device", "dtype")
"""Arguments of torch's modules that are the program's business."""


@dataclass(frozen=True)
class OwnFamily(CellFamily):
    """Base of families of one step that only torch knows; the read-out sees the first state tensor.

    Omega, sampling and every rule that does not need a closed form work, by autograd (docs/maths.md#your-own-cell).
    What cannot be trained (`own_checks`) is refused when the unit is made.

    Attributes:
        hidden: H, entries of each state tensor.
        roles: parameter -> ``input``, ``recurrent`` or ``bias``: what the config's init makes of it.

    Numerics:
        See `OwnCellEngine`: rows run one by one. Steps may read numbers on the host, so that no device replays updates.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability) - {Capability.SIMPLE, Capability.LOCAL}
    asks_host: ClassVar[bool] = True
    pace: ClassVar[str] = (
        "its step runs in plain torch, network by network, as no fused loop knows it; a built-in cell of this size is "
        "many times faster, and n networks take n times as long as one (docs/how-to/your-cell.md#what-it-costs)"
    )
    roles: Any = ()

    @property
    @abstractmethod
    def target(self) -> Any:
        """The user's class or function; `family_of` sets it."""

    def __post_init__(self) -> None:
        for name in {"roles", "shapes"} & {*self.fields()}:
            object.__setattr__(self, name, _pairs(f"family.{name}", getattr(self, name), name == "shapes"))
        super().__post_init__()

    def check(self) -> None:
        """The step must be one that can be trained."""
        super().check()
        self._states()

    @property
    @abstractmethod
    def build(self) -> Build:
        """What makes its steps."""

    @property
    def cell(self) -> OwnCell:
        """Its step, row by row."""
        return OwnCell(self.hidden, self.build, self._states())

    def _states(self) -> int:
        return own_checks.checked(self.build)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """The step's own, by name; w_out, b_out."""
        return (*self.build.specs(n_inputs), *readout_parameters(self.hidden, n_outputs))

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """All parameters of the step as one line; its constants."""
        own = [name for name in self.rows if name not in RATES]
        return LoopWeights(_line(values), cell={name: hypers[name][:, None, None] for name in own})

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Parts of the line's gradient."""
        del hypers
        return _layout_of(values).view(gradients.w_rec[:, 0].contiguous())

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P 1 N"]:
        """The step's parts as one line."""
        del values, hypers
        return _line(step)

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """What the step's own code draws: everything without a role."""
        del drawn
        own = [spec for spec in specs if isinstance(spec, OwnSpec) and not spec.drawn]
        rows = [self.build.drawn(own[0].inputs, int(key)) for key in keys] if own else []
        return {spec.name: torch.stack([row[spec.name].double() for row in rows]) for spec in own}


@dataclass(frozen=True)
class OwnModule(OwnFamily):
    """A family of a module class: ``Class(inputs, hidden, **options)``, ``forward(inputs, state) -> state``."""

    @property
    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """Further arguments of the class."""

    @property
    def build(self) -> ModuleBuild:
        """See `OwnFamily.build`."""
        options = tuple(self.options.items())
        return ModuleBuild(self.target, self.hidden, self.roles, options)

    def trained(self, n_inputs: int, values: Mapping[str, Float[Tensor, " ..."]]) -> torch.nn.Module:
        """The user's own module with these parameters of one row (others are ignored), by their names here."""
        return self.build.trained(n_inputs, values)


@dataclass(frozen=True)
class OwnFunction(OwnFamily):
    """A family of a function ``step(inputs, state, *parameters, **constants) -> state`` in plain torch."""

    shapes: Any = ()

    @property
    def build(self) -> FunctionBuild:
        """See `OwnFamily.build`."""
        return FunctionBuild(self.target, self.hidden, self.roles, self.shapes)


@lru_cache
def family_of(loaded: Any) -> type[OwnFamily] | None:
    """The family of a module class or of a step function; None for anything else."""
    if isinstance(loaded, type) and issubclass(loaded, torch.nn.Module):
        return _of_module(loaded)
    return _of_function(loaded) if inspect.isfunction(loaded) else None


def _of_module(loaded: type[torch.nn.Module]) -> type[OwnFamily]:
    given = _arguments(loaded.__init__)[3:]  # after self, inputs and hidden units
    names = [name for name, _ in given if name not in _PLACED]
    options = property(lambda self: {name: getattr(self, name) for name in names})
    return _made(loaded, OwnModule, [(n, d) for n, d in given if n in names], {"options": options})


def _of_function(loaded: Callable[..., Any]) -> type[OwnFamily]:
    constants = [(name, default) for name, default in _arguments(loaded)[2:] if default is not inspect.Parameter.empty]
    rows: dict[str, Range] = dict.fromkeys((name for name, _ in constants), ANY)
    return _made(loaded, OwnFunction, constants, {"rows": rows})


def _made(loaded: Any, base: type[OwnFamily], options: list[tuple[str, Any]], extra: dict[str, Any]) -> type[OwnFamily]:
    """A family with one field for each option, which passes for a class of the user's module: errors name its file."""
    taken = {*base.fields(), "unit_name", "target", "cell", "build"}
    for name, default in options:
        if name in taken:
            raise ConfigError(
                f"has an argument '{name}', which is a key of families", key="family._target_", value=dotted(loaded)
            )
        del default
    fields = [
        (name, Any, field(kw_only=True) if default is inspect.Parameter.empty else field(default=_tuple(default)))
        for name, default in options
    ]
    # As a class attribute a function would become a method.
    space = {"target": staticmethod(loaded) if inspect.isfunction(loaded) else loaded, **extra}
    space |= {"__module__": loaded.__module__, "__doc__": loaded.__doc__}
    made = make_dataclass(loaded.__name__, fields, bases=(base,), namespace=space, frozen=True)
    made.__qualname__ = loaded.__qualname__
    return cast("type[OwnFamily]", made)


def _arguments(code: Any) -> list[tuple[str, Any]]:
    """Names and defaults of all arguments that can be named."""
    star = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [(p.name, p.default) for p in inspect.signature(code).parameters.values() if p.kind not in star]


def _line(values: Mapping[str, Float[Tensor, "P ..."]]) -> Float[Tensor, "P 1 N"]:
    """All parameters of the step as one line; differentiable."""
    layout, first = _layout_of(values), next(iter(values.values()))
    return layout.flatten(values, first.new_zeros(len(first), layout.size))[:, None]


def _layout_of(values: Mapping[str, Tensor]) -> ParameterLayout:
    """Where the step's parameters lie in a line: as `own_steps.layout_of` has them."""
    own = sorted(name for name in values if name.startswith(PREFIX))
    return ParameterLayout([ParameterSpec(name, tuple(values[name].shape[1:]), "own") for name in own])


def _pairs(key: str, value: Any, lists: bool) -> tuple[tuple[str, Any], ...]:
    """A config's mapping as pairs, since units are hashed; of words, or of lists."""
    if isinstance(value, tuple):  # already so, or empty
        return value
    if not isinstance(value, Mapping):
        raise ConfigError("is no mapping", key=key, value=value, allowed="a mapping by parameter")
    for name, item in value.items():
        if lists and not isinstance(item, list | tuple):
            allowed = "a list of hidden, inputs and whole numbers > 0"
            raise ConfigError("is no shape", key=f"{key}.{name}", value=item, allowed=allowed)
    return tuple((str(name), _tuple(item) if lists else str(item)) for name, item in value.items())


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list | tuple) else value
