"""`resume` of a sweep that leaves nothing to do: found out by reading alone, with neither torch nor Ray nor MLflow."""

from __future__ import annotations

from rnnsweep.app.config.load import SweepConfig, from_json
from rnnsweep.app.run import wiring
from rnnsweep.app.run.redaction import ledger_holds_passwords
from rnnsweep.app.stores import place_of, reading
from rnnsweep.core.checkpoint_files import has_leftovers
from rnnsweep.errors import StoreError
from rnnsweep.report.atomic_files import left_drafts
from rnnsweep.sweep.mirroring import up_to_date
from rnnsweep.sweep.nothing_left import idle
from rnnsweep.sweep.ports import Ledger
from rnnsweep.sweep.rebuild import Reopen
from rnnsweep.sweep.session import Outcome
from rnnsweep.sweep.states import SweepState


def nothing_to_do(config: SweepConfig, reopen: Reopen | None) -> Outcome | None:
    """How a resume ends that has nothing to train, to mirror or to clear away; None where it has. Writes nothing.

    Raises:
        ConfigError: `reopen` names trials that do not exist or cannot go on.
    """
    store_place = place_of(config.store.root, config.store.ledger)
    with reading(store_place) as ledger:
        if ledger is None or _budget_is_changed(config, ledger) or _something_is_left(config):
            return None
        standing = idle(ledger, config.plan, reopen, lambda: wiring.sampler(config), wiring.scheduler(config))
        if standing is None or not _mirrors_have_all(config, ledger):
            return None
    code = 1 if standing.failed or standing.view.state is SweepState.FAILED else 0
    return Outcome(standing.view.state, code, f"Nothing was to do: {standing.reason}.", idle=True)


def _budget_is_changed(config: SweepConfig, ledger: Ledger) -> bool:
    """Whether the user gave another budget: it is to be kept, even where it brings no work by itself."""
    view = ledger.sweep(config.plan.name)
    return view is None or from_json(view.config, store=config.store.root).plan.budget != config.plan.budget


def _something_is_left(config: SweepConfig) -> bool:
    """Whether killed writers have left files, or older versions passwords, which who holds the sweep's lock removes."""
    drafts = left_drafts(config.store.root / "reports" / config.plan.name)
    return bool(drafts) or has_leftovers(config.checkpoints) or ledger_holds_passwords(config.store.ledger)


def _mirrors_have_all(config: SweepConfig, ledger: Ledger) -> bool:
    try:
        return all(up_to_date(ledger, config.plan.name, mirror) for mirror in wiring.mirrors(config, ledger))
    except StoreError:  # away: a driver waits for it, says so and tries again
        return False
