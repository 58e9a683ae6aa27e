"""A row's way from one fidelity to the next: its config there, and what it takes along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rnnsweep.app.config.point import put, resolve_point
from rnnsweep.app.worker.row_in_training import RowInTraining
from rnnsweep.app.worker.settings import TrainerSettings
from rnnsweep.core.pack import NEVER, NO_BEST, RowSnapshot
from rnnsweep.sweep.fidelity import full_after, stage_after
from rnnsweep.sweep.plan import Params
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState as State


def config_after(settings: TrainerSettings, params: Params, rung: int) -> dict[str, Any]:
    """The full config of a point as it is trained with after some rung.

    Raises:
        ConfigError: see `resolve_point`.
    """
    config, stage = resolve_point(settings.variants, params), stage_after(settings.stages, rung)
    if stage is not None and stage is not settings.stages[-1]:
        for key, value in stage.values.items():
            put(config, key, value)
        # solving less than the task is no reason to stop
        config["training"]["stop_solved"] = False
    return config


def outgrown(row: RowInTraining) -> bool:
    """Whether its next rung is of another stage than the pack that it is in."""
    return stage_after(row.sweep.settings.stages, row.rung) != row.stage


def carried_on(settings: TrainerSettings, state: RowSnapshot) -> RowSnapshot:
    """A state as the next rung is to find it.

    At the begin of a stage, weights and all that learns stay, as do streams and clocks. What was measured at the stage
    before does not count any more: being solved, the best checkpoint, the gradient profile, whose steps are others.
    """
    if not state.rung or all(stage.rung != state.rung for stage in settings.stages):
        return state
    return replace(
        state,
        solved_at=None,
        solved_exactly_at=None,
        best_loss=NO_BEST[0],
        best_rung=NO_BEST[1],
        profile=None,
        profile_steps=(NEVER, NEVER, NEVER),
    )


def waits_for_all(settings: TrainerSettings) -> bool:
    """Whether `counted` reads what the host may find beside the next rung: spectra, and what families count."""
    return settings.patience is not None and not settings.patience.metric.startswith(("train/", "valid/"))


def counted(row: RowInTraining, report: RowReport) -> RowReport:
    """The report, which ends the row where it has not improved for too long; both of full fidelity alone."""
    if report.rung <= full_after(row.sweep.settings.stages):
        return replace(report, solved_at=None, solved_exactly_at=None)
    patience = row.sweep.settings.patience
    if patience is None:
        return report
    row.standing = patience.after(row.standing, report.metrics)
    over = report.state is State.ACTIVE and patience.exhausted(row.standing)
    return replace(report, state=State.STALLED) if over else report
