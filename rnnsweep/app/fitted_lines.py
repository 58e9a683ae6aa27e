"""Lines that fit a terminal of any width: what matters least is left out, and nothing wraps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text


@dataclass(frozen=True)
class Part:
    """A part of a line.

    Attributes:
        text: what it says.
        weight: the lightest part is left out first, of equals the last.
        short: what it says where that is the only way to keep it; empty: it has no shorter form.
    """

    text: str
    weight: int
    short: str = ""


def fitted(parts: Sequence[Part], between: str, width: int) -> str:
    """The parts in their order, as many as there is room for: the lightest go first, then what is left is shortened.

    Example:
        >>> fitted([Part("best 0.25 (trial 1)", 2, "best 0.25"), Part("2 workers", 1)], " · ", 24)
        'best 0.25 (trial 1)'
        >>> fitted([Part("best 0.25 (trial 1)", 2, "best 0.25"), Part("2 workers", 1)], " · ", 12)
        'best 0.25'
    """
    kept = list(parts)
    while len(kept) > 1 and len(between.join(part.text for part in kept)) > width:
        short = between.join(part.short or part.text for part in kept)
        lightest = min(reversed(kept), key=lambda part: part.weight)
        if len(short) <= width and lightest.weight >= _KEPT:
            return short
        kept.remove(lightest)
    line = between.join(part.text for part in kept)
    return line if len(line) <= width else cropped(between.join(part.short or part.text for part in kept), width)


_KEPT = 5
"""Weight from which a part is worth more than the long forms of the others."""


def cropped(text: str, width: int) -> str:
    """A text, or its beginning.

    Example:
        >>> cropped("temporal_order", 9), cropped("srn", 9), cropped("srn", 0)
        ('temporal…', 'srn', '')
    """
    return text if len(text) <= width else text[: width - 1] + "…" if width > 0 else ""


class FittedLines:
    """Lines for rich that are made for the width at which they are drawn.

    Attributes:
        lines: width -> the lines.
    """

    def __init__(self, lines: Callable[[int], list[Text]]) -> None:
        self.lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's protocol."""
        yield from self.lines(options.max_width)
