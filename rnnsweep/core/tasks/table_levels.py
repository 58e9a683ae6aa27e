"""What the training part of a user's file says of classes and of chance."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from rnnsweep.core.datasets.table_preparing import Spec, prepare
from rnnsweep.core.tasks import chance


def training_targets(spec: Spec) -> np.ndarray:
    """Targets of the training part that count: of its sequences, or of all steps of its samples."""
    prepared = prepare(spec)
    targets, samples = prepared.targets, prepared.samples["train"]
    if not spec.per_step:
        return targets.values[samples[:, 2]]
    rows = np.concatenate([np.arange(first, first + steps) for first, steps, _ in samples]) + spec.ahead
    return targets.values[rows[targets.known[rows]]]


@lru_cache(maxsize=16)
def class_shares(spec: Spec) -> np.ndarray:
    """Share of each class, [C]."""
    counts = np.bincount(training_targets(spec), minlength=len(prepare(spec).targets.classes))
    return counts / counts.sum()


@lru_cache(maxsize=16)
def class_weights(spec: Spec) -> tuple[float, ...]:
    """As scikit-learn's "balanced": the inverse of the share; the mean over training targets is 1."""
    shares = class_shares(spec)
    return tuple((1 / (len(shares) * shares)).tolist())


@lru_cache(maxsize=16)
def of_constant(spec: Spec, balanced: bool, tolerance: float) -> tuple[float, float]:
    """Loss and error of the best constant output on the training part."""
    targets = prepare(spec).targets
    if targets.scale is not None:
        return chance.of_numbers(training_targets(spec), tolerance)
    if targets.several:
        return chance.of_labels(training_targets(spec))
    return chance.of_classes(class_shares(spec), np.array(class_weights(spec)) if balanced else None)


def spread(spec: Spec) -> float:
    """Root of the mean squared error of the training mean, in the units of the data."""
    scale = prepare(spec).targets.scale
    assert scale is not None
    values = scale.back(training_targets(spec).astype(np.float64))
    return float(np.sqrt(((values - values.mean(0)) ** 2).mean()))
