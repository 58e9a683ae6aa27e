"""The trackers and the receivers of messages that a sweep's config names."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.config.notify import address
from rnnsweep.app.run.mlflow_mirror import metric_keys, mlflow_mirror, shape_of

if TYPE_CHECKING:
    from rnnsweep.adapters.tracked_trials import TrackerFacts
    from rnnsweep.sweep.ports import Change, Ledger, Mirror, SweepView

_ALL = 1_000_000
"""Journal entries of one trial: no more than its rungs and a few."""


def trackers(config: SweepConfig, ledger: Ledger) -> list[Mirror]:
    """Mirrors of all trackers, in the order chosen."""
    return [_tracker(config, ledger, kind, block) for kind, block in config.trackers.items()]


def _tracker(config: SweepConfig, ledger: Ledger, kind: str, block: Mapping[str, Any]) -> Mirror:
    if kind == "mlflow":
        return mlflow_mirror(config, ledger)
    view, root, facts = (
        _view(config, ledger),
        config.store.root / Path(block["folder"]).expanduser(),
        _facts(config, block),
    )
    if kind == "tensorboard":
        from rnnsweep.adapters.tensorboard.event_mirror import TensorBoardMirror

        return TensorBoardMirror(root, view, config.plan, facts)
    if kind == "wandb":
        from rnnsweep.adapters.wandb.run_mirror import WandbMirror, WandbPlace

        place = WandbPlace(root, block["project"], block["entity"], block["mode"])
        journal = functools.partial(_journal, ledger, config.plan.name)
        return WandbMirror(place, view, config.plan, facts, journal)
    from rnnsweep.adapters.table_files.csv_tables import CsvTables
    from rnnsweep.adapters.table_files.parquet_tables import ParquetTables
    from rnnsweep.adapters.table_files.table_mirror import TableMirror

    return TableMirror(CsvTables() if kind == "csv" else ParquetTables(), root, view, config.plan, facts)


def receivers(config: SweepConfig, ledger: Ledger) -> list[Mirror]:
    """A mirror for each entry of ``notify``; by its place in the list it is known to the ledger."""
    if not config.notify:
        return []
    from rnnsweep.adapters.webhooks.messages import Wanted
    from rnnsweep.adapters.webhooks.webhook_mirror import Receiver, WebhookMirror

    found: list[Mirror] = []
    view = _view(config, ledger)
    for index, block in enumerate(config.notify):
        # the address is looked up when it is needed: a resume without it goes on, and says that nobody is told
        find = functools.partial(address, block["url"], f"notify.{index}.url")
        receiver = Receiver(f"notify-{index}", block["form"], find)
        wanted = Wanted(tuple(block["events"]), float(block["diverged_above"]), block["link"])
        found.append(WebhookMirror(receiver, view, config.plan, wanted))
    return found


def _view(config: SweepConfig, ledger: Ledger) -> SweepView:
    view = ledger.sweep(config.plan.name)
    assert view is not None  # launch and resume have it in the ledger before anything is mirrored
    return view


def _facts(config: SweepConfig, block: Mapping[str, Any]) -> TrackerFacts:
    from rnnsweep.adapters.tracked_trials import TrackerFacts

    return TrackerFacts(int(block["points"]), lambda: metric_keys(config), lambda params: shape_of(config, params))


def _journal(ledger: Ledger, sweep: str, trial: int) -> Sequence[Change]:
    return ledger.changes(sweep, 0, _ALL, trial)
