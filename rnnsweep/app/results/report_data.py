"""From the ledger to what `report` draws."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from threading import Lock
from typing import TYPE_CHECKING, Any

import pandas as pd

from rnnsweep.app.results.tables import resolved
from rnnsweep.app.stores import StorePlace, place_of, reading_sweep
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.edits import says
from rnnsweep.sweep.lineage import Stretch, lineage, present_tokens
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.segments import taken
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import SweepView

if TYPE_CHECKING:
    Frame = Any  # see report.data

    from rnnsweep.app.config.load import SweepConfig
    from rnnsweep.core.pack import RowSnapshot
    from rnnsweep.report.data import SweepData
    from rnnsweep.sweep.ports import Ledger, TrialView
    from rnnsweep.unit import Metric


def report_sweep(store_place: StorePlace, sweep: str, out: Path | None = None, formats: Sequence[str] = ()) -> Path:
    """Write the report's page, figures and tables; returns the page's path.

    Args:
        store_place: the store. sweep: its name there.
        out: folder; None takes the sweep's own.
        formats: of the figures, beside PNG: svg, pdf.

    Raises:
        ConfigError: no such sweep, or no such format; nothing was written.
    """
    from rnnsweep.report.page import FORMATS, write_report

    for kind in formats:
        if kind not in ("png", *FORMATS):
            raise ConfigError("unknown format", key="--format", value=kind, allowed=["png", *FORMATS])
    with reading_sweep(store_place, sweep) as (ledger, view):
        data = gather(ledger, view, store_place.root)
    return write_report(data, out or folder(store_place, sweep), formats)


_DRAWING = Lock()
"""Whoever launched a sweep and the thread that writes MLflow want its picture at the same moment: its end."""
_pictures: dict[Path, tuple[SweepView, Path | None]] = {}
"""Folder -> what was drawn there."""


def overview_picture(store_place: StorePlace, ledger: Ledger, sweep: str) -> Path | None:
    """Write the one picture of a sweep, once for each state of it; None where there is nothing to draw yet."""
    from rnnsweep.report.page import write_overview

    out = folder(store_place, sweep)
    with _DRAWING:
        view = ledger.sweep(sweep)
        if view is None:
            return None
        before, picture = _pictures.get(out, (None, None))
        if picture is None or before != view or not picture.is_file():
            picture = write_overview(gather(ledger, view), out)
            _pictures[out] = view, picture
        return picture


def folder(store_place: StorePlace, sweep: str) -> Path:
    """Where a sweep's report lies."""
    return store_place.root / "reports" / sweep


def lineages_frame(plan: SweepPlan, trials: Sequence[TrialView]) -> Frame | None:
    """See `SweepData.lineages`: of trials that have trained."""
    if not any(taken(trial.segments or ()) for trial in trials):
        return None
    rows = [
        {"trial": trial.number, "by": one.trial, "begin": one.step, "end": end, **one.params}
        for trial in trials
        if trial.rung
        for one, end in _with_ends(lineage(trials, trial.number), trial.step)
    ]
    return pd.DataFrame(rows, columns=["trial", "by", "begin", "end", *plan.space.keys])


def _with_ends(stretches: Sequence[Stretch], end: int) -> list[tuple[Stretch, int]]:
    return list(zip(stretches, [*(one.step for one in stretches[1:]), end], strict=True))


def gather(ledger: Ledger, view: SweepView, root: Path | None = None) -> SweepData:
    """Everything that a report shows, read from the ledger and, where `root` names the store, from checkpoints."""
    from rnnsweep.app.config.commands import commands_for
    from rnnsweep.app.config.load import allow_stored_imports, from_json
    from rnnsweep.app.config.point import without_passwords
    from rnnsweep.app.environment import describe
    from rnnsweep.app.provenance.sessions import KEY, history
    from rnnsweep.app.results.frames import curves_frame, replicas_frame
    from rnnsweep.app.results.tables import as_yaml
    from rnnsweep.report.data import SweepData

    config = from_json(view.config, store=root)
    allow_stored_imports(config)
    plan, commands = config.plan, commands_for(config, place_of(config.store.root, config.store.ledger).option)
    trials, reports = ledger.trials(view.name), ledger.reports(view.name)
    data = SweepData(
        name=view.name,
        state=view.state.value,
        objective=plan.objectives[0],
        space=plan.space,
        updates=plan.budget.updates,
        replicas_per_trial=plan.replicas,
        trials=_trials(trials, config),
        replicas=replicas_frame(reports, plan),
        curves=curves_frame(reports),
        metrics=metrics(config),
        importances=importances(plan, trials),
        noise=noise(plan, trials),
        chance=chance(config),
        objectives=plan.objectives,
        values=values_frame(plan, trials),
        lineages=lineages_frame(plan, trials),
        totals={"wall_s": view.wall_s, "device_s": view.device_s, "updates": view.updates},
        config_yaml=as_yaml(without_passwords(resolved(view))),
        commands=(commands.rerun, commands.resume),
        environment=describe(),
        changes=tuple(history(view.config.get(KEY))),
        edits=tuple(says(entry) for entry in config.edits),
    )
    return data if root is None else dataclasses.replace(data, profiles=profiles(ledger, view, data, root))


PROFILED, REPLICAS = 4, 5
"""Trials, and replicas of each, whose error profiles are drawn."""


def profiles(ledger: Ledger, view: SweepView, data: SweepData, root: Path) -> Frame:
    """Error profiles of the best trials, from their newest readable checkpoints."""
    from rnnsweep.app.config.load import from_json
    from rnnsweep.core.checkpoint import CheckpointStore
    from rnnsweep.report.data import PROFILE_COLUMNS

    store = CheckpointStore(from_json(view.config, store=root).checkpoints)
    both = resolved(view)["family"].get("bidirectional") is True
    rows = []
    views = {trial.number: trial for trial in ledger.trials(view.name)}
    for trial in data.scored["trial"].head(PROFILED).tolist():
        tokens = present_tokens(views[trial], ledger.attempts(view.name, trial))
        for replica in range(min(REPLICAS, data.replicas_per_trial)):
            saved = store.newest([store.folder(trial, replica, token) for token in tokens])
            if saved is not None and saved.state.profile is not None:
                rows += _profile_rows(trial, replica, saved.state, both=both)
    return pd.DataFrame(rows, columns=PROFILE_COLUMNS)


def _profile_rows(
    trial: int, replica: int, state: RowSnapshot, *, both: bool
) -> list[tuple[int, int, str, int, int, float, str]]:
    assert state.profile is not None
    profile = state.profile if state.profile.ndim == 3 else state.profile[:, None]  # K L T
    depth = profile.shape[2] - 1
    lines = dict(zip(state.profile_steps, profile.tolist(), strict=True))
    return [
        (trial, replica, when, update, depth - t, value, _layer(index, both=both))
        for when, update in _moments(state.profile_steps)
        for index, line in enumerate(lines[update])
        for t, value in enumerate(line)
        if math.isfinite(value)
    ]


def _layer(index: int, *, both: bool) -> str:
    """What the loop of this number is called: its layer, and its direction where there are two."""
    return f"{index // 2 + 1}{' reverse' if index % 2 else ''}" if both else str(index + 1)


def _moments(updates: Sequence[int]) -> list[tuple[str, int]]:
    """Which of the kept profiles are the start, the middle (the one nearest to half of the updates) and the end."""
    start, end = updates[0], updates[-1]
    between = [update for update in updates if start < update < end]
    middle = [("middle", min(between, key=lambda update: abs(2 * update - end)))] if between else []
    return [*([("start", start)] if start < end else []), *middle, ("end", end)]


def importances(plan: SweepPlan, trials: list[TrialView]) -> Mapping[str, float]:
    """Importance by searched key, as shares of 1; empty where there are too few trials to tell."""
    from rnnsweep.adapters.optuna.importance import importances as by_optuna

    shares = by_optuna(plan.space, trials, 0, plan.objectives[0].goal)
    return shares if any(shares.values()) else {}


SHUFFLES, SHUFFLED_TRIALS = 40, 300
"""How often objectives are dealt out anew, and up to how many trials that is done: beyond, luck is small."""


def noise(plan: SweepPlan, trials: list[TrialView]) -> float | None:
    """The share that the most important key stays below in 95 % of sweeps whose objectives are dealt out at random.

    None where there is nothing to deal, or so many trials that luck no longer matters.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.values]
    if not 4 <= len(complete) <= SHUFFLED_TRIALS or len(plan.space) < 2:
        return None
    random, values = Random(0), [trial.values for trial in complete]
    largest = []
    for _ in range(SHUFFLES):
        random.shuffle(values)
        dealt = [dataclasses.replace(trial, values=value) for trial, value in zip(complete, values, strict=True)]
        largest.append(max(importances(plan, dealt).values(), default=0.0))
    return sorted(largest)[math.ceil(0.95 * SHUFFLES) - 1]


def values_frame(plan: SweepPlan, trials: list[TrialView]) -> Frame:
    """All objectives of the trials that have them: trial, and one column per metric."""
    metrics = [objective.metric for objective in plan.objectives]
    rows = [(trial.number, *trial.values) for trial in trials if len(trial.values) == len(metrics)]
    return pd.DataFrame(rows, columns=["trial", *metrics])


def _trials(trials: Sequence[TrialView], config: SweepConfig) -> Frame:
    """The trials' frame, without what asks knew where the sampler has no model that could have known anything."""
    from rnnsweep.app.results.frames import trials_frame

    frame = trials_frame(trials, config.plan.space.keys, config.plan.version.defaults)
    learns = "in_flight" in config.resolved["sampler"]  # the key of samplers with a model
    return frame if learns else frame.drop(columns="informed")


def metrics(config: SweepConfig) -> Mapping[str, Metric]:
    """Words for the sweep's metrics; of those of every sweep alone where a unit of its cannot be found any more."""
    from rnnsweep.app.config.unit_checks import metrics_of
    from rnnsweep.core.metrics.names import METRICS

    try:
        return metrics_of(config.variants)
    except ConfigError:
        return METRICS


def chance(config: SweepConfig) -> float | None:
    """What a network that knows nothing scores; None where trials differ in that, or the task cannot be asked."""
    from rnnsweep.app.config.unit_checks import chance_of

    try:
        return chance_of(config.variants, config.plan.space, config.plan.objectives[0].metric)
    except ConfigError:
        return None
