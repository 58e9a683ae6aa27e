"""`rnnsweep list`: all sweeps of the store."""

from __future__ import annotations

from rnnsweep.app.cli import status
from rnnsweep.app.cli.options import AsJson, Store


def list_sweeps(store: Store = None, as_json: AsJson = False) -> None:
    """List the sweeps of the store."""
    status.print_all(store, as_json)
