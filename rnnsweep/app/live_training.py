"""How far one training is within its rung: a line that moves on a terminal, one every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import IO

from rnnsweep.app.live_display import DRAWS_PER_S, SILENCE_S, clock

FIRST_S = 5.0
"""Seconds without a rung after which there is something to say: most rungs are quicker."""


class LiveTraining:
    """Says something where a rung takes long, and nothing where it does not.

    Args:
        stream: where to; standard error by default.
        width: columns of the terminal; None: it is none, and lines are written instead of one that moves.
    """

    def __init__(self, stream: IO[str] | None = None, width: int | None = None) -> None:
        self._stream, self._width = stream or sys.stderr, width
        self._began = self._said = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._shown = False

    def within(self, update: int, end: int) -> None:
        """An update was done; `end` is the one of the next report."""
        now = time.monotonic()
        if self._first is None:  # the first one may have compiled something: it tells nothing about the next
            self._first = (now, update)
        quiet = now - self._began
        pause = 1 / DRAWS_PER_S if self._width is not None else FIRST_S if self._said == self._began else SILENCE_S
        if quiet < FIRST_S or now - self._said < pause:
            return
        self._said = now
        self._write(self._words(now, update, end))

    def _words(self, now: float, update: int, end: int) -> str:
        assert self._first is not None
        start, before = self._first
        words = f"update {update}, next report at {end}"
        if update == before:
            return words
        each = (now - start) / (update - before)
        return f"{words} · {each:.2g} s per update · {clock(each * (end - update))} to go"

    def _write(self, text: str) -> None:
        if self._width is None:
            self._stream.write(text + "\n")
        else:
            self._stream.write("\r\x1b[K" + text[: self._width - 1])
            self._shown = True
        self._stream.flush()

    def rung(self) -> None:
        """A rung has ended, or another line is to be written: clear the one that moves, and begin anew."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        self._shown, self._first = False, None
        self._began = self._said = time.monotonic()
