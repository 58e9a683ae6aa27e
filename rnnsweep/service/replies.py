"""Replies in JSON: infinities are words, what is not there is null, as the command line prints it."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import Response

from rnnsweep.app.results.tables import jsonable
from rnnsweep.sweep.ports import Change

_LEFT_OUT = ("config", "overrides")
"""Of an entry of the sweep: the same in each, and `/config` has it."""


def plain_json(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A reply of plain data."""
    return Response(dumped(data).encode(), status, headers, "application/json")


def dumped(data: Any) -> str:
    """Plain data on one line."""
    return json.dumps(jsonable(data), allow_nan=False, separators=(",", ":"), default=_word)


def journal_entry(change: Change) -> dict[str, Any]:
    """An entry of the journal, without what every entry of its sweep repeats."""
    data = {name: value for name, value in change.data.items() if name not in _LEFT_OUT}
    return {"seq": change.seq, "kind": change.kind, "trial": change.trial, "at": change.at, "data": data}


def _word(value: Any) -> Any:
    """Numbers of numpy, which are none to JSON; all else as a text."""
    item = getattr(value, "item", None)
    return jsonable(item()) if callable(item) else str(value)
