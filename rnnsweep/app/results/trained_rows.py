"""The trained rows of a sweep as packs for analyses: all rows of one shape together, in float64."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from rnnsweep.app.results.inference import best_checkpoint
from rnnsweep.app.results.sweep import Sweep
from rnnsweep.app.stores import reading_sweep
from rnnsweep.core.analyses.trained_rows import TrainedRows
from rnnsweep.core.build import Units, build_program, build_units, row_hypers
from rnnsweep.core.checkpoint import CheckpointStore, check_parameters
from rnnsweep.core.embedding import with_tied
from rnnsweep.core.pack import RowSnapshot
from rnnsweep.core.program import Program
from rnnsweep.errors import ConfigError, ConfigWarning
from rnnsweep.sweep.lineage import present_point, present_tokens

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import TrialView

ALL, _BEST = "all", re.compile(r"best:(\d+)")
ALLOWED = "all, best:N, or numbers of trials such as 3,5,8"
_OPTION = "--trials"


@dataclass(frozen=True)
class RowGroup:
    """Rows of one shape.

    Attributes:
        rows: the pack.
        names: (trial, replica) of each, in the pack's order.
    """

    rows: TrainedRows
    names: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Row:
    """One row before it is packed."""

    name: tuple[int, int]
    program: Program
    state: RowSnapshot
    hypers: dict[str, float]


def chosen_trials(sweep: Sweep, text: str) -> list[TrialView]:
    """The trials that `--trials` names: ``all`` complete ones by number, ``best:N`` best first, or numbers.

    Raises:
        ConfigError: of another form, no such trial, or a sweep without a complete one.
    """
    from rnnsweep.app.results.tables import find, ranked, trials_of

    with reading_sweep(sweep.place, sweep.name) as (ledger, view):
        trials = trials_of(ledger, view)
        order = ranked(view, trials)
    best = _BEST.fullmatch(text.strip())
    if text.strip() == ALL or (best and int(best[1]) > 0):
        if not order:
            hint = f"See: rnnsweep status {sweep.name}."
            raise ConfigError("has no complete trial yet", key="SWEEP", value=sweep.name, hint=hint)
        return order[: int(best[1])] if best else sorted(order, key=lambda trial: trial.number)
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise ConfigError("names no trials", key=_OPTION, value=text, allowed=ALLOWED)
    return [find(view, trials, number) for number in dict.fromkeys(map(int, words))]


def load_groups(sweep: Sweep, trials: Sequence[TrialView], *, every_replica: bool = False) -> list[RowGroup]:
    """The trained rows of some trials, packed by shape, from their checkpoints with the smallest validation loss.

    A `ConfigWarning` says which trials were left out: without a checkpoint, or with weights that are not finite.

    Args:
        sweep: theirs. trials: in the order in which their rows are to come.
        every_replica: all replicas of each; otherwise the best one.

    Raises:
        ConfigError: none of them has a checkpoint.
        CheckpointError: one has other parameters than its network.
    """
    rows, missing, wild = [], [], []
    for trial, found in _checkpoints(sweep, trials, every_replica):
        finite = [row for row in found if all(bool(x.isfinite().all()) for x in row.state.params.values())]
        (missing if not found else wild if not finite else []).append(trial)
        rows += finite
    if not rows:
        problem = "has no trained network left: none of these trials has a readable checkpoint with finite weights"
        raise ConfigError(problem, key="SWEEP", value=sweep.name)
    for numbers, why in ((missing, "have no readable checkpoint"), (wild, "have weights that are not finite")):
        if numbers:
            warnings.warn(f"left out: trials {', '.join(map(str, numbers))} {why}", ConfigWarning, stacklevel=2)
    packed: dict[str, list[_Row]] = {}
    for row in rows:
        packed.setdefault(_shape(row.program), []).append(row)
    return [_packed(group) for group in packed.values()]


def _checkpoints(sweep: Sweep, trials: Sequence[TrialView], every_replica: bool) -> list[tuple[int, list[_Row]]]:
    from rnnsweep.app.config.load import allow_stored_imports, from_json
    from rnnsweep.app.config.point import resolve_point

    with reading_sweep(sweep.place, sweep.name) as (ledger, view):
        config = from_json(view.config, store=sweep.place.own_root)
        attempts = {trial.number: ledger.attempts(view.name, trial.number) for trial in trials}
    allow_stored_imports(config)
    store, found = CheckpointStore(config.checkpoints), []
    for trial in trials:
        point = resolve_point(config.variants, present_point(trial))
        units, program = _program(point)
        tokens = present_tokens(trial, attempts[trial.number])
        rows = []
        for replica in range(config.plan.replicas):
            saved = best_checkpoint(store, (trial.number, replica), tokens)
            if saved is not None:
                check_parameters(saved.state, program.layout, config.checkpoints)
                rows.append(_Row((trial.number, replica), program, saved.state, row_hypers(units)))
        best = min(rows, key=lambda row: row.state.best_loss, default=None)
        found.append((trial.number, rows if every_replica or best is None else [best]))
    return found


def _program(point: dict[str, Any]) -> tuple[Units, Program]:
    """In float64 and plain torch: analyses amplify rounding, and differentiate."""
    units = build_units(point)
    program = build_program({**point, "engine": "reference", "dtype": "float64"}, units, torch.device("cpu"))
    return units, replace(program, controllers={}, engine_note="")


def _shape(program: Program) -> str:
    """What rows of one pack share: all that the loop, its inputs and its read-out are made of."""
    units = (program.family, program.task, program.readout, program.embedding)
    parts = [[f"{type(unit).__module__}.{type(unit).__qualname__}", unit.structure()] for unit in units]
    return json.dumps([*parts, program.batch], sort_keys=True, default=str)


def _packed(rows: Sequence[_Row]) -> RowGroup:
    program, family = rows[0].program, rows[0].program.family
    values = {
        spec.name: torch.stack([row.state.params[spec.name].double() for row in rows]) for spec in program.layout.specs
    }
    hypers = {
        name: torch.tensor([row.hypers[f"family.{name}"] for row in rows], dtype=torch.float64) for name in family.rows
    }
    hypers |= {name: torch.stack([row.state.slots[f"family.{name}"].double() for row in rows]) for name in family.slots}
    return RowGroup(TrainedRows(program, with_tied(values, program.embedding), hypers), tuple(row.name for row in rows))
