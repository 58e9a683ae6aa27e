"""How a user's module class or function becomes the step of one row (`recurrence.own_cell`)."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.recurrence.own_cell import RowStep, Stepping
from rnnsweep.core.types import ParameterLayout, ParameterSpec
from rnnsweep.errors import ConfigError, nearest

PREFIX = "cell_"
"""Of the names of a step's parameters: no read-out has such."""
ROLES = ("input", "recurrent", "bias")


@dataclass(frozen=True)
class OwnSpec(ParameterSpec):
    """A parameter of a step.

    Attributes:
        inputs: number of inputs of the step that it belongs to.
        source: its name in the user's code.
        drawn: whether the config's init knows its role.
        turned: whether the user's code has it as [to, from].
    """

    inputs: int = 0
    source: str = ""
    drawn: bool = False
    turned: bool = False


@dataclass(frozen=True)
class Build(Stepping):
    """Parameters and steps of a user's code.

    Attributes:
        target: the module class or the function.
        hidden: H. roles: pairs of parameter and role.
    """

    target: Any
    hidden: int
    roles: tuple[tuple[str, str], ...]

    @abstractmethod
    def specs(self, n_inputs: int) -> tuple[OwnSpec, ...]:
        """The step's parameters."""

    @abstractmethod
    def named(self, like: Float[Tensor, "... I"], constants: Mapping[str, Float[Tensor, ""]]) -> Callable[..., Any]:
        """(parameters by the user's names, inputs, state) -> what the user's code returns."""

    def drawn(self, n_inputs: int, key: int) -> dict[str, Float[Tensor, " ..."]]:
        """First values by name, from the user's own code with this seed; none by default."""
        del n_inputs, key
        return {}

    def buffers(self, like: Float[Tensor, "... I"]) -> list[Shaped[Tensor, " ..."]]:
        """What the user's code holds besides parameters, as it is used for such inputs; nothing by default."""
        del like
        return []

    @property
    def constants(self) -> dict[str, float]:
        """Constants and their defaults; none by default."""
        return {}

    def of_row(self, like: Float[Tensor, "... I"], constants: Mapping[str, Float[Tensor, ""]]) -> RowStep:
        """See `Stepping.of_row`."""
        call, layout, H = self.named(like, constants), layout_of(self, like.shape[-1]), self.hidden

        def step(line: Tensor, inputs: Tensor, state: Tensor) -> Tensor:
            parts = layout.view(line[None])
            values = {spec.source: _as_written(parts[spec.name][0], spec) for spec in self.specs(like.shape[-1])}
            states = state.split(H, -1)
            new = call(values, inputs, states[0] if len(states) == 1 else states)
            return new if len(states) == 1 else torch.cat(new, -1)

        return step

    def role(self, name: str) -> str | None:
        """The role that the user gave a parameter."""
        return dict(self.roles).get(name)

    def check_roles(self, names: list[str]) -> None:
        """Raise `ConfigError` for a role of no parameter, or one that no init knows."""
        for name, role in self.roles:
            if name not in names:
                hint = nearest(name, names)
                raise ConfigError("unknown parameter", key="family.roles", value=name, allowed=names, hint=hint)
            if role not in ROLES:
                hint = nearest(str(role), ROLES)
                raise ConfigError("unknown role", key=f"family.roles.{name}", value=role, allowed=ROLES, hint=hint)


@dataclass(frozen=True)
class ModuleBuild(Build):
    """A module class, made as ``target(inputs, hidden, **options)``."""

    options: tuple[tuple[str, Any], ...] = ()

    def specs(self, n_inputs: int) -> tuple[OwnSpec, ...]:
        """See `Build.specs`: the names of the module's parameters behind ``cell_``, dots as underscores."""
        return _module_specs(self, n_inputs)

    def make(self, n_inputs: int, seed: int = 0) -> torch.nn.Module:
        """A fresh module whose draws are torch's own, from this seed; the global generator stays as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.target(n_inputs, self.hidden, **dict(self.options))

    def named(self, like: Float[Tensor, "... I"], constants: Mapping[str, Float[Tensor, ""]]) -> Callable[..., Any]:
        """See `Build.named`."""
        del constants
        module = _module(self, like.shape[-1], like.dtype, like.device)
        return lambda values, inputs, state: torch.func.functional_call(module, values, (inputs, state))

    def buffers(self, like: Float[Tensor, "... I"]) -> list[Shaped[Tensor, " ..."]]:
        """See `Build.buffers`."""
        return list(_module(self, like.shape[-1], like.dtype, like.device).buffers())

    def drawn(self, n_inputs: int, key: int) -> dict[str, Float[Tensor, " ..."]]:
        """See `Build.drawn`."""
        parts = dict(self.make(n_inputs, key).named_parameters())
        return {spec.name: _as_written(parts[spec.source].detach(), spec) for spec in self.specs(n_inputs)}

    def trained(self, n_inputs: int, values: Mapping[str, Float[Tensor, " ..."]]) -> torch.nn.Module:
        """The user's module with parameters of ours, by our names."""
        parts = {spec.source: _as_written(values[spec.name].detach(), spec) for spec in self.specs(n_inputs)}
        module = self.make(n_inputs)
        # The dtype that was trained in, for buffers too.
        for part in parts.values():
            module = module.to(part.dtype)
        with torch.no_grad():
            for name, part in parts.items():
                module.get_parameter(name).copy_(part)  # into the same memory: tied parameters stay tied
        return module


@dataclass(frozen=True)
class FunctionBuild(Build):
    """A function ``target(inputs, state, *parameters, **constants)``; arguments without defaults are parameters."""

    shapes: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def specs(self, n_inputs: int) -> tuple[OwnSpec, ...]:
        """See `Build.specs`: the arguments' names behind ``cell_``."""
        names = [name for name, default in self._arguments.items() if default is inspect.Parameter.empty]
        given = dict(self.shapes)
        if set(given) != set(names):
            problem = "must give the shape of each parameter of the step, and of nothing else"
            raise ConfigError(problem, key="family.shapes", value=sorted(given), allowed=names)
        self.check_roles(names)
        return tuple(self._spec(name, given[name], n_inputs) for name in names)

    @property
    def constants(self) -> dict[str, float]:
        """See `Build.constants`."""
        return {name: value for name, value in self._arguments.items() if value is not inspect.Parameter.empty}

    @property
    def _arguments(self) -> dict[str, Any]:
        return {p.name: p.default for p in list(inspect.signature(self.target).parameters.values())[2:]}

    def _spec(self, name: str, words: tuple[Any, ...], n_inputs: int) -> OwnSpec:
        sizes = {"hidden": self.hidden, "inputs": n_inputs}
        for word in words:
            if word not in sizes and not (isinstance(word, int) and word > 0):
                allowed = "a list of hidden, inputs and whole numbers > 0"
                raise ConfigError("is no shape", key=f"family.shapes.{name}", value=words, allowed=allowed)
        shape = tuple(sizes[word] if word in sizes else int(word) for word in words)
        usual = (
            "bias" if len(words) == 1 else {"inputs": "input", "hidden": "recurrent"}.get(str(words[:1] and words[0]))
        )
        role = self.role(name) or (usual if len(words) <= 2 else None)
        if role is None:
            problem = f"says nothing of {name}, whose role its shape does not tell"
            raise ConfigError(problem, key="family.roles", allowed=f"{{{name}: {'|'.join(ROLES)}}}")
        return OwnSpec(f"{PREFIX}{name}", shape, role, inputs=n_inputs, source=name, drawn=True)

    def named(self, like: Float[Tensor, "... I"], constants: Mapping[str, Float[Tensor, ""]]) -> Callable[..., Any]:
        """See `Build.named`."""
        del like
        return lambda values, inputs, state: self.target(inputs, state, **values, **constants)


@lru_cache
def _module(build: ModuleBuild, n_inputs: int, dtype: torch.dtype, device: torch.device) -> torch.nn.Module:
    """The one module through which all rows go; only its buffers count."""
    return build.make(n_inputs).to(device=device, dtype=dtype).requires_grad_(False)


@lru_cache
def _module_specs(build: ModuleBuild, n_inputs: int) -> tuple[OwnSpec, ...]:
    parts = dict(build.make(n_inputs).named_parameters())
    build.check_roles(list(parts))
    specs = []
    for source, part in parts.items():
        role = build.role(source)
        turned = role in ("input", "recurrent") and part.ndim == 2
        shape = tuple(reversed(part.shape)) if turned else tuple(part.shape)
        name = f"{PREFIX}{source.replace('.', '_')}"
        if any(spec.name == name for spec in specs):
            raise ConfigError(
                f"has two parameters called {name.removeprefix(PREFIX)}",
                key="family._target_",
                value=dotted(build.target),
            )
        specs.append(
            OwnSpec(name, shape, role or "own", inputs=n_inputs, source=source, drawn=role is not None, turned=turned)
        )
    return tuple(specs)


@lru_cache
def layout_of(build: Build, n_inputs: int) -> ParameterLayout:
    """Where the parameters lie in a row's line: by name, so that no order has to be kept elsewhere."""
    return ParameterLayout(sorted(build.specs(n_inputs), key=lambda spec: spec.name))


def _as_written(value: Tensor, spec: OwnSpec) -> Tensor:
    """A parameter as the user's code has it, or back: turning is its own inverse."""
    return value.T if spec.turned else value


def dotted(target: Any) -> str:
    """What a `_target_` calls it."""
    return f"{target.__module__}.{target.__qualname__}"
