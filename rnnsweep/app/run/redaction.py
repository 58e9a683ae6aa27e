"""Take passwords out of what older versions have written: the ledger's rows, and the config beside the checkpoints."""

from __future__ import annotations

import logging

from rnnsweep.app.config.load import SweepConfig
from rnnsweep.core.checkpoint_files import rewrite_config
from rnnsweep.errors import StoreError

LOG = logging.getLogger(__name__)


def redact_ledger(url: str) -> int:
    """Hide the passwords of a ledger; returns how many rows held one.

    Raises:
        StoreError: it cannot be written.
    """
    from rnnsweep.adapters.ledger.redaction import redact

    return redact(url)


def ledger_holds_passwords(url: str) -> bool:
    """Whether `redact_ledger` has anything to do.

    Raises:
        StoreError: it cannot be read.
    """
    from rnnsweep.adapters.ledger.redaction import holds_passwords

    return holds_passwords(url)


def redact_config(config: SweepConfig) -> bool:
    """Hide passwords in the copy of the config beside the checkpoints; whether it held one.

    Raises:
        StoreError: it cannot be written.
    """
    from rnnsweep.adapters.ledger.secrets import hidden

    try:
        return rewrite_config(config.checkpoints, hidden)
    except OSError as error:
        raise StoreError("checkpoints", f"{config.checkpoints}: {error.strerror or error}") from None


def redact(config: SweepConfig) -> None:
    """Both, for a sweep that goes on; what cannot be done now is said, and hinders nothing."""
    try:
        count = redact_ledger(config.store.ledger) + redact_config(config)
    except StoreError as error:
        LOG.warning("passwords that an older version has stored could not be removed: %s", error)
        return
    if count:
        LOG.warning("an older version had stored passwords of URLs; they were removed from %d places", count)
