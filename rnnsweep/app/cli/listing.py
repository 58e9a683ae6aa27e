"""Tables that fit a terminal: a column that does not fit is left out and named; no number loses its digits."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import typer

GAP = 2
"""Blanks between columns."""
SHORTEST_TEXT = 16
"""A text is not cut below this; its column is left out instead."""


@dataclass
class Column:
    """One column.

    Attributes:
        name: its head.
        cells: one text per row.
        rank: what is left out first where not all fit: the greatest; 0 always stays.
        text: words, which may be cut to the width that is left; numbers never are.
        key: what `--columns` calls it.
    """

    name: str
    cells: Sequence[str]
    rank: int = 0
    text: bool = False
    key: str = ""

    def __post_init__(self) -> None:
        self.name, self.cells = printable(self.name), [printable(cell) for cell in self.cells]

    @property
    def width(self) -> int:
        """Of the widest cell or the head."""
        return max(map(_width, (self.name, *self.cells)))

    @property
    def least(self) -> int:
        """The width that it cannot go below."""
        return min(self.width, max(SHORTEST_TEXT, _width(self.name))) if self.text else self.width


def printable(text: str) -> str:
    r"""Text without control characters: what somebody typed as a choice must not steer the reader's terminal.

    Example:
        >>> printable("red\x1b[31m")
        'red\\x1b[31m'
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text
    )


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # East Asian letters take two places

    return cell_len(text)


def terminal_width() -> int | None:
    """Columns of the terminal, or of COLUMNS; None where output goes to a file or pipe, which take any width."""
    if os.environ.get("COLUMNS", "").isdecimal():
        return int(os.environ["COLUMNS"]) or None
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_table(columns: Sequence[Column], *, title: str | None = None, width: int | None = None) -> list[Column]:
    """Print a table; returns the columns that were left out.

    Args:
        columns: in their order.
        title: a line above.
        width: places in a line; None: as many as it takes.
    """
    kept, left_out = fit(columns, width)
    cut = cut_to(kept, width)
    if title:
        typer.echo(title)
    bold = sys.stdout.isatty()
    head = _line([_padded(column, column.name, cut[index]) for index, column in enumerate(kept)])
    typer.echo(typer.style(head, bold=True) if bold else head)
    for row in range(len(kept[0].cells)):
        typer.echo(_line([_padded(column, column.cells[row], cut[index]) for index, column in enumerate(kept)]))
    return left_out


def fit(columns: Sequence[Column], width: int | None) -> tuple[list[Column], list[Column]]:
    """Columns that fit, and those that do not; the last of the highest rank goes first."""
    kept, left_out = list(columns), []
    while width is not None and sum(column.least + GAP for column in kept) - GAP > width:
        highest = max(column.rank for column in kept)
        if highest == 0:
            break
        gone = [column for column in kept if column.rank == highest][-1]
        kept.remove(gone)
        left_out.append(gone)
    return kept, [column for column in columns if column in left_out]


def cut_to(columns: Sequence[Column], width: int | None) -> list[int]:
    """The width of each column: texts share what numbers leave."""
    widths = [column.width for column in columns]
    over = 0 if width is None else sum(widths) + GAP * (len(columns) - 1) - width
    for index in sorted(range(len(columns)), key=lambda index: -widths[index]):
        less = max(0, min(over, widths[index] - columns[index].least))
        widths[index], over = widths[index] - less, over - less
    return widths


def _padded(column: Column, cell: str, width: int) -> str:
    if _width(cell) > width:
        cell = cell[: max(0, width - 1)] + "…"
    blanks = " " * (width - _width(cell))
    return cell + blanks if column.text else blanks + cell


def _line(cells: Sequence[str]) -> str:
    return (" " * GAP).join(cells).rstrip()
