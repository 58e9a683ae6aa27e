"""The ledger's journal in words: what happened, without what only repeats or goes without saying."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnnsweep.app.results.tables import HistoryLines, as_typed

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import Change

ENDED = ("COMPLETE", "PRUNED", "FAILED")


class LogLines:
    """Turns journal entries into lines, in their order: most say something, some nothing.

    A trial's entries come with every change of its state; the lines of its history say more than the state's name. The
    sweep's come every few seconds, as a note of what was spent: a line only where its state is another.
    """

    def __init__(self) -> None:
        self._history = HistoryLines()
        self._sweep: tuple[str, str] | None = None

    def of(self, change: Change) -> list[str]:
        """The lines of one entry."""
        data = change.data
        if change.kind == "rung":
            return [f"trial {change.trial}: update {data.get('step')}: {_values(data.get('values', ()))}"]
        if change.kind == "trial":
            return [f"trial {change.trial}: {line}" for line in self._trial(change)]
        if change.kind == "sweep":
            return self._of_sweep(data)
        words = " ".join(f"{key}={value}" for key, value in data.items() if not isinstance(value, dict))
        return [f"{change.kind}: {words}" if change.trial is None else f"trial {change.trial}: {change.kind}: {words}"]

    def _trial(self, change: Change) -> list[str]:
        lines, state = list(self._history.added(change)), _word(change.data.get("state"))
        if state not in ENDED:
            return lines
        if not lines:
            lines = [" ".join(part for part in (state, str(change.data.get("reason", ""))) if part)]
        values = _values(change.data.get("values", ()))
        return [*lines[:-1], f"{lines[-1]}, objective {values}" if values else lines[-1]]

    def _of_sweep(self, data: Any) -> list[str]:
        now = (_word(data.get("state")), str(data.get("reason", "")))
        if now == self._sweep:
            return []
        self._sweep = now
        return ["sweep: " + " ".join(part for part in now if part)]


def _word(state: Any) -> str:
    return str(getattr(state, "value", state))


def _values(values: Sequence[float]) -> str:
    return " ".join(as_typed(value, 4) for value in values)
