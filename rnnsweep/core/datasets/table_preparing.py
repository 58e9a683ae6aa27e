"""From a user's file to what is trained on: inputs, targets, and the samples of each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from rnnsweep.core.datasets.dataset_files import SPLITS
from rnnsweep.core.datasets.mapped_arrays import MOST_READ, MappedArrays, MappedRows, fit_mapped, open_mapped
from rnnsweep.core.datasets.new_sequences import NewSequences, in_memory, on_disk
from rnnsweep.core.datasets.table_columns import FOLDER, Roles, Table
from rnnsweep.core.datasets.table_files import read_table
from rnnsweep.core.datasets.table_inputs import InputRecipe, Moments, fit_inputs, numeric_columns, recipe_of
from rnnsweep.core.datasets.table_sequences import Sequences, arrange
from rnnsweep.core.datasets.table_splits import Segment, segments
from rnnsweep.core.datasets.table_targets import (
    Targets,
    class_targets,
    label_targets,
    number_targets,
    refuse_constant,
    sequence_weights,
)
from rnnsweep.core.datasets.table_tokens import (
    TEXT,
    TokenRecipe,
    fit_tokens,
    token_sequences,
    token_targets,
)
from rnnsweep.core.datasets.torch_datasets import WANTED, DatasetSource
from rnnsweep.core.rng import Split
from rnnsweep.errors import ConfigError

PER_STEP = ("label", "forecast", "next_character", "next_word")
AHEAD = ("forecast", "next_character", "next_word")
TOKENS = ("next_character", "next_word")
SEQUENCE = "sequence"
"""Column of names, for sequences that no column of their own names."""
_SHOWN = 100
"""Characters of a text, or steps of a mapped sequence, that stand for an example."""


@dataclass(frozen=True)
class Spec:
    """What is done with which columns; the fields are those of the task `Table`, `target` and `inputs` as tuples.

    `path` may be a data set's source instead. `files` is `file_states` of it: a file that is written anew is another
    spec.
    """

    path: str | DatasetSource | None
    goal: str
    inputs: tuple[str, ...] | None
    target: tuple[str, ...]
    group: str | None
    time: str | None
    horizon: int
    length: int | None
    split: str
    split_by: str | None
    shares: tuple[float, ...]
    standardise: bool
    missing: str
    missing_flags: bool
    vocabulary: int
    weights: str | None
    files: str

    @property
    def per_step(self) -> bool:
        """Whether there is a target at every step."""
        return self.goal in PER_STEP

    @property
    def ahead(self) -> int:
        """How many steps later than an input its target lies."""
        return self.horizon if self.goal in AHEAD else 0

    @property
    def roles(self) -> Roles:
        """Of the file's columns, by the names that are given: all others are inputs where none is named."""
        named = (self.group, self.time, self.divided_by, self.split_by, self.weights)
        inputs = (self.text,) if self.goal in TOKENS else self.inputs
        used = None if inputs is None else frozenset((*inputs, *self.target, *filter(None, named)))
        return Roles(() if self.per_step else self.target, used)

    @property
    def text(self) -> str:
        """Column of the texts, of goals about them."""
        return self.target[0] if self.target else TEXT

    @property
    def divided_by(self) -> str | None:
        """Column that says which part a sequence is for."""
        if self.split == "given":
            return self.split_by or "split"
        return self.split_by if self.split == "group" else None


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a task needs of its file.

    Attributes:
        inputs: float32 [rows + 1, width], the rows of all sequences end to end, then one of zeros; of texts codes,
            int64 [tokens + 1]; of mapped arrays what takes such rows from the disk.
        aims: of mapped arrays with a target per step, what takes those, float32 [rows, outputs]; else None, and
            `targets` has them.
        targets: of each row where there is one per step, else of each sequence.
        samples: of each part, int64 [n, 3]: first row, steps, and the sequence's number.
        recipe: of the inputs.
        weights: float32 [sequences], how much each counts in the loss, 1 on average in training; None: all alike.
    """

    inputs: np.ndarray | MappedRows
    targets: Targets
    samples: Mapping[Split, np.ndarray]
    recipe: InputRecipe | TokenRecipe
    weights: np.ndarray | None = None
    aims: MappedRows | None = None

    @cached_property
    def longest(self) -> int:
        """Steps of the longest sample."""
        return max(int(samples[:, 1].max()) for samples in self.samples.values())

    @cached_property
    def even(self) -> bool:
        """Whether all samples are of one length."""
        return all((samples[:, 1] == self.longest).all() for samples in self.samples.values())


@lru_cache(maxsize=4)
def prepare(spec: Spec) -> Prepared:
    """Read the file and make of it what the spec says.

    Raises:
        ConfigError: what is wrong, with the file, and the row and column or the key.
    """
    mapped = None if isinstance(spec.path, DatasetSource) else open_mapped(spec.path)
    if mapped is not None:
        return _prepare_mapped(spec, mapped)
    table = read_table(spec.path, spec.roles)
    if spec.goal in TOKENS:
        return _prepare_texts(spec, table)
    spec = _unfolded(spec, table)
    sequences = arrange(table, spec.group, spec.time)
    _check_roles(spec, table)
    parts = segments(sequences, spec.split, spec.split_by, spec.shares, spec.time, spec.per_step)
    columns = _inputs(spec, table)
    training = np.zeros(len(table), dtype=bool)
    for segment in parts:
        if segment.part == "train":
            training[segment.start : segment.end] = True
    recipe = fit_inputs(sequences, columns, training, spec.standardise, spec.missing, spec.missing_flags)
    inputs = recipe.apply(sequences)
    targets = _targets(spec, sequences, parts, columns)
    prepared = _prepared(spec, table, parts, inputs, targets, recipe)
    if spec.weights is None:
        return prepared
    return replace(prepared, weights=sequence_weights(sequences, parts, spec.weights))


def _prepare_mapped(spec: Spec, mapped: MappedArrays) -> Prepared:
    """As `prepare` does with a table of the same numbers, to the bit; only what is per sequence is in memory."""
    _check_mapped(spec)
    header = mapped.header()
    spec = _unfolded(spec, header)
    _check_roles(spec, header)
    columns = _inputs(spec, header)
    for name in columns:
        header.numbers(name, "task.inputs")
    alone = [name for name in (spec.divided_by, spec.weights) if name]
    sequences = mapped.sequences([*alone, *spec.roles.beside])
    cut = spec.split == "time" and spec.per_step
    starts = mapped.starts
    parts = segments(
        replace(sequences, starts=starts) if cut else sequences, spec.split, spec.split_by, spec.shares, None, cut
    )
    if not cut:
        parts = [Segment(int(starts[s.sequence]), int(starts[s.sequence + 1]), s.sequence, s.part) for s in parts]
    spans = np.array([(s.start, s.end) for s in parts if s.part == "train"], dtype=np.int64)
    moments = fit_mapped(mapped, columns, spans, spec.missing)
    for name, count in zip(columns, moments.count, strict=True):
        if not count:
            raise mapped.wrong(
                int(spans[0, 0]), name, "is empty, as in all rows for training", allowed="a column with numbers"
            )
    recipe = recipe_of(columns, moments, spec.standardise, spec.missing, spec.missing_flags)
    aims = None
    if spec.per_step:
        aimed = spec.target or columns
        for name in aimed:
            header.numbers(name, "task.target")
        aims, targets = _mapped_targets(
            spec, mapped, aimed, moments if aimed == columns else fit_mapped(mapped, aimed, spans, "error")
        )
    else:
        targets = _targets(spec, sequences, parts, columns)
    prepared = _prepared(spec, mapped, parts, MappedRows(mapped, columns, recipe), targets, recipe)
    weights = None if spec.weights is None else sequence_weights(sequences, parts, spec.weights)
    return replace(prepared, weights=weights, aims=aims)


def _check_mapped(spec: Spec) -> None:
    """Raise `ConfigError` for what needs a column of each step in memory."""
    here = f"arrays with more than {MOST_READ:,} numbers, which are read from the disk batch by batch"
    checks = {
        "goal": (spec.goal, ("classify", "regress", "forecast")),
        "group": (spec.group, (None,)),
        "time": (spec.time, (None,)),
        "missing": (spec.missing, ("error",) if spec.per_step else ("error", "zero", "mean")),
    }
    for key, (value, known) in checks.items():
        if value not in known:
            allowed = tuple("null" if each is None else each for each in known)
            raise ConfigError(f"is not for {here}", key=f"task.{key}", value=value, allowed=allowed)


def _mapped_targets(
    spec: Spec, mapped: MappedArrays, names: tuple[str, ...], moments: Moments
) -> tuple[MappedRows, Targets]:
    """Numbers at each step, and what is known of them all."""
    refuse_constant(moments.most - moments.least, names, mapped.path)
    scale = moments.scale(spec.standardise)
    total = int(mapped.starts[-1])
    # no numbers, and no memory: each step is known, since gaps are refused
    nothing, known = np.empty((0, len(names)), np.float32), np.broadcast_to(np.True_, (total,))
    return MappedRows(mapped, names, scale), Targets(nothing, known, names, scale)


def _unfolded(spec: Spec, table: Table) -> Spec:
    """With the columns that names stand for; the second part of a data set's items is wanted unless others are."""
    target = spec.target
    if not target and isinstance(spec.path, DatasetSource) and spec.goal != "forecast":
        target = (WANTED,) if WANTED in table.columns or WANTED in table.lists else ()
    inputs = None if spec.inputs is None else table.unfolded(spec.inputs)
    return replace(spec, target=table.unfolded(target), inputs=inputs)


def _prepare_texts(spec: Spec, table: Table) -> Prepared:
    words = spec.goal == "next_word"
    sequences = token_sequences(table, spec.text, words, spec.divided_by)
    parts = segments(sequences, spec.split, spec.split_by, spec.shares, None, cut=True)
    recipe = fit_tokens(sequences, parts, words, spec.vocabulary)
    codes = recipe.codes(sequences)
    return _prepared(spec, table, parts, codes, token_targets(codes, recipe), recipe)


def _prepared(
    spec: Spec,
    table: Table | MappedArrays,
    parts: Sequence[Segment],
    inputs: np.ndarray | MappedRows,
    targets: Targets,
    recipe: InputRecipe | TokenRecipe,
) -> Prepared:
    """With the samples of each part, of which none may be empty."""
    samples: dict[Split, np.ndarray] = {split: _samples(spec, parts, split, targets.known) for split in SPLITS}
    for split, found in samples.items():
        if not len(found) and len(_samples(spec, parts, split, np.ones_like(targets.known))):
            names = list(spec.target or targets.classes)
            problem = f"is empty in all of the {split} part of {table.path}"
            allowed = "a target at some step of each part"
            raise ConfigError(problem, key="task.target", value=names, allowed=allowed)
        if not len(found):
            problem = f"leaves no sample for the {split} part of {table.path}"
            longer = f"sequences with more than {spec.ahead} steps in each part" if spec.ahead else None
            raise ConfigError(problem, key="task.split", value=spec.split, allowed=longer)
    if isinstance(inputs, np.ndarray):
        inputs = np.concatenate([inputs, np.zeros_like(inputs[:1])])
    return Prepared(inputs, targets, samples, recipe)


def new_sequences(spec: Spec, recipe: InputRecipe | TokenRecipe, path: str, *, tokens: bool = False) -> NewSequences:
    """Names and inputs float32 [steps, width] of the sequences of another file; it needs no target.

    `tokens`: of a text the codes, int64 [steps, 1].

    Raises:
        ConfigError: see `prepare`.
    """
    # what needs all steps of a sequence at once, or their order by a column, is read
    stepwise = spec.group is None and spec.time is None
    if stepwise and isinstance(recipe, InputRecipe) and recipe.missing != "previous":
        mapped = open_mapped(path)
        if mapped is not None:
            return on_disk(mapped, recipe)
    table = read_table(path, spec.roles)
    if isinstance(recipe, TokenRecipe):
        sequences = token_sequences(table, spec.text, recipe.words, None)
        codes = recipe.codes(sequences)
        inputs = codes[:, None] if tokens else np.eye(recipe.width, dtype=np.float32)[codes]
    else:
        sequences = arrange(table, spec.group, spec.time)
        inputs = recipe.apply(sequences)
    return in_memory(sequences.names, sequences.starts, inputs)


def preparation(spec: Spec) -> dict[str, Any]:
    """What makes inputs of a table, as JSON: see `adapters/mlflow/pyfunc_network.py`, which does."""
    prepared = prepare(spec)
    scale, recipe = prepared.targets.scale, prepared.recipe
    back = None if scale is None else {"mean": scale.mean.tolist(), "deviation": scale.deviation.tolist()}
    if isinstance(recipe, TokenRecipe):
        return {"text": recipe.plain(spec.text), "scale": back}
    return {"text": None, "group": spec.group or SEQUENCE, "time": spec.time, "scale": back, **recipe.plain()}


def raw_rows(spec: Spec, count: int) -> dict[str, list[Any]]:
    """What is read of the first test sequences, as it stands in the table; of texts their first characters."""
    prepared = prepare(spec)
    if isinstance(prepared.inputs, MappedRows):
        return _mapped_rows(prepared.inputs, prepared.samples["test"][:count])
    table = read_table(spec.path, spec.roles)
    chosen = list(dict.fromkeys(prepared.samples["test"][:, 2].tolist()))[:count]
    if isinstance(prepared.recipe, TokenRecipe):
        return {spec.text: [str(table.columns[spec.text][row])[:_SHOWN] for row in chosen]}
    sequences = arrange(table, spec.group, spec.time)
    spans = [(sequences.starts[number], sequences.starts[number + 1]) for number in chosen]
    rows = np.concatenate([sequences.order[start:end] for start, end in spans])
    names = np.repeat([sequences.names[number] for number in chosen], [end - start for start, end in spans])
    found: dict[str, list[Any]] = {} if spec.group else {SEQUENCE: names.tolist()}
    for name in (spec.group, spec.time):
        if name:
            found[name] = [_whole(cell) for cell in table.columns[name][rows]]
    return found | {name: table.columns[name][rows].tolist() for name in prepared.recipe.columns}


def _mapped_rows(inputs: MappedRows, samples: np.ndarray) -> dict[str, list[Any]]:
    """As `raw_rows`, of the first steps."""
    found: dict[str, list[Any]] = {name: [] for name in (SEQUENCE, *inputs.columns)}
    for first, steps, sequence in samples.tolist():
        rows = np.arange(first, first + min(steps, _SHOWN))
        found[SEQUENCE] += [str(sequence)] * len(rows)
        for name, values in zip(inputs.columns, inputs.mapped.values(inputs.columns, rows).T, strict=True):
            found[name] += values.tolist()
    return found


def _whole(cell: Any) -> Any:
    """Names that are whole numbers stay so."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


def _check_roles(spec: Spec, table: Table) -> None:
    """Each column has one role, and the roles that the goal needs are there."""
    roles = {"task.group": spec.group, "task.time": spec.time, "task.weights": spec.weights}
    roles["task.split_by"] = spec.divided_by
    for key, name in roles.items():
        if name is not None:
            table.column(name, key)
    for name in spec.target:
        table.column(name, "task.target")
    if spec.goal != "forecast" and not spec.target:
        known = tuple(table.columns)
        raise ConfigError(f"is needed by task.goal={spec.goal}", key="task.target", value="null", allowed=known)
    for name in spec.inputs or ():
        table.column(name, "task.inputs")
        if name in spec.target and spec.goal != "forecast":
            problem = "is the target: a network that reads it has nothing to learn"
            raise ConfigError(problem, key="task.inputs", value=name, allowed="other columns")


def _inputs(spec: Spec, table: Table) -> tuple[str, ...]:
    if spec.inputs is not None:
        return spec.inputs
    wanted = spec.target if spec.goal != "forecast" else ()
    others = {spec.group, spec.time, spec.split_by, spec.weights, FOLDER, *wanted}
    columns = numeric_columns(table, [name for name in others if name])
    if not columns:
        allowed = f"columns of numbers; {table.path} has {', '.join(table.columns)}"
        raise ConfigError("leaves no column", key="task.inputs", value="null", allowed=allowed)
    return columns


def _targets(spec: Spec, sequences: Sequences, parts: Sequence[Segment], columns: Sequence[str]) -> Targets:
    if spec.goal == "label" and len(spec.target) > 1:
        raise ConfigError("are several", key="task.target", value=list(spec.target), allowed="one column of labels")
    if spec.goal in ("label", "classify") and len(spec.target) == 1:
        found = class_targets(sequences, parts, spec.target[0], spec.per_step)
    elif spec.goal == "classify":
        found = label_targets(sequences, spec.target)
    else:
        names = spec.target or tuple(columns)
        found = number_targets(sequences, parts, names, spec.per_step, spec.standardise)
    if spec.per_step and spec.missing == "error" and not found.known.all():
        names = spec.target or tuple(columns)
        row = int(sequences.order[np.flatnonzero(~found.known)[0]])
        empty = next(name for name in names if sequences.table.texts(name, "task.target")[row] is None)
        allowed = "a target at each step; with another task.missing steps without one are not scored"
        raise sequences.table.wrong(row, empty, "is empty", allowed=allowed)
    return found


def _samples(spec: Spec, parts: Sequence[Segment], split: Split, known: np.ndarray) -> np.ndarray:
    """First row, steps and sequence of each sample of a part."""
    ahead = spec.ahead
    found: list[tuple[int, int, int]] = []
    for segment in parts:
        if segment.part != split:
            continue
        if not spec.per_step:
            found.append((segment.start, segment.end - segment.start, segment.sequence))
            continue
        # the last steps of a forecast are targets only
        end = segment.end - ahead
        size = spec.length or max(1, end - segment.start)
        for start in range(segment.start, end, size):
            steps = min(size, end - start)
            if known[start + ahead : start + ahead + steps].any():
                found.append((start, steps, segment.sequence))
    return np.array(found, dtype=np.int64).reshape(-1, 3)
