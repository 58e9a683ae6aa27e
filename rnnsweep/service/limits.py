"""How much of the service one caller may have: requests per second, bytes of a body, streams at once."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from rnnsweep.service.problems import RefusedError


@dataclass(frozen=True)
class Limits:
    """Bounds of the service.

    Attributes:
        rate: requests per second that an account may make in the long run. burst: at once, after a rest.
        changes: state-changing requests per second of an account. changes_burst: at once.
        wrong: requests without a right token per second and address; each may also be audited. wrong_burst: at once.
        body: bytes of a request's body. body_s: seconds that it may take to arrive.
        streams: event streams of an account at once. all_streams: of everybody. stream_s: seconds that one may last.
    """

    rate: float = 100.0
    burst: float = 200.0
    changes: float = 5.0
    changes_burst: float = 30.0
    wrong: float = 0.5
    wrong_burst: float = 20.0
    body: int = 1 << 20
    body_s: float = 20.0
    streams: int = 16
    all_streams: int = 128
    stream_s: float = 3600.0


class Buckets:
    """One token bucket per name; the longest unused are forgotten, so that names cannot fill the memory.

    Example:
        >>> clock = iter([0.0, 0.0, 0.0, 1.0])
        >>> buckets = Buckets(1.0, 2.0, lambda: next(clock))
        >>> [buckets.wait("ada") for _ in range(4)]
        [0.0, 0.0, 1.0, 0.0]
    """

    KEPT = 10_000

    def __init__(self, rate: float, burst: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, name: str, cost: float = 1.0) -> float:
        """Take `cost` of a bucket: 0, or the seconds until it has so much again; then nothing was taken."""
        with self._lock:
            now = self._now()
            level, before = self._levels.pop(name, (self._burst, now))
            level = min(self._burst, level + (now - before) * self._rate)
            enough = level >= cost
            self._levels[name] = (level - cost if enough else level, now)
            if len(self._levels) > self.KEPT:
                self._levels.popitem(last=False)
            return 0.0 if enough else (cost - level) / self._rate


class Streams:
    """Counts the open event streams."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._open, self._lock = limits, Counter[str](), threading.Lock()

    def take(self, user: str) -> Callable[[], None]:
        """A place for a stream of `user`; what is returned gives it back.

        Raises:
            RefusedError: there is none.
        """
        with self._lock:
            if self._open[user] >= self._limits.streams or self._open.total() >= self._limits.all_streams:
                raise RefusedError("too many event streams are open", 429, {"Retry-After": "10"})
            self._open[user] += 1
        return lambda: self._give_back(user)

    def _give_back(self, user: str) -> None:
        with self._lock:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]
