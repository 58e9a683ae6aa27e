"""From a trial's config to its units, its tensor program and its shape key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import torch

from rnnsweep.core.controllers.base import Additive, Controller
from rnnsweep.core.embedded import embedded
from rnnsweep.core.embedding import Embedding
from rnnsweep.core.families.base import Family, OutputFeedback
from rnnsweep.core.inits.base import Init
from rnnsweep.core.layered import layered
from rnnsweep.core.learners.base import Learner
from rnnsweep.core.metrics.scorers import Scorer
from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.core.pack import RowSnapshot, Streams
from rnnsweep.core.program import Program, parameters_of
from rnnsweep.core.readout import Readout
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.regularised import regularised
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.types import Capability, ParameterSpec
from rnnsweep.core.wires import places_of
from rnnsweep.errors import ConfigError
from rnnsweep.loader import build_unit, load_class, user_code
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
    embedding: Embedding = field(default_factory=Embedding)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What controllers and learning rules may rely on."""
        return self.family.capabilities & self.readout.capabilities

    @property
    def all(self) -> tuple[Unit, ...]:
        """Every one of them."""
        one_each = (self.family, self.task, self.init, self.learner, self.optimizer, self.readout, self.embedding)
        return (*one_each, *self.controllers.values())

    @property
    def parameters(self) -> tuple[ParameterSpec, ...]:
        """All parameters of a row."""
        return parameters_of(self.family, self.readout, self.task, self.embedding)

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
    # older configs have no embedding
    embedding = build_unit(config["embedding"], "embedding", Embedding) if "embedding" in config else Embedding()
    family = layered(regularised(build_unit(config["family"], "family", Family)))
    units = Units(
        embedded(family) if embedding.size else family,
        build_unit(config["task"], "task", Task),
        build_unit(config["init"], "init", Init),
        build_unit(config["learner"], "learner", Learner),
        build_unit(config["optimizer"], "optimizer", Optimizer),
        # an empty block is a controller that was taken out
        {name: build_unit(block, f"controllers.{name}", Controller) for name, block in controllers.items() if block},
        build_unit(config["readout"], "readout", Readout) if "readout" in config else Readout(),
        embedding,
    )
    # the checks call methods of units, which may be the user's
    with user_code(*units.all):
        _check_together(units, config["training"]["batch"], families)
        _check_share(units.task, data_share(config))
    return units


def _check_together(units: Units, batch: int, families: Callable[[], Mapping[str, Any]]) -> None:
    _check_init(units, families)
    _check_embedding(units)
    _check_controllers(units)
    _check_learner(units)
    _check_readout(units)
    _check_task(units, batch)


def _check_init(units: Units, families: Callable[[], Mapping[str, Any]]) -> None:
    """An init of gates needs a family that has some."""
    if units.init.gates and not _gated(units.family):
        raise ConfigError(
            f"sets the biases of gates, which the family {units.family.unit_name} does not have",
            key="init",
            value=units.init.unit_name,
            allowed=f"another init, or family={'|'.join(_gated_names(families()))}",
        )


def _gated(family: Family) -> bool:
    # whether there are gates does not depend on sizes
    return any(spec.remembers for spec in family.parameters(1, 1))


def _gated_names(families: Mapping[str, Any]) -> list[str]:
    """Those of some families that have gates, by name."""
    classes = {name: load_class(block["_target_"], "family") for name, block in families.items()}
    named: list[str] = []
    for name, unit in classes.items():
        # a user's may have keys without defaults, or be refused: it is left out of a hint
        with suppress(ConfigError, TypeError):
            named += [name] if issubclass(unit, Family) and _gated(unit()) else []
    return named


def _check_embedding(units: Units) -> None:
    """A table of vectors needs symbols, and a tied one a read-out of its own sizes."""
    embedding, task = units.embedding, units.task
    if embedding.size and not task.tokens:
        problem = f"looks symbols up, and the inputs of the task {task.unit_name} are numbers"
        raise ConfigError(problem, key="embedding", value=embedding.unit_name, allowed="none, or a task of symbols")
    if not embedding.tied:
        return
    if task.n_outputs != task.n_inputs:
        problem = f"the task {task.unit_name} has {task.n_inputs} symbols and {task.n_outputs} outputs"
        raise ConfigError(problem, key="embedding.tied", value=True, allowed="false")
    if units.learner.proposes:
        problem = f"the learning rule {units.learner.unit_name} sets the read-out by itself"
        raise ConfigError(problem, key="embedding.tied", value=True, allowed="false, or learner=bptt")
    seen = units.readout.width(units.family.width)
    if embedding.size != seen:
        problem = "a tied table has as many entries per symbol as the read-out sees"
        raise ConfigError(
            problem, key="embedding.size", value=embedding.size, allowed=f"{seen}, or embedding.tied=false"
        )


def _check_readout(units: Units) -> None:
    """Who takes the linear map of the states for the whole read-out is defined beside no other."""
    name = units.readout.unit_name
    if units.readout.direct:
        return
    if units.learner.linear:
        problem = f"sends errors through a linear read-out of the states, which the read-out {name} is not"
        raise ConfigError(
            problem, key="learner", value=units.learner.unit_name, allowed="learner=bptt, or readout=linear"
        )
    if isinstance(units.family, OutputFeedback):
        problem = f"feeds back a linear read-out of single states, which the read-out {name} is not"
        raise ConfigError(problem, key="family", value=units.family.unit_name, allowed="readout=linear")


def _check_controllers(units: Units) -> None:
    """Controllers must be defined for the family, and get what they need of the learning rule."""
    specs, learner = units.parameters, units.learner
    for name, unit in units.controllers.items():
        key = f"controllers.{name}"
        for capability in unit.requires - units.capabilities:
            problem = f"{name} needs {capability.value}, which {_lacking(units, capability)} does not have"
            raise ConfigError(problem, key=key, allowed=f"~{key}, or another family")
        unit.check_with(units.family, units.task, specs)
        if unit.needs_trace and not learner.traces:
            problem = f"{name} needs a gradient record, which the learning rule {learner.unit_name} does not leave"
            raise ConfigError(problem, key=key, allowed=f"~{key}, or learner=bptt")
        if unit.whole_graph and learner.cuts(units.task):
            problem = f"{name} goes through whole sequences, which the learning rule {learner.unit_name} cuts"
            raise ConfigError(problem, key=key, allowed="gradient=immediate, or learner.horizon=null")
        if isinstance(unit, Additive) and learner.proposes:
            problem = (
                f"{name} adds to the gradient, but the learning rule {learner.unit_name} proposes its steps itself"
            )
            raise ConfigError(problem, key=key, allowed=f"~{key}, or learner=bptt")


def _check_learner(units: Units) -> None:
    """The learning rule must be defined for family and task."""
    for capability in units.learner.requires - units.capabilities:
        problem = f"needs {capability.value}, which {_lacking(units, capability)} does not have"
        raise ConfigError(problem, key="learner", value=units.learner.unit_name)
    if (asked := (*units.family.random, *units.family.inside)) and not units.learner.regularised:
        problem = f"the learning rule {units.learner.unit_name} does not go through it"
        value = attrgetter(asked[0])(units.family)
        off = "false" if value is True else "0"
        raise ConfigError(problem, key=f"family.{asked[0]}", value=value, allowed=f"{off}, or learner=bptt")
    units.learner.check_with(units.family, units.task)


def _lacking(units: Units, capability: Capability) -> str:
    """Who is to blame for a capability that is missing."""
    if capability not in units.family.capabilities:
        layers = units.family.parts if units.family.nested else ()
        lacking = [part.unit_name for part in layers if capability not in part.capabilities]
        name = units.family.unit_name + (f" of {', '.join(dict.fromkeys(lacking))}" if lacking else "")
        return " with ".join((f"the family {name}", *units.family.inside))
    return f"the read-out {units.readout.unit_name}"


def _check_task(units: Units, batch: int) -> None:
    """Mini-batches must be possible; a state that is carried over needs units that can take it up."""
    units.task.check_batch(batch)
    _check_free_run(units)
    if not units.task.carries:
        return
    reasons = {
        "the network reads sequences from both ends": units.family.bidirectional,
        f"the family {units.family.unit_name} begins every sequence in a way of its own": units.family.restarts,
        f"the learning rule {units.learner.unit_name} begins every mini-batch anew": not units.learner.carries,
        f"the read-out {units.readout.unit_name} sees one mini-batch only": not units.readout.carries,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(
                f"the state cannot be carried over: {reason}", key="task.carry", value=True, allowed="false"
            )


def _check_share(task: Task, share: float) -> None:
    """A part of the training set needs one that is finite and is not read in its order."""
    reason = (
        "makes sequences without end" if task.samples is None else "reads its text in order" if task.carries else ""
    )
    if share < 1 and reason:
        problem = f"the task {task.unit_name} {reason}: there is no part to draw from"
        sized = "1, or a number in task.train_size" if hasattr(task, "train_size") else "1"
        allowed = "1, or task.carry=false" if task.carries else sized
        raise ConfigError(problem, key="training.data_share", value=share, allowed=allowed)


def _check_free_run(units: Units) -> None:
    """A network that runs on its own outputs takes its sequences step by step."""
    reasons = {
        "it reads sequences from both ends": units.family.bidirectional,
        f"the embedding {units.embedding.unit_name} takes symbols": bool(units.embedding.size),
        f"the family {units.family.unit_name} filters whole sequences": units.family.feeds,
        "zoneout keeps a share of every state": any("zoneout" in name for name in units.family.random),
        f"the read-out {units.readout.unit_name} looks back over all steps": not units.readout.carries,
    }
    for reason in (reason for reason, holds in reasons.items() if holds and units.task.free_steps):
        problem = f"the network cannot run on its own outputs: {reason}"
        raise ConfigError(problem, key="task.generate", value=units.task.free_steps, allowed="0")


def shape_key(config: Mapping[str, Any], units: Units) -> str:
    """What rows must share to train as one tensor program, as canonical JSON."""
    training = config["training"]
    parts = {prefix: unit.identity() for prefix, unit in units.rows().items()}
    # No init among them: it decides where a row begins, not what is computed; nor anything per-row.
    parts |= {"task": units.task.identity(), "readout": units.readout.identity()}
    parts |= {"embedding": units.embedding.identity()} if units.embedding.size else {}
    parts |= {name: training[name] for name in ("batch", "eval_size", "stop_solved", "solved_below")}
    parts |= {name: config[name] for name in ("engine", "dtype")}
    if config.get("scorers"):
        parts["scorers"] = config["scorers"]
    if data_share(config) < 1:
        parts["data"] = {"share": data_share(config)}
    # sorted: the order of keys in a yaml must not split a pack
    return json.dumps(parts, sort_keys=True, default=str)


def build_program(config: Mapping[str, Any], units: Units, device: torch.device) -> Program:
    """The tensor program of a trial's shape key."""
    dtype = DTYPES[config["dtype"]]
    family = units.family
    name = config["engine"]
    if units.task.carries and name != "reference":  # fused loops begin with one state per row
        engine, _ = engine_for(family.cell, "reference", family.cell_activation, dtype, device)
        note = f"{name} engine not used: the state is carried over"
    else:
        made = [
            engine_for(part.cell, name, part.cell_activation, dtype, device, regularised=bool(part.inside))
            for part in {part.loop_kind: part for part in reversed(family.parts)}.values()
        ]
        engine, note = made[0][0], next((why for _, why in made if why), "")
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
        scorers=build_scorers(config),
        embedding=units.embedding,
        wanted=name,
        data_share=data_share(config),
    )


def data_share(config: Mapping[str, Any]) -> float:
    """Part of the training set that mini-batches are drawn from; sweeps of before there was a choice took all."""
    return config["training"].get("data_share", 1.0)


def build_scorers(config: Mapping[str, Any]) -> tuple[Scorer, ...]:
    """The functions that score evaluations; sweeps of before there were any have no such key."""
    return tuple(Scorer.of(name, block) for name, block in (config.get("scorers") or {}).items())


def row_hypers(units: Units) -> dict[str, float]:
    """Values of all per-row hyperparameters, by dotted key."""
    values_by_unit = {prefix: unit.row_values() for prefix, unit in units.rows().items()}
    return {f"{prefix}.{name}": value for prefix, values in values_by_unit.items() for name, value in values.items()}


def _by_gain(family: Family, specs: Sequence[ParameterSpec]) -> dict[float, list[ParameterSpec]]:
    """Parameters by the gain of the f that they lead into; what no loop has goes with the last layer."""
    found: dict[float, list[ParameterSpec]] = {}
    loops = [*zip(places_of(family), family.parts, strict=True)]
    for spec in specs:
        part = next(part for place, part in loops if place.plain(spec.name) is not None)
        found.setdefault(part.cell_activation.gain, []).append(spec)
    return found


def initial_state(program: Program, units: Units, streams: Streams) -> RowSnapshot:
    """A fresh row: weights drawn in float64 on the CPU, rounded to the program's dtype.

    So a row starts from the same numbers on every device and, but for the rounding, in every dtype.
    """
    keys = torch.tensor([streams.key("init")], dtype=torch.int64)
    hypers = {
        name: torch.tensor([getattr(units.init, name)], dtype=torch.float64)
        for name in units.init.rows
        if getattr(units.init, name) is not None
    }
    drawn: dict[str, torch.Tensor] = {}
    for gain, specs in _by_gain(units.family, program.layout.specs).items():
        drawn.update(units.init.draw(specs, keys, hypers, gain))
    drawn.update(units.family.initial(drawn, program.layout.specs, keys))
    drawn.update(units.embedding.initial(units.task.n_inputs, keys))
    # what neither init nor family draws begins at 0
    params = {spec.name: torch.zeros(spec.shape, dtype=program.dtype) for spec in program.layout.specs}
    params.update({name: value[0].to(program.dtype) for name, value in drawn.items()})
    return RowSnapshot(params)
