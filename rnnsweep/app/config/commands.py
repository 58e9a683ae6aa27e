"""The commands that reports and MLflow's note print: each works as it stands, wherever it is typed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.config.point import without_passwords

NAME = "name="


@dataclass(frozen=True)
class Commands:
    """Command lines for one sweep.

    Attributes:
        resume: goes on with it.
        rerun: the same trials once more, under the next free name.
        report: writes its report.
    """

    resume: str
    rerun: str
    report: str


def commands_for(config: SweepConfig, store: Sequence[str]) -> Commands:
    """Commands that name the sweep's store and config directories wherever they are not found by themselves.

    Passwords in overrides are replaced by asterisks; such a command needs them typed again.

    Args:
        config: of the sweep.
        store: the words that name its store, see `StorePlace.option`.
    """
    # these lines are printed, logged and stored in MLflow
    typed = list(without_passwords(config.plan.overrides))
    # `launch --fresh` appends the name that it chose, so that there may be two; the last one counts.
    named = [override for override in typed if override.startswith(NAME)][-1:]
    others = [override for override in typed if not override.startswith(NAME)]
    folders = [word for folder in config.config_dirs for word in ("--config-dir", folder)]
    launch = ["launch", config.sweep or config.plan.name, *others, *named, *folders, *store, "--fresh"]
    name = config.plan.name
    return Commands(_line("resume", name, *store), _line(*launch), _line("report", name, *store))


def _line(*words: str) -> str:
    return shlex.join(["rnnsweep", *words])
