from __future__ import annotations


class FakeClock:
    """Time that passes only when somebody looks or sleeps."""

    def __init__(self, start: float = 1_000_000.0, tick: float = 0.001) -> None:
        self.time, self.tick = start, tick

    def now(self) -> float:
        self.time += self.tick
        return self.time

    def monotonic(self) -> float:
        self.time += self.tick
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
