"""Requests on trials, checked where they are posted: whoever mistypes is told at once, not the driver's log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnnsweep.app.results.tables import find, trials_of
from rnnsweep.errors import ConfigError, printable
from rnnsweep.sweep.edits import KIND, Edit
from rnnsweep.sweep.ports import Ledger, SweepView, TrialView
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.trial_requests import KINDS
from rnnsweep.sweep.views import BY_SCHEDULER

if TYPE_CHECKING:
    from rnnsweep.app.config.load import SweepConfig

LONGEST_REASON = 500
"""Characters: it is shown in tables and stands in the trial's record."""


def post(ledger: Ledger, view: SweepView, kind: str, numbers: Sequence[int], reason: str = "") -> None:
    """Leave requests on trials for the sweep's driver, the one of today or of the next resume.

    Args:
        ledger: where.
        view: the sweep.
        kind: one of `trial_requests.KINDS`.
        numbers: of the trials.
        reason: one line, in the user's words.

    Raises:
        ConfigError: no such kind or trial, a trial that cannot do that, or too long a reason; nothing was written.
    """
    if kind not in KINDS:
        raise ConfigError("no request on a trial", key="request", value=kind, allowed=list(KINDS))
    if len(reason) > LONGEST_REASON or reason != printable(reason):
        shown = printable(reason[:40]) + ("..." if len(reason) > 40 else "")
        raise ConfigError(
            "no reason", key="--reason", value=shown, allowed=f"a line of at most {LONGEST_REASON} letters"
        )
    every = trials_of(ledger, view)
    # what waits in the inbox may change a state before this is heard; an end is an end
    certain = not ledger.requests_wait(view.name)
    trials = [find(view, every, number, "--trial") for number in dict.fromkeys(numbers)]
    for trial in trials:
        _check(kind, trial, certain)
    for trial in trials:
        ledger.post(view.name, kind, {"trial": trial.number, "reason": reason, "reopened": trial.reopened})


def post_edit(ledger: Ledger, view: SweepView, config: SweepConfig, texts: Sequence[str], by: str) -> Edit:
    """Leave an edit of the space for the sweep's driver; see `edits.edit_of` for what may be typed.

    Raises:
        ConfigError: it is refused; nothing was written.
    """
    from rnnsweep.app.config.edits import edit_of

    edit = edit_of(config, texts, by)
    ledger.post(view.name, KIND, edit.plain())
    return edit


def _check(kind: str, trial: TrialView, certain: bool) -> None:
    """Refuse what would change nothing; a trial that its scheduler has paused may be held, so that it stays so."""
    paused = trial.state is TrialState.PAUSED
    held = paused and trial.paused_by != BY_SCHEDULER
    idle = {"pause_trial": held, "unpause_trial": not paused}.get(kind, False)
    if trial.state.finished or (certain and idle):
        fitting = [state.value for state in TrialState if not state.finished]
        if kind == "pause_trial":
            fitting.remove("PAUSED")  # by a user, that is
        allowed = ["PAUSED"] if kind == "unpause_trial" else fitting
        raise ConfigError(f"trial is {trial.state.value}", key="--trial", value=trial.number, allowed=allowed)
