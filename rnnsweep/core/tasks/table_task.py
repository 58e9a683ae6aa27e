"""Sequences of the user's own, from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.datasets.mapped_arrays import MappedRows
from rnnsweep.core.datasets.new_sequences import NewSequences
from rnnsweep.core.datasets.table_files import file_states, table_files
from rnnsweep.core.datasets.table_preparing import (
    AHEAD,
    PER_STEP,
    TOKENS,
    Prepared,
    Spec,
    new_sequences,
    preparation,
    prepare,
    raw_rows,
)
from rnnsweep.core.datasets.torch_datasets import DatasetSource
from rnnsweep.core.losses import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, SQUARED_ERROR, Loss, WeightedCrossEntropy
from rnnsweep.core.rng import Draws, Split
from rnnsweep.core.tasks import table_batches as batches
from rnnsweep.core.tasks import table_levels as levels
from rnnsweep.core.tasks import table_scores as scores
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.success import argmax_errors, share_of_steps, squared_errors
from rnnsweep.core.tasks.table_metrics import ACCURACY, BALANCED, MAE, METRICS, OF_GOAL, PERPLEXITY
from rnnsweep.core.types import Batch
from rnnsweep.errors import ConfigError
from rnnsweep.unit import POSITIVE, Metric, Range

_VOWELS: Mapping[str, Any] = {
    "group": "utterance",
    "target": ("speaker",),
    "inputs": tuple(f"c{index}" for index in range(1, 13)),
}
"""Roles of the columns of the sample that stands for a path of null."""
_SPLIT_BY: Mapping[str, str] = {"given": "part", "group": "utterance"}


@dataclass(frozen=True)
class TableTask(Task):
    """Sequences of a file of one's own; each has its own number of steps.

    ``classify``: a class for each sequence, said at its end; with several targets, columns of 0 and 1, whether each
    label holds. ``label``: a class at each step. ``regress``: numbers for each sequence. ``forecast``: numbers
    `horizon` steps ahead, at each step. ``next_character``, ``next_word``: what comes next in a text, which is a file
    or a cell of column `target`; inputs and outputs are the tokens of a vocabulary, one-hot.

    The error is the share of wrong sequences, steps or labels; numbers are wrong where the root of their mean squared
    error exceeds `tolerance`. A sample is a sequence, or of tasks with a target at each step a piece of one; samples
    are drawn with replacement, evaluations read each once.

    Attributes:
        path: file or folder; null: the Japanese vowels, whose columns are known; or a block with the ``_target_`` of a
            map-style `torch.utils.data.Dataset` and its arguments, see `torch_datasets`.
        goal: what is wanted.
        inputs: columns that are read; null: all of numbers that have no other role.
        target: column, or list of them; ``forecast`` with null: the inputs themselves.
        group: column that says which sequence a row belongs to; null: what the files say, or all rows are one.
        time: column that rows of a sequence are sorted by; null: they are in order.
        horizon: steps ahead, of ``forecast`` and of what comes next.
        length: sequences with a target at each step are cut into pieces of so many; null: they are not.
        split: which part a sequence is in. ``random``: by a hash of its name or else of its content; ``given``: as
            column `split_by` says; ``group``: as random, sequences of one value of `split_by` together; ``time``: first
            training, then validation, then test, where targets are at each step within each sequence.
        split_by: column, see `split`; null: ``split``, of ``given``.
        shares: of training, validation and test.
        standardise: inputs, and targets that are numbers, by mean and standard deviation over the training part.
        missing: what an empty cell of an input is: an ``error``, ``zero``, the training ``mean``, or the ``previous``
            value of the sequence (before its first the mean). Unless ``error``, steps without a target are not scored.
        missing_flags: a further input for each column with gaps in training, 1 where a value is missing.
        weights: of samples in the loss, 1 on average in training. ``balanced`` weighs each class by the inverse of its
            share of the training part; else a column with a number >= 0 per sequence.
        vocabulary: tokens at most, the commonest of the training part; all others are one token, ``<unknown>``.
        tolerance: of numbers, in standard deviations of the training part, or as they are without `standardise`.

    Numerics:
        Columns are read as float64, standardised, and rounded to float32 once. Mean and deviation are formed in blocks
        of 2^21 numbers. Arrays that are mapped from the disk give the same bits as in memory.

    References:
        The sample: Kudo, Toyama, Shimbo (1999), *Multidimensional curve classification using passing-through regions*.
        Scores as in scikit-learn.

    Example:
        >>> task = TableTask()
        >>> task.n_inputs, task.output_names[:3], task.max_length
        (12, ('1', '2', '3'), 29)
    """

    fixed: ClassVar = {
        "goal": ("classify", "label", "regress", "forecast", *TOKENS),
        "horizon": Range(1, integer=True, open_high=True),
        "length": Range(1, integer=True, open_high=True, optional=True),
        "split": ("random", "given", "group", "time"),
        "standardise": (True, False),
        "missing": ("error", "zero", "mean", "previous"),
        "missing_flags": (False, True),
        "vocabulary": Range(1, integer=True, open_high=True),
        "tolerance": POSITIVE,
    }
    metrics: ClassVar[Mapping[str, Metric]] = METRICS

    path: str | Any = None
    goal: str = "classify"
    inputs: Iterable[str] | None = None
    target: str | Iterable[str] | None = None
    group: str | None = None
    time: str | None = None
    horizon: int = 1
    length: int | None = None
    split: str = "random"
    split_by: str | None = None
    shares: Iterable[float] = (0.7, 0.15, 0.15)
    standardise: bool = True
    missing: str = "error"
    missing_flags: bool = False
    weights: str = "none"
    vocabulary: int = 1000
    tolerance: float = 0.5

    def __post_init__(self) -> None:
        for name in ("inputs", "target", "shares"):
            value = getattr(self, name)
            if isinstance(value, Iterable) and not isinstance(value, str):
                # yaml gives a list, but tasks are keys of caches
                object.__setattr__(self, name, tuple(value))
        if isinstance(self.path, Mapping):
            object.__setattr__(self, "path", DatasetSource.of(self.path))
        super().__post_init__()

    def check(self) -> None:
        """Also read the file.

        Raises:
            ConfigError: a field is out of range, or the file is missing or not as it should be.
        """
        super().check()
        shares = self.shares
        right = isinstance(shares, tuple) and len(shares) == 3 and all(map(POSITIVE.accepts, shares))
        if not right:
            shown = list(shares) if isinstance(shares, tuple) else shares
            raise ConfigError("out of range", key="task.shares", value=shown, allowed="three numbers > 0")
        for name in ("group", "time", "split_by", "weights"):
            _check_name(name, getattr(self, name))
        for name in ("inputs", "target"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and name == "target"):
                _check_names(name, value)
        if isinstance(self.path, DatasetSource) and self.goal in TOKENS:
            allowed = "a goal about numbers; texts are read from files"
            raise ConfigError("reads texts", key="task.goal", value=self.goal, allowed=allowed)
        listed = self.goal == "classify" and isinstance(self.target, tuple) and len(self.target) > 1
        if self.weights == "balanced" and (listed or self.several):
            allowed = "none with several targets"
            raise ConfigError("is for one target", key="task.weights", value="balanced", allowed=allowed)
        self.prepared()

    def unread(self) -> Mapping[str, str]:
        """What only other goals and splits look at."""
        here = f"task.goal={self.goal}"
        numbers, text = self.goal in ("regress", "forecast"), self.goal in TOKENS
        idle = {
            "horizon": self.goal not in AHEAD,
            "length": not self.per_step,
            "weights": text or (numbers and self.weights == "balanced"),
            "vocabulary": not text,
            "tolerance": not numbers,
            **dict.fromkeys(("inputs", "group", "time", "standardise", "missing", "missing_flags"), text),
        }
        found = {name: here for name, unread in idle.items() if unread}
        if self.split not in _SPLIT_BY and self.split_by not in (None, self.group):
            found["split_by"] = f"task.split={self.split}"
        if self.missing == "error" and not text:
            found["missing_flags"] = "task.missing=error"
        return found

    @classmethod
    def declares(cls, values: Mapping[str, Any]) -> Mapping[str, Metric]:
        """Those of the goal."""
        names = OF_GOAL.get(values.get("goal") or "classify", ())
        if BALANCED in names and cls._labels(values):
            # accuracies of several labels have no classes to balance
            names = tuple(name for name in names if name != BALANCED)
        return {name: METRICS[name] for name in names}

    @classmethod
    def _labels(cls, values: Mapping[str, Any]) -> bool:
        """Whether a task with these values has several labels: a column may stand for several, which the data tell."""
        target = values.get("target")
        if isinstance(target, (list, tuple)) and len(target) > 1:
            return values.get("goal") in (None, "classify")
        if values.get("goal") not in (None, "classify") or not values.get("path"):
            return False
        with suppress(ConfigError):  # who checks the task says what is wrong
            return cls(**{name: value for name, value in values.items() if name in cls.fields()}).several
        return False

    @cached_property
    def spec(self) -> Spec:
        """What is done with which columns of which files, as they are when it is first asked."""
        if self.path is None and self.goal in TOKENS:
            # the sample is one text, which only time can divide
            return replace(self, path="samples:text.txt", split="time", split_by=None).spec
        known = _VOWELS if self.path is None else {}
        target = (self.target,) if isinstance(self.target, str) else self.target
        if target is None:
            target = known.get("target", ()) if self.goal != "forecast" else ()
        by = self.split_by if self.split_by or self.path else _SPLIT_BY.get(self.split)
        return Spec(
            self.path,
            self.goal,
            self.inputs if self.inputs is not None else known.get("inputs"),  # pyright: ignore[reportArgumentType] - a tuple, see __post_init__
            tuple(target),
            self.group or known.get("group"),
            self.time,
            self.horizon if self.goal in AHEAD else 0,
            self.length if self.per_step else None,
            self.split,
            by,
            tuple(self.shares),
            self.standardise,
            self.missing,
            self.missing_flags,
            self.vocabulary if self.goal in TOKENS else 0,
            None if self.weights in ("none", "balanced") or self.goal in TOKENS else self.weights,
            file_states(self.path),
        )

    def prepared(self) -> Prepared:
        """The file as it is trained on."""
        return prepare(self.spec)

    def data_files(self) -> Sequence[Path]:
        """See `Task.data_files`; a data set is known by its content instead."""
        path = self.spec.path
        return () if isinstance(path, DatasetSource) else table_files(path)

    def data_sets(self) -> Sequence[Mapping[str, Any]]:
        """See `Task.data_sets`."""
        return (self.path.block(),) if isinstance(self.path, DatasetSource) else ()

    @property
    def loss(self) -> Loss:  # pyright: ignore[reportIncompatibleVariableOverride] - see `Task`: fields or properties
        """Cross-entropy of classes, binary cross-entropy of labels, squared error of standardised numbers."""
        if self.goal in ("regress", "forecast"):
            return SQUARED_ERROR
        if self.several:
            return BINARY_CROSS_ENTROPY
        return (
            CROSS_ENTROPY
            if self.weights != "balanced" or self.goal in TOKENS
            else WeightedCrossEntropy(levels.class_weights(self.spec))
        )

    @property
    def asks_host(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] - a property, as `Rflo` has it
        """Where arrays are mapped: the host takes each mini-batch from the disk."""
        return isinstance(self.prepared().inputs, MappedRows)

    @property
    def per_step(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] - see `Task`: fields or properties
        """Of ``label``, ``forecast`` and what comes next."""
        return self.goal in PER_STEP

    @property
    def several(self) -> bool:
        """Whether there are several labels per sequence."""
        return self.prepared().targets.several

    @property
    def tokens(self) -> bool:
        """Whether inputs are symbols: those of texts."""
        return self.goal in TOKENS

    @property
    def n_inputs(self) -> int:
        """Columns, and flags of missing values; or tokens."""
        return self.prepared().recipe.width

    @property
    def output_names(self) -> Sequence[str]:
        """Names of the outputs: classes, target columns, or tokens."""
        return self.prepared().targets.classes

    @property
    def n_outputs(self) -> int:
        """Classes, or target columns."""
        return len(self.output_names)

    @property
    def max_length(self) -> int:
        """Steps of the longest sample of all parts."""
        return self.prepared().longest

    @property
    def samples(self) -> int:
        """Sequences of the training part, or pieces of them."""
        return self.samples_of("train")

    def samples_of(self, split: Split) -> int:
        """Sequences of a part, or pieces of them."""
        return len(self.prepared().samples[split])

    @property
    def _chance(self) -> tuple[float, float]:
        balanced = self.weights == "balanced" and self.goal not in TOKENS
        return levels.of_constant(self.spec, balanced, float(self.tolerance))

    @property
    def chance_loss(self) -> float:
        """Of the best constant output on the training part."""
        return self._chance[0]

    @property
    def chance_error(self) -> float:
        """Of the commonest class, of each label's commoner value, or of the mean, on the training part."""
        return self._chance[1]

    @property
    def _measured(self) -> Sequence[str]:
        return [name for name in OF_GOAL[self.goal] if name != BALANCED or not self.several]

    @property
    def worst(self) -> Mapping[str, float]:
        """Shares of right answers 0, errors in the units of the data 10 x those of the training mean."""
        scale = self.prepared().targets.scale
        far = 0.0 if scale is None else 10 * levels.spread(self.spec)
        own = dict.fromkeys(self._measured, far)
        if PERPLEXITY in own:
            own[PERPLEXITY] = 10.0 * self.n_outputs
        return {**super().worst, **own}

    def batch(self, draws: Draws) -> Batch:
        """Samples of the ids in `draws`; targets [P, B, ...] or [P, T, B, ...]."""
        return batches.batch(self.spec, draws)

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the class is wrong, or the share of wrong labels; with a target per step the share of wrong steps."""
        if self.several:
            wrong = ((outputs > 0) != (batch.targets > 0)) | ~torch.isfinite(outputs)
            return wrong.double().mean(-1)
        if self.goal in ("regress", "forecast"):
            wrong = squared_errors(outputs, batch.targets, self.n_outputs * float(self.tolerance) ** 2)
        else:
            wrong = argmax_errors(outputs, batch.targets)
        return share_of_steps(wrong, batch.mask) if self.per_step and batch.mask is not None else wrong

    def measure(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Mapping[str, Shaped[Tensor, "P B"]]:
        """Accuracy of classes and labels, mean absolute error of numbers."""
        scale = self.prepared().targets.scale
        if scale is None:
            return {ACCURACY: 1 - self.errors(outputs, batch).double()}
        return {MAE: scores.per_sequence(scale, outputs, batch, 1)}

    def collect(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Mapping[str, Shaped[Tensor, "P n ..."]]:
        """Confusions of classes, answers of sequences, squared errors with their weights, costs of tokens."""
        targets = self.prepared().targets
        if targets.scale is not None:
            return scores.of_numbers(targets.scale, outputs, batch)
        if self.goal in TOKENS:
            return scores.of_tokens(outputs, batch)
        return scores.of_labels(outputs, batch) if self.several else scores.of_classes(outputs, batch, self.per_step)

    def summarise(self, collected: Mapping[str, Shaped[Tensor, "P n ..."]]) -> Mapping[str, Shaped[Tensor, " P"]]:
        """Balanced accuracy, F1 and AUROC; the root of the mean squared error; or perplexity."""
        return scores.summary(collected, self.n_outputs)

    def read_new(self, path: str, *, tokens: bool = False) -> NewSequences:
        """Names and inputs [steps, I] of the sequences of another file, with the same columns and numbers."""
        return new_sequences(self.spec, self.prepared().recipe, path, tokens=tokens)

    def preparation(self) -> Mapping[str, Any]:
        """Columns, scale and what stands for gaps; or the vocabulary."""
        return preparation(self.spec)

    def raw_rows(self, count: int) -> Mapping[str, Sequence[Any]]:
        """Of the first test sequences."""
        return raw_rows(self.spec, count)

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Numbers in the units of the data."""
        scale = self.prepared().targets.scale
        return outputs if scale is None else scale.back(outputs)


def _check_name(key: str, value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigError("is no name of a column", key=f"task.{key}", value=value, allowed="a name, or null")


def _check_names(key: str, value: Any) -> None:
    names = value if isinstance(value, tuple) else ()
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        shown = list(value) if isinstance(value, tuple) else value
        allowed = "a list of different names, or null"
        raise ConfigError("is no list of columns", key=f"task.{key}", value=shown, allowed=allowed)
