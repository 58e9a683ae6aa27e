"""A published table beside ours: cells with replicas and confidence intervals, answers, as markdown and CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pandas as pd

from rnnsweep.report.data import Frame
from rnnsweep.report.published import PublishedTable
from rnnsweep.report.statistics import mean_interval, wilson
from rnnsweep.report.style import brief, number
from rnnsweep.sweep.censoring import censored_median


@dataclass(frozen=True)
class ReplicaResult:
    """What one replica came to.

    Attributes:
        row, column: its cell's place; `column` without "best" or "mean".
        solved: whether it solved the task, confirmed on fresh sequences.
        solved_at: the update at which it did, or None.
        step: updates that it was trained.
        value: in the table's unit, on fresh sequences, where the table is one of values.
        replica: its number; replicas of one number share data and initial pattern in all cells.
        chance: the value of the best answer that is the same for all sequences; None where it is not known.
    """

    row: str
    column: str
    solved: bool
    solved_at: int | None
    step: int
    value: float | None = None
    replica: int = 0
    chance: float | None = None


@dataclass(frozen=True)
class ComparedCell:
    """One cell of the comparison.

    Attributes:
        published: as printed in the paper; empty where it prints nothing.
        ours: our number, in the table's unit; None where nothing was run.
        low, high: 95 % confidence interval, where there is one.
        replicas: how many `ours` rests on.
        note: what a reader must know beside it.
    """

    row: str
    column: str
    published: str
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    replicas: int = 0
    note: str = ""

    @property
    def text(self) -> str:
        """Ours as text; empty where nothing was run."""
        if self.ours is None:
            return ""
        interval = "" if self.low is None or self.high is None else f" [{brief(self.low)}, {brief(self.high)}]"
        return f"{brief(self.ours)}{interval}" + (f" {self.note}" if self.note else "")


class Question(Protocol):
    """What a paper's table is there to show, see `questions`."""

    def answer(self, cells: Sequence[ComparedCell], results: Sequence[ReplicaResult]) -> str:
        """The question and its answer from our replicas, in a sentence or two."""
        ...


@dataclass(frozen=True)
class Comparison:
    """A published table beside what was run.

    Attributes:
        table: the paper's.
        scale: smoke, small, medium or full.
        cells: all of the table's cells in order, those not run without a number.
        deviations: from the paper's setting, in words.
        results: every replica.
        answers: the paper's questions, each answered in a sentence.
    """

    table: PublishedTable
    scale: str
    cells: tuple[ComparedCell, ...]
    deviations: tuple[str, ...]
    results: tuple[ReplicaResult, ...]
    answers: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Unit of the cells, and how many replicas stand behind the published ones and ours."""
        ours = sorted({cell.replicas for cell in self.cells if cell.replicas})
        parts = [f"published: {self.table.replicas}"] if self.table.replicas else []
        parts += [f"ours: {' or '.join(map(str, ours))}"] if ours else []
        return f"{self.table.unit}; replicas per cell: {', '.join(parts)}" if parts else self.table.unit

    def cell(self, row: str, column: str) -> ComparedCell:
        """One cell."""
        return next(cell for cell in self.cells if (cell.row, cell.column) == (row, column))


def compare(
    table: PublishedTable,
    scale: str,
    results: Sequence[ReplicaResult],
    deviations: Sequence[str],
    questions: Sequence[Question] = (),
) -> Comparison:
    """Fill the table's cells with what was run.

    Columns that end in "best" or "mean" are the best and the mean value over the replicas of the column; all others are
    the share of replicas that solved the task, in %.
    """
    cells = []
    for place in table.cells:
        column, _, kind = place.column.rpartition(" ")
        valued = kind in ("best", "mean")
        own = [r for r in results if r.row == place.row and r.column == (column if valued else place.column)]
        empty = ComparedCell(place.row, place.column, place.printed)
        cells.append(_valued(table, empty, own, kind) if valued else _solved(empty, own))
    answers = tuple(question.answer(cells, results) for question in questions)
    return Comparison(table, scale, tuple(cells), tuple(deviations), tuple(results), answers)


def _valued(table: PublishedTable, cell: ComparedCell, own: Sequence[ReplicaResult], kind: str) -> ComparedCell:
    values = [result.value for result in own if result.value is not None]
    if not values:
        return cell
    if kind == "best":
        return replace(cell, ours=min(values) if table.losses else max(values), replicas=len(values))
    cell = replace(cell, ours=sum(values) / len(values), replicas=len(values))
    low, high = mean_interval(values, 0.0, math.inf if table.losses else 100.0)
    return cell if math.isinf(high) else replace(cell, low=low, high=high)


def _solved(cell: ComparedCell, own: Sequence[ReplicaResult]) -> ComparedCell:
    if not own:
        return cell
    count = sum(result.solved for result in own)
    low, high = wilson(count, len(own))
    times = [float(result.solved_at) for result in own if result.solved and result.solved_at is not None]
    # over all replicas: those that never solved count as later than any other
    middle = censored_median(times, len(own))
    trained = max(result.step for result in own)
    note = f"({number(middle)} updates)" if middle is not None else f"(by {number(trained)} updates)"
    share = 100 * count / len(own)
    return replace(cell, ours=share, low=100 * low, high=100 * high, replicas=len(own), note=note)


def frame(comparison: Comparison) -> Frame:
    """The cells as a frame: the CSV file."""
    return pd.DataFrame([vars(cell) for cell in comparison.cells])


def results_frame(comparison: Comparison) -> Frame:
    """Every replica as a frame: the CSV file."""
    return pd.DataFrame([vars(result) for result in comparison.results])


def markdown(comparison: Comparison, picture: str | None = None) -> str:
    """The comparison as a page: published and ours side by side in every cell, deviations below."""
    table = comparison.table
    lines = [
        f"# {table.name}, scale {comparison.scale}",
        "",
        f"{table.title}. {comparison.unit}.",
        "",
        f"Source: {table.source}.",
    ]
    lines += ["", "Each cell: published / ours [95 % interval]. A cell without our number was not run.", ""]
    lines += ["| | " + " | ".join(table.columns) + " |", "|---" * (len(table.columns) + 1) + "|"]
    for row in table.rows:
        texts = []
        for column in table.columns:
            cell = comparison.cell(row, column)
            texts.append(f"{_plain(cell.published) or '–'} / {cell.text}".strip())
        lines.append(f"| {row} | " + " | ".join(texts) + " |")
    if comparison.answers:
        lines += ["", "## The paper's questions", "", *(f"- {answer}" for answer in comparison.answers)]
    if picture:
        lines += ["", f"![ours beside the published numbers]({picture})"]
    lines += [
        "",
        "## Deviations from the paper's setting",
        "",
        *(f"- {text}" for text in comparison.deviations or ["none"]),
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    # it would end a cell
    return text.replace("|", r"\|")
