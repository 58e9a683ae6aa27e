"""Live progress of a sweep: bars on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from rnnsweep.app.fitted_lines import FittedLines, Part, cropped, fitted
from rnnsweep.sweep.progress import Progress
from rnnsweep.sweep.session import Outcome
from rnnsweep.sweep.states import TrialState
from rnnsweep.wording import counted

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

PLAIN_S = 5.0
"""Seconds between plain lines that have news."""
SILENCE_S = 30.0
"""Seconds after which a plain line says that work goes on, without news."""
DRAWS_PER_S = 4
BAR, SHORT_BAR = 40, 10
"""Places of the bar: as many as there is room for, between these."""
FIRST_RUN = "compiling the loops for this machine (first run only)"
PARTS = (
    (TrialState.COMPLETE, "green", "█"),
    (TrialState.PRUNED, "yellow", "▓"),
    (TrialState.FAILED, "red", "▒"),
    (TrialState.PAUSED, "magenta", "▚"),
    (TrialState.RUNNING, "blue", "░"),
)


class Watcher:
    """Told what a run does, from its first word to its last; this one shows nothing.

    Attributes:
        name: the sweep.
        on_result: called with how the session ended, before mirrors are waited for.
    """

    def __init__(self, name: str, on_result: Callable[[Outcome], None] | None = None) -> None:
        self.name, self.on_result = name, on_result

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *unused: object) -> None:
        return

    def phase(self, text: str) -> None:
        """What is done before there are figures."""

    def asking(self, ask: Callable[[str], str]) -> Callable[[str], str]:
        """The same question, asked where nothing moves meanwhile."""
        return ask

    def note(self, text: str) -> None:
        """What whoever waits should know before."""

    def update(self, progress: Progress) -> None:
        """The newest figures."""

    def ended(self, outcome: Outcome) -> None:
        """The session has ended; what remains is to bring the mirrors up to date."""
        if self.on_result is not None:
            self.on_result(outcome)

    def waiting(self, text: str) -> None:
        """What is waited for after that."""


class LiveProgress(Watcher):
    """Shows a sweep's progress; draws a few times per second, whatever the driver's pace.

    The driver may be silent for a while: it imports, or trains a rung itself. So a thread draws, and between two words
    of the workers it moves the bar by the rate so far, never beyond what the rungs in progress can bring.

    Use as a context manager, so that the terminal is left in order.

    Args:
        name: the sweep.
        on_result: see `Watcher`.
        stream: where to; standard error by default, so that standard output holds results only.
        plain: lines instead of bars; by default where `stream` is no terminal.
    """

    def __init__(
        self,
        name: str,
        on_result: Callable[[Outcome], None] | None = None,
        *,
        stream: IO[str] | None = None,
        plain: bool | None = None,
    ) -> None:
        super().__init__(name, on_result)
        self._stream = stream or sys.stderr
        self._plain = not self._stream.isatty() if plain is None else plain
        self._began = time.monotonic()
        self._written = float("-inf")
        self._said = ""
        self._phase = ""
        self._last: Progress | None = None
        self._changed = self._began
        self._live: Any = None
        self._done = threading.Event()

    def __enter__(self) -> LiveProgress:
        self._began = time.monotonic()
        if self._plain:
            threading.Thread(target=self._break_silence, name="progress", daemon=True).start()
            return self
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=DRAWS_PER_S, transient=True)
        self._live.start(refresh=True)
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the terminal as it was, with the last figures as a line."""
        if self._done.is_set():
            return
        self._done.set()
        with contextlib.suppress(OSError):  # a terminal that was closed meanwhile
            if self._live is not None:
                self._live.stop()
            if self._last is not None and self._words(self._last) != self._said:
                self._write(self.line(self._last))

    # ------------------------------------------------------------------ what a run tells

    def phase(self, text: str) -> None:
        """See `Watcher.phase`; a plain line comes only where it takes long."""
        self._phase = text

    def asking(self, ask: Callable[[str], str]) -> Callable[[str], str]:
        """See `Watcher.asking`."""

        def asked(question: str) -> str:
            if self._live is None:
                return ask(question)
            self._live.stop()
            try:
                return ask(question)
            finally:
                self._live.start(refresh=True)

        return asked

    def note(self, text: str) -> None:
        """See `Watcher.note`; above what moves."""
        if self._live is None:
            self._write(f"note: {text}")
        else:
            self._live.console.print(f"note: {text}", markup=False, highlight=False)

    def update(self, progress: Progress) -> None:
        """Take the newest figures, and show them if it is time."""
        now = time.monotonic()
        if self._last is None or progress.updates != self._last.updates:
            self._changed = now
        self._last, self._phase = progress, ""
        if self._plain and now - self._written >= PLAIN_S:
            self._write(self.line(progress))

    def ended(self, outcome: Outcome) -> None:
        """See `Watcher.ended`; the bars go first, so that the result stands below nothing that moves."""
        self.stop()
        super().ended(outcome)

    def waiting(self, text: str) -> None:
        """See `Watcher.waiting`."""
        self._write(f"[{self._clock()}] {self.name}: {text}")

    # ------------------------------------------------------------------ in words and bars

    def line(self, progress: Progress) -> str:
        """The figures as one plain line."""
        self._said = self._words(progress)
        return f"[{self._clock()}] {self.name}: {self._said}"

    def _words(self, progress: Progress) -> str:
        counts = progress.trials
        states = " ".join(f"{counts[state]} {state.value.lower()}" for state in TrialState if counts.get(state))
        share = f"{100 * self.share(progress):.0f} %"
        return " · ".join([share, *([states] if states else []), *(part.text for part in self._figures(progress))])

    def bars(self, progress: Progress) -> RenderableType:
        """The figures as a bar and two lines for a terminal of any width."""
        return FittedLines(lambda width: self._lines(progress, width))

    def _lines(self, progress: Progress, width: int) -> list[Text]:
        return [self._bar(progress, width), self._counts(progress, width), self._status(progress, width)]

    def _bar(self, progress: Progress, width: int) -> Text:
        """Its length is updates done, not trials ended; where room is scarce it is shorter, and then so is the name."""
        from rich.text import Text

        finished = sum(count for state, count in progress.trials.items() if state.finished)
        figures = f"  {100 * self.share(progress):.0f} %  {finished}/{progress.total or '–'} trials"
        length = max(SHORT_BAR, min(BAR, width - len(self.name) - 2 - len(figures)))
        name = cropped(self.name, width - 2 - length - len(figures))
        bar, used = Text(f"{name}  " if name else "", no_wrap=True), 0
        for state, colour, glyph in PARTS:
            part = min(length - used, round(length * progress.shares.get(state, 0.0)))
            bar.append(glyph * part, style=colour)
            used += part
        moving = max(0, min(length, round(length * self.share(progress))) - used)
        bar.append("░" * moving, style="dim blue")
        bar.append("·" * (length - used - moving), style="dim")
        return bar.append(figures)

    def _counts(self, progress: Progress, width: int) -> Text:
        from rich.text import Text

        counts = [
            (progress.trials.get(state, 0), f"{glyph} ", state.value.lower())
            for state, _, glyph in PARTS
            # nobody who has never paused a trial wonders about a zero
            if state is not TrialState.PAUSED or progress.trials.get(state)
        ]
        parts = [Part(f"{glyph}{count} {word}", int(count > 0)) for count, glyph, word in counts]
        return Text(fitted(parts, "   ", width), no_wrap=True)

    def _status(self, progress: Progress, width: int) -> Text:
        from rich.text import Text

        workers = counted(progress.workers, "worker")
        parts = [Part(self._clock(), 8), *self._figures(progress), Part(workers, 1)]
        return Text(fitted(parts, " · ", width), no_wrap=True)

    def share(self, progress: Progress) -> float:
        """Share of all updates that are done, those of the rungs in progress by the rate so far."""
        quiet = time.monotonic() - self._changed
        more = min(progress.in_training, progress.updates_per_s * quiet / progress.whole)
        return min(1.0, sum(progress.shares.values()) + more)

    def _figures(self, progress: Progress) -> list[Part]:
        figures = [_best(progress)]
        running = progress.trials.get(TrialState.RUNNING)
        finished = sum(count for state, count in progress.trials.items() if state.finished)
        if progress.compiling:
            figures.append(Part(FIRST_RUN, 6, "compiling (first run only)"))
        elif not progress.workers and not running and finished != progress.total:
            figures.append(Part("starting workers", 6))
        if progress.updates_per_s > 0:
            figures.append(Part(f"{progress.updates_per_s:.0f} updates/s", 2))
        if progress.left_s:
            # those that wait for a promotion are not in it, and one may come
            bound = "about" if progress.shares.get(TrialState.PAUSED) else "at most"
            figures.append(Part(f"{bound} {clock(progress.left_s)} left", 5))
        return figures

    def _render(self) -> RenderableType:
        from rich.text import Text

        if self._last is not None and not self._phase:
            return self.bars(self._last)
        dots = "." * (1 + int(2 * (time.monotonic() - self._began)) % 3)
        words = f"{self.name}  {self._clock()}  {self._phase or 'starting'} {dots}"
        return FittedLines(lambda width: [Text(cropped(words, width), no_wrap=True)])

    def _break_silence(self) -> None:
        while not self._done.wait(1.0):
            quiet = time.monotonic() - max(self._written, self._began)
            if quiet >= (SILENCE_S if self._last is not None else PLAIN_S):
                self._write(self._silent_line())

    def _silent_line(self) -> str:
        if self._last is not None and not self._phase:
            return self.line(self._last)
        return f"[{self._clock()}] {self.name}: {self._phase or 'starting'}"

    def _clock(self) -> str:
        return clock(time.monotonic() - self._began)

    def _write(self, text: str) -> None:
        self._written = time.monotonic()
        self._stream.write(text + "\n")
        self._stream.flush()


def _best(progress: Progress) -> Part:
    """The best value so far, also of a trial that has not ended."""
    if progress.unsolved:
        return Part("unsolved so far", 7)
    if progress.leading is not None:
        trial, value, step = progress.leading
        shown = f"best so far {progress.bound}{value:.4g}"
        return Part(f"{shown} (trial {trial} at update {step})", 7, shown)
    if progress.best is None:
        return Part("no result yet", 3)
    trial, value = progress.best
    tied = f", {progress.tied} more tie" if progress.tied else ""
    shown = f"best {progress.bound}{value:.4g}"
    return Part(f"{shown} (trial {trial}{tied})", 7, shown)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss.

    Example:
        >>> clock(75), clock(3700)
        ('1:15', '1:01:40')
    """
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
