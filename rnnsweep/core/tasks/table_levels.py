"""What the training part of a user's file says of classes and of chance."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from rnnsweep.core.datasets.table_inputs import BLOCK
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


def training_weights(spec: Spec) -> np.ndarray | None:
    """Weights of `training_targets`, float64 [n]; None: all alike."""
    prepared = prepare(spec)
    if prepared.weights is None:
        return None
    samples = prepared.samples["train"]
    if not spec.per_step:
        return prepared.weights[samples[:, 2]].astype(np.float64)
    known = prepared.targets.known
    counts = [int(known[first + spec.ahead : first + spec.ahead + steps].sum()) for first, steps, _ in samples]
    return np.repeat(prepared.weights[samples[:, 2]], counts).astype(np.float64)


def _blocks(spec: Spec) -> chance.Blocks:
    """`training_targets` and `training_weights` piece by piece, in pieces that are the same for mapped arrays."""
    prepared = prepare(spec)
    if prepared.aims is None:
        values, weights = training_targets(spec), training_weights(spec)
        size = max(1, BLOCK // values.shape[1])
        for start in range(0, len(values), size):
            part = slice(start, start + size)
            yield values[part], None if weights is None else weights[part]
        return
    size = max(1, BLOCK // len(prepared.targets.classes))
    for samples, rows in _pieces(prepared.samples["train"], size):
        weights = None if prepared.weights is None else prepared.weights[samples].astype(np.float64)
        yield prepared.aims.take(rows + spec.ahead), weights


def _pieces(samples: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sequence and row of each step of the samples int64 [n, 3], so many at a time."""
    held: list[tuple[np.ndarray, np.ndarray]] = []
    room = size
    for first, steps, sequence in samples.tolist():
        start = 0
        while start < steps:
            taken = min(room, steps - start)
            held.append((np.full(taken, sequence), np.arange(first + start, first + start + taken)))
            start, room = start + taken, room - taken
            if not room:
                yield tuple(map(np.concatenate, zip(*held, strict=True)))  # pyright: ignore[reportReturnType] - two of them
                held, room = [], size
    if held:
        yield tuple(map(np.concatenate, zip(*held, strict=True)))  # pyright: ignore[reportReturnType] - as above


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
        return chance.of_numbers(lambda: _blocks(spec), tolerance)
    weights = training_weights(spec)
    if targets.several:
        return chance.of_labels(training_targets(spec), weights)
    shares = class_shares(spec)
    if weights is not None:
        weighed = np.bincount(training_targets(spec), weights, minlength=len(shares)) / len(weights)
        # the best constant output is of the classes that count, an error counts whatever its weight
        return chance.of_classes(weighed)[0], chance.of_classes(shares)[1]
    return chance.of_classes(shares, np.array(class_weights(spec)) if balanced else None)


def spread(spec: Spec) -> float:
    """Root of the mean squared error of the training mean, in the units of the data."""
    scale = prepare(spec).targets.scale
    assert scale is not None

    def blocks() -> chance.Blocks:
        return ((scale.back(values.astype(np.float64)), None) for values, _ in _blocks(spec))

    mean, total, count = chance.mean_of(blocks()), 0.0, 0
    for values, _ in blocks():
        total += float(((values - mean) ** 2).sum())
        count += values.size
    return float(np.sqrt(total / count))
