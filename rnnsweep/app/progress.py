"""Live progress of a sweep: bars on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import IO, TYPE_CHECKING, Any

from rnnsweep.sweep.progress import Progress
from rnnsweep.sweep.states import TrialState

if TYPE_CHECKING:
    from rich.console import RenderableType

PLAIN_S = 5.0
DRAW_S = 0.2
BAR = 40
FIRST_RUN = "a machine's first run compiles its loops"
PARTS = (
    (TrialState.COMPLETE, "green", "█"),
    (TrialState.PRUNED, "yellow", "▓"),
    (TrialState.FAILED, "red", "▒"),
    (TrialState.RUNNING, "blue", "░"),
)


class LiveProgress:
    """Shows a sweep's progress; draws at most a few times per second, whatever the driver's pace.

    Use as a context manager, so that the terminal is left in order.

    Args:
        name: the sweep.
        stream: where to; standard error by default, so that standard output holds results only.
        plain: lines instead of bars; by default where `stream` is no terminal.
    """

    def __init__(self, name: str, stream: IO[str] | None = None, plain: bool | None = None) -> None:
        self.name, self._stream = name, stream or sys.stderr
        self._plain = not self._stream.isatty() if plain is None else plain
        self._shown, self._began = float("-inf"), time.monotonic()
        self._last: Progress | None = None
        self._live: Any = None

    def __enter__(self) -> LiveProgress:
        self._began = time.monotonic()
        if not self._plain:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Leave the last figures as a line; what is said from now on comes below. A second time does nothing."""
        live, self._live = self._live, None
        last, self._last = self._last, None
        with contextlib.suppress(OSError):  # a terminal that was closed meanwhile
            if live is not None:
                live.stop()
            if last is not None:
                self._write(self.line(last))

    def say(self, text: str) -> None:
        """A message among the bars or lines."""
        if self._live is not None:
            self._live.console.print(text, markup=False)
        else:
            self._write(text)

    def update(self, progress: Progress) -> None:
        """Take the newest figures, and show them if it is time."""
        now = time.monotonic()
        self._last = progress
        if now - self._shown < (PLAIN_S if self._plain else DRAW_S):
            return
        self._shown = now
        if self._live is not None:
            self._live.update(self.bars(progress), refresh=True)
        else:
            self._write(self.line(progress))

    def line(self, progress: Progress) -> str:
        """The figures as one plain line."""
        counts = progress.trials
        states = " ".join(f"{counts[state]} {state.value.lower()}" for state in TrialState if counts.get(state))
        head = f"[{clock(time.monotonic() - self._began)}] {self.name}: {states or 'starting'}"
        return " · ".join([head, *self._figures(progress)])

    def bars(self, progress: Progress) -> RenderableType:
        """The figures as a bar and two lines for a terminal."""
        from rich.console import Group
        from rich.text import Text

        total = progress.total or sum(progress.trials.values()) or 1
        bar, used, finished = Text(f"{self.name}  "), 0, 0
        for state, colour, glyph in PARTS:
            count = progress.trials.get(state, 0)
            width = min(BAR - used, round(BAR * count / total))
            bar.append(glyph * width, style=colour)
            used += width
            finished += count if state.finished else 0
        bar.append("·" * (BAR - used), style="dim")
        bar.append(f"  {finished}/{progress.total or '–'} trials")
        counts = (f"{glyph} {progress.trials.get(state, 0)} {state.value.lower()}" for state, _, glyph in PARTS)
        told = [clock(time.monotonic() - self._began), *self._figures(progress), f"{progress.workers} workers"]
        return Group(bar, Text("   ".join(counts)), Text(" · ".join(told)))

    def _figures(self, progress: Progress) -> list[str]:
        told = [_best(progress)]
        if progress.trials.get(TrialState.RUNNING) and not progress.updates:
            told.append(FIRST_RUN)
        if progress.updates_per_s > 0:
            told.append(f"{progress.updates_per_s:.0f} updates/s")
        if progress.left_s:
            told.append(f"at most {clock(progress.left_s)} left")
        return told

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def _best(progress: Progress) -> str:
    """The best trial so far, and how many share its objective."""
    if progress.best is None:
        return "no result yet"
    ties = f", {progress.tied} tie" if progress.tied else ""
    return f"best {progress.best[1]:.4g} (trial {progress.best[0]}{ties})"


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss.

    Example:
        >>> clock(75), clock(3700)
        ('1:15', '1:01:40')
    """
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
