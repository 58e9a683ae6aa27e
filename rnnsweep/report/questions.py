"""What a paper's table is there to show, answered from our replicas: a sentence with interval, test and power."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rnnsweep.report.comparison import ComparedCell, ReplicaResult
from rnnsweep.report.published import PublishedTable
from rnnsweep.report.statistics import (
    PairedDifference,
    detectable,
    holm,
    paired_difference,
    paired_shares,
    pairs_needed,
    shares_alike,
)
from rnnsweep.report.style import brief
from rnnsweep.wording import counted

LEVEL = 0.05
ROUNDING = 2.0
"""Points above chance that a test on 10 000 sequences may give a network that has learned nothing: four deviations."""


@dataclass(frozen=True)
class Effect:
    """Does one method do better than another? Replicas of one number share their seed and are compared as pairs.

    Attributes:
        text: the question, with its question mark.
        rows: pairs of the table's rows, with the method and without it.
        values: compares the replicas' values; else shares of replicas that solve the task.
        losses: the smaller values are the better ones.
    """

    text: str
    rows: tuple[tuple[str, str], ...]
    values: bool = False
    losses: bool = False

    def answer(self, cells: Sequence[ComparedCell], results: Sequence[ReplicaResult]) -> str:
        """See `comparison.Question`.

        The mean over cells is taken within each replica before replicas are tested: cells of one replica share their
        seed, and counting them one by one would count the luck of that seed as often.
        """
        del cells
        single = list(self._cells(results))
        if not single:
            return f"{self.text} Not run."
        # only replicas that ran everywhere: a mean over different cells would mix their difficulty in
        common = set.intersection(*(set(gains) for _, gains, _ in single))
        pooled = [sum(gains[replica] for _, gains, _ in single) / len(single) for replica in sorted(common)]
        # gains against no gain
        whole = paired_difference(pooled, [0.0] * len(pooled))
        corrected = holm([test.p for _, _, test in single])
        apart = [
            f"{name} {_points(test)}"
            for (name, _, test), p in zip(single, corrected, strict=True)
            if p < LEVEL and test.pairs >= pairs_needed()
        ]
        measured = f"{_measured(whole, len(single))}{_apart(apart, len(single))}"
        if self.values and not self._learned(results):
            none = f"in no cell of {len(single)} has a network, with it or without, learned more than one answer to all"
            return f"{self.text} Cannot be told: {none}. Of what chance left: {measured}"
        return f"{self.text} {_verdict(whole)} {measured}"

    def _learned(self, results: Sequence[ReplicaResult]) -> bool:
        """Whether a replica of either method is better than chance, or may be: where that is not known."""
        sign, asked = -1.0 if self.losses else 1.0, {row for pair in self.rows for row in pair}
        return any(
            result.chance is None or sign * result.value > sign * result.chance + ROUNDING
            for result in results
            if result.row in asked and result.value is not None
        )

    def _cells(self, results: Sequence[ReplicaResult]) -> Iterator[tuple[str, dict[int, float], PairedDifference]]:
        """Per cell that both methods ran: name, gain by replica in points, and the test of its pairs."""
        for with_it, without in self.rows:
            # a set's order would change between runs
            for column in dict.fromkeys(result.column for result in results):
                first, second = (self._values(results, row, column) for row in (with_it, without))
                both = sorted(first.keys() & second.keys())
                if not both:
                    continue
                pair = [first[replica] for replica in both], [second[replica] for replica in both]
                gains = {replica: first[replica] - second[replica] for replica in both}
                yield f"{with_it}, {column}", gains, self._test(*pair)

    def _values(self, results: Sequence[ReplicaResult], row: str, column: str) -> dict[int, float]:
        own = [result for result in results if (result.row, result.column) == (row, column)]
        if self.values:
            sign = -1.0 if self.losses else 1.0
            return {result.replica: sign * result.value for result in own if result.value is not None}
        return {result.replica: 100.0 * result.solved for result in own}

    def _test(self, first: list[float], second: list[float]) -> PairedDifference:
        if self.values:
            return paired_difference(first, second)
        shares = paired_shares([value > 0 for value in first], [value > 0 for value in second])
        low, high = ((None if end is None else 100 * end) for end in (shares.low, shares.high))
        return PairedDifference(shares.pairs, 100 * shares.mean, low, high, shares.p, 100 * shares.spread)


def _verdict(whole: PairedDifference) -> str:
    if whole.pairs < pairs_needed():
        return (
            f"Cannot be told from {counted(whole.pairs, 'replica')} per cell, {pairs_needed()} are the fewest that can:"
        )
    if whole.p >= LEVEL:
        return "Undecided:"
    return "Yes:" if whole.mean > 0 else "No, the opposite:"


def _points(test: PairedDifference) -> str:
    interval = "" if test.low is None or test.high is None else f" [{brief(test.low, '+')}, {brief(test.high, '+')}]"
    return f"{brief(test.mean, '+')}{interval}"


def _measured(whole: PairedDifference, cells: int) -> str:
    text = f"{_points(whole)} points, mean over {counted(cells, 'cell')}, {counted(whole.pairs, 'pair')} by seed"
    if whole.pairs < pairs_needed():
        return f"{text}."
    detected = detectable(whole.pairs) * whole.spread
    return f"{text}, sign-flip p = {whole.p:.2g}; so many pairs find {brief(detected)} points in 4 of 5 cases."


def _apart(names: Sequence[str], cells: int) -> str:
    """The cells that stand on their own after correction for their number."""
    if cells < 2:
        return ""
    return f" By itself (Holm over {cells} cells): {'; '.join(names) if names else 'none'}."


@dataclass(frozen=True)
class AsPublished:
    """Do our replicas solve the task as often as the published ones? Fisher's exact test per cell, Holm over cells.

    Attributes:
        text: the question.
        table: where the published shares and their replicas are.
    """

    text: str
    table: PublishedTable

    def answer(self, cells: Sequence[ComparedCell], results: Sequence[ReplicaResult]) -> str:
        """See `comparison.Question`."""
        theirs = self.table.replicas or 0
        names: list[str] = []
        counts: list[tuple[int, int, int, int]] = []
        for cell in cells:
            published = self.table.cell(cell.row, cell.column)
            own = [result.solved for result in results if (result.row, result.column) == (cell.row, cell.column)]
            if own and published is not None and published.value is not None:
                # papers print shares; the test needs counts
                counts.append((sum(own), len(own), round(published.value / 100 * theirs), theirs))
                names.append(f"{cell.row} {_beside(counts[-1:])}")
        if not counts:
            return f"{self.text} Not run."
        corrected = holm([shares_alike([one]) for one in counts])
        apart = [f"{name} (p = {p:.2g})" for name, p in zip(names, corrected, strict=True) if p < LEVEL]
        verdict = f"No: {'; '.join(apart)}" if apart else f"No cell contradicts it, of {counted(len(counts), 'cell')}"
        smallest = min(count for _, count, _, _ in counts)
        beside = f"{counted(smallest, 'replica')} beside {theirs}{_weak(smallest, theirs, len(counts))}"
        told = f"{self.text} {verdict} (Fisher's exact test, Holm at 5 %; {beside})."
        if len(counts) == 1:
            return told
        # at once, what no cell shows by itself
        return f"{told} All cells together: {_beside(counts)}, p = {shares_alike(counts):.2g} (exact, cell by cell)."


def _beside(counts: Sequence[tuple[int, int, int, int]]) -> str:
    won, count, known, theirs = (sum(column) for column in zip(*counts, strict=True))
    return f"{won} of {count} against {known} of {theirs}"


def _weak(ours: int, theirs: int, cells: int) -> str:
    """What so few replicas cannot show at all: whether even none beside all would be told apart in a cell."""
    nothing = shares_alike([(0, ours, theirs, theirs)]) * cells >= LEVEL
    return ", which could not show any difference" + (" in one" if cells > 1 else "") if nothing else ""
