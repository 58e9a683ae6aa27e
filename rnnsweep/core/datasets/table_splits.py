"""Which sequences, or which steps of them, are for training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnsweep.core.datasets.dataset_files import SPLITS, part_of
from rnnsweep.core.datasets.table_sequences import Sequences
from rnnsweep.core.rng import Split
from rnnsweep.errors import ConfigError

_SHORT: dict[str, Split] = {"val": "valid", "dev": "valid", "tr": "train", "te": "test"}
_GIVEN = "train, valid or test"


@dataclass(frozen=True)
class Segment:
    """Steps of one sequence that are for one part.

    Attributes:
        start, end: rows in `Sequences.order`; end is exclusive.
        sequence: its number.
        part: what it is for.
    """

    start: int
    end: int
    sequence: int
    part: Split


def segments(
    sequences: Sequences, split: str, by: str | None, shares: Sequence[float], time: str | None, cut: bool
) -> list[Segment]:
    """Share the sequences among the parts.

    Args:
        sequences: all of them.
        split: ``random``: by a hash of each sequence, so that neither order nor seed matter; ``given``: column `by`;
            ``group``: as random, whole groups of column `by` together; ``time``: the first for training, the last for
            the test.
        by: see `split`.
        shares: of training, validation and test.
        time: column that tells which sequence is first; None: the order of the file. Of ``time`` only.
        cut: ``time`` cuts every sequence instead of putting whole ones in a row.

    Returns:
        In an order that does not depend on that of the file, but for ``time``; each part has one or more.

    Raises:
        ConfigError: too few sequences, or a column that is not as said.
    """
    if split == "time" and cut:
        return _cut(sequences, shares)
    digests = sequences.digests()
    order = sorted(range(len(sequences)), key=lambda i: digests[i])
    if split == "given":
        parts = _given(sequences, by or "split", order, shares)
    elif split == "group":
        parts = _by_group(sequences, by, shares)
    else:
        if split == "time":
            order = _by_time(sequences, time)
        parts = dict(zip(order, _in_a_row(sequences, len(sequences), shares), strict=True))
    starts = sequences.starts
    return [Segment(int(starts[i]), int(starts[i + 1]), i, parts[i]) for i in order]


def _in_a_row(sequences: Sequences, count: int, shares: Sequence[float], what: str = "sequences") -> list[Split]:
    """Parts of so many things in order: as many for each as `shares` say, one at least."""
    if count < len(SPLITS):
        things = what if count > 1 else what[:-1]
        hint = "task.group says which sequence a row belongs to; task.split=time cuts those with a target at each step."
        raise ConfigError(
            f"{sequences.table.path} holds {count} {things}, too few for training, validation and test",
            key="task.split",
            hint=hint,
        )
    valid, test = (max(1, round(count * share / sum(shares))) for share in shares[1:])
    # for small numbers: training keeps one at least
    while valid + test >= count:
        valid, test = max(1, valid - 1), max(1, test - 1)
    sizes = (count - valid - test, valid, test)
    return [part for part, size in zip(SPLITS, sizes, strict=True) for _ in range(size)]


def _given(sequences: Sequences, by: str, order: Sequence[int], shares: Sequence[float]) -> dict[int, Split]:
    """Parts as a column says; one that it never names is taken from the training sequences."""
    parts: dict[int, Split] = {}
    for index, name in enumerate(sequences.constant(by, "task.split_by")):
        part = _SHORT.get((name or "").lower()) or part_of(name or "")
        if part is None:
            row = int(sequences.order[sequences.starts[index]])
            raise sequences.table.wrong(row, by, "is no part", name, allowed=_GIVEN)
        parts[index] = part
    if "train" not in parts.values():
        problem = f"{sequences.table.path} has no row for training"
        raise ConfigError(problem, key="task.split_by", value=by, allowed=_GIVEN)
    for part, share in zip(SPLITS[1:], shares[1:], strict=True):
        if part not in parts.values():
            rest = [index for index in order if parts[index] == "train"]
            taken = max(1, round(len(rest) * share / sum(shares)))
            if taken >= len(rest):
                problem = f"{sequences.table.path} has no {part} sequences, and too few for training to take them from"
                raise ConfigError(problem, key="task.split_by", value=by, allowed=_GIVEN)
            parts |= dict.fromkeys(rest[-taken:], part)
    return parts


def _by_group(sequences: Sequences, by: str | None, shares: Sequence[float]) -> dict[int, Split]:
    """Whole groups, in the order of a hash of their names, as many as come nearest to the shares."""
    from hashlib import sha256

    if by is None:
        raise ConfigError(
            "is needed by task.split=group", key="task.split_by", value="null", allowed=tuple(sequences.table.columns)
        )
    names = [name or "" for name in sequences.constant(by, "task.split_by")]
    groups = sorted(set(names), key=lambda name: sha256(name.encode()).digest())
    _in_a_row(sequences, len(groups), shares, what=f"groups of {by}")
    sizes = np.array([names.count(group) for group in groups]) if len(groups) < 100 else _counts(names, groups)
    # the middle of a group decides, so that no part is off by more than half a group
    middles = (np.cumsum(sizes) - sizes / 2) / len(names)
    ends = np.cumsum(shares) / sum(shares)
    places = np.searchsorted(ends, middles).clip(max=2)
    # one at least for each
    places[0], places[-1] = 0, 2
    if 1 not in places:
        places[-2] = 1
    parts = {group: SPLITS[place] for group, place in zip(groups, places, strict=True)}
    return {index: parts[name] for index, name in enumerate(names)}


def _counts(names: Sequence[str], groups: Sequence[str]) -> np.ndarray:
    from collections import Counter

    counted = Counter(names)
    return np.array([counted[group] for group in groups])


def _by_time(sequences: Sequences, time: str | None) -> list[int]:
    """Sequences by their first step."""
    if time is None:
        return list(range(len(sequences)))
    column = sequences.table.columns[time]
    # dates that are written as texts sort as texts do: year first
    first = [column[sequences.order[start]] for start in sequences.starts[:-1]]
    return sorted(range(len(sequences)), key=lambda i: first[i])


def _cut(sequences: Sequences, shares: Sequence[float]) -> list[Segment]:
    """Every sequence's first steps for training, then validation, then test."""
    found: list[Segment] = []
    ends = np.cumsum([0, *shares]) / sum(shares)
    for index, (start, end) in enumerate(zip(sequences.starts[:-1], sequences.starts[1:], strict=True)):
        places = [int(start + round((end - start) * share)) for share in ends]
        found += [
            Segment(first, last, index, part)
            for part, first, last in zip(SPLITS, places[:-1], places[1:], strict=True)
            if last > first
        ]
    return found
