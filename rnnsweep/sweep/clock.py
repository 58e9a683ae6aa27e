"""Time as a port, and the machine's own clock behind it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time, injectable."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds, never going back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """Real time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds, never going back."""
        # durations are measured with this one: NTP may set the wall clock back in the middle of a sweep
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
