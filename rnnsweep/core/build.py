"""From a trial's config to its units, its tensor program and its shape key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from rnnsweep.core.controllers.base import Additive, Controller
from rnnsweep.core.families.base import Family
from rnnsweep.core.inits.base import Init
from rnnsweep.core.learners.base import Learner
from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.core.program import Program, parameters_of
from rnnsweep.core.readouts.base import Readout
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.types import Capability
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.loader import build_unit, load_class
from rnnsweep.unit import Unit

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Units:
    """The units of one trial."""

    family: Family
    task: Task
    init: Init
    learner: Learner
    optimizer: Optimizer
    controllers: Mapping[str, Controller]
    readout: Readout = field(default_factory=Readout)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What controllers and learning rules may rely on."""
        return self.family.capabilities & self.readout.capabilities

    def rows(self) -> dict[str, Unit]:
        """Units with per-row hyperparameters that reach the tensor program, by dotted prefix."""
        named: dict[str, Unit] = {"family": self.family, "learner": self.learner, "optimizer": self.optimizer}
        return named | {f"controllers.{name}": unit for name, unit in self.controllers.items()}


def build_units(config: Mapping[str, Any], families: Callable[[], Mapping[str, Any]] = dict) -> Units:
    """All units of a trial's full config, each checked by itself and against the others.

    Args:
        config: nested and resolved.
        families: blocks of the families that there are, by name; asked only for the hint of an error.

    Raises:
        ConfigError: the first thing that is wrong, with its dotted key.
    """
    controllers = config.get("controllers") or {}
    units = Units(
        build_unit(config["family"], "family", Family),
        build_unit(config["task"], "task", Task),
        build_unit(config["init"], "init", Init),
        build_unit(config["learner"], "learner", Learner),
        build_unit(config["optimizer"], "optimizer", Optimizer),
        {name: build_unit(block, f"controllers.{name}", Controller) for name, block in controllers.items() if block},
        build_unit(config["readout"], "readout", Readout) if "readout" in config else Readout(),
    )
    _check_parameters(units)
    _check_init(units, families)
    _check_needs(units)
    _check_learner(units)
    _check_task(units, config["training"]["batch"])
    return units


def _check_init(units: Units, families: Callable[[], Mapping[str, Any]]) -> None:
    """An init of gates needs a family that has some."""
    if units.init.gates and not _gated(units.family):
        name = type(units.init).__name__.lower()
        problem = f"sets the biases of gates, which the family {type(units.family).__name__.lower()} does not have"
        raise ConfigError(
            problem, key="init", value=name, allowed=f"another init, or family={'|'.join(_gated_names(families()))}"
        )


def _gated(family: Family) -> bool:
    return any(spec.remembers for spec in family.parameters(1, 1))


def _gated_names(families: Mapping[str, Any]) -> list[str]:
    """Those of some families that have gates, by name."""
    classes = {name: load_class(block["_target_"], "family") for name, block in families.items()}
    return [name for name, unit in classes.items() if issubclass(unit, Family) and _gated(unit())]


def _check_needs(units: Units) -> None:
    """Controllers must be defined for the family's loop."""
    for name, unit in units.controllers.items():
        for need in unit.requires - units.capabilities:
            raise ConfigError(
                f"{name} needs {need.value}, which {_who(units)} does not have",
                key=f"controllers.{name}",
                allowed=f"~controllers.{name}, or another family",
            )


def _who(units: Units) -> str:
    plain = type(units.readout).__name__ in ("Linear", "Readout")
    family = f"the family {type(units.family).__name__.lower()}"
    return family if plain else f"{family} with the read-out {type(units.readout).__name__.lower()}"


def _check_learner(units: Units) -> None:
    """The learning rule must be defined for family and task, and leave controllers what they need."""
    learner = type(units.learner).__module__.rpartition(".")[2]
    for need in units.learner.requires - units.capabilities:
        raise ConfigError(f"needs {need.value}, which {_who(units)} does not have", key="learner")
    units.learner.check_with(units.family, units.task)
    for name, unit in units.controllers.items():
        allowed = f"~controllers.{name}, or learner=bptt"
        if unit.needs_trace and not units.learner.traces:
            problem = f"{name} needs a gradient record, which the learning rule {learner} does not leave"
            raise ConfigError(problem, key=f"controllers.{name}", allowed=allowed)
        if isinstance(unit, Additive) and units.learner.proposes:
            problem = f"{name} adds to the gradient, but the learning rule {learner} proposes its steps itself"
            raise ConfigError(problem, key=f"controllers.{name}", allowed=allowed)


def _check_task(units: Units, batch: int) -> None:
    """Mini-batches must be possible; a state that is carried over needs units that can take it up."""
    units.task.check_batch(batch)
    if not units.task.carries:
        return
    learner, plain = type(units.learner), type(units.readout).__name__ in ("Linear", "Readout")
    reasons = {
        f"the family {_name(units.family)} begins every sequence in a way of its own": units.family.restarts,
        f"the learning rule {learner.__module__.rpartition('.')[2]} begins every mini-batch anew": not learner.carries,
        f"the read-out {_name(units.readout)} sees one mini-batch only": not plain,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(
                f"the state cannot be carried over: {reason}", key="task.carry", value=True, allowed="false"
            )


def _name(unit: Unit) -> str:
    return type(unit).__name__.lower()


def _check_parameters(units: Units) -> None:
    """Penalties must name parameters that the family has."""
    known = tuple(spec.name for spec in parameters_of(units.family, units.readout, units.task))
    for name, unit in units.controllers.items():
        for parameter in getattr(unit, "parameters", ()):
            if parameter not in known:
                raise ConfigError(
                    "unknown parameter",
                    key=f"controllers.{name}.parameters",
                    value=parameter,
                    allowed=known,
                    hint=nearest(str(parameter), known),
                )


def shape_key(config: Mapping[str, Any], units: Units) -> str:
    """What rows must share to train as one tensor program, as canonical JSON."""
    training = config["training"]
    parts = {prefix: _structure(unit) for prefix, unit in units.rows().items()}
    parts |= {"task": _structure(units.task), "readout": _structure(units.readout)}
    parts |= {name: training[name] for name in ("batch", "eval_size", "stop_solved", "solved_below")}
    parts |= {name: config[name] for name in ("engine", "dtype")}
    return json.dumps(parts, sort_keys=True, default=str)


def _structure(unit: Unit) -> dict[str, Any]:
    return {"unit": f"{type(unit).__module__}.{type(unit).__qualname__}", **unit.structure()}


def build_program(config: Mapping[str, Any], units: Units, device: torch.device) -> Program:
    """The tensor program of a trial's shape key."""
    dtype = DTYPES[config["dtype"]]
    family = units.family
    name = config["engine"]
    if units.task.carries and name != "reference":  # fused loops begin with one state per row
        engine, _ = engine_for(family.cell, "reference", family.cell_activation, dtype, device)
        note = f"{name} engine not used: the state is carried over"
    else:
        engine, note = engine_for(family.cell, name, family.cell_activation, dtype, device)
    training = config["training"]
    return Program(
        units.family,
        units.task,
        units.learner,
        units.optimizer,
        units.controllers,
        engine,
        note,
        dtype,
        device,
        training["batch"],
        training["eval_size"],
        solved_below=training["solved_below"],
        stop_when_solved=training["stop_solved"],
        readout=units.readout,
    )


def row_hypers(units: Units) -> dict[str, float]:
    """Values of all per-row hyperparameters, by dotted key."""
    found = {prefix: unit.row_values() for prefix, unit in units.rows().items()}
    return {f"{prefix}.{name}": value for prefix, values in found.items() for name, value in values.items()}
