"""`rnnsweep analyze SWEEP`: analyses of the trained rows of a sweep, with figures, tables and one page."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.errors import ConfigError, ConfigWarning, nearest

if TYPE_CHECKING:
    from rnnsweep.app.results.sweep import Sweep
    from rnnsweep.app.results.trained_rows import RowGroup
    from rnnsweep.core.analyses.trained_rows import SweepAnalysis
    from rnnsweep.report.sweep_figures.axis import Axis
    from rnnsweep.sweep.ports import TrialView

    Frame = Any  # see report.data

TABLE_FORMATS = ("parquet",)
"""Of the tables, beside CSV."""


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        only: names of analyses; empty: all.
        trials: see `chosen_trials`. every_replica: all replicas, otherwise each trial's best one.
        against: searched key, or an end of one, or a column of the table, on the axis; None: the first searched key.
        settings: ``lyapunov.steps=200``.
        formats: beside PNG and CSV: svg, pdf, parquet.
    """

    only: Sequence[str] = ()
    trials: str = "all"
    every_replica: bool = False
    against: str | None = None
    settings: Sequence[str] = ()
    formats: Sequence[str] = ()


def names() -> dict[str, str]:
    """Analysis -> what it shows."""
    from rnnsweep.report.sweep_figures.pictures import PICTURES

    return {name: picture.caption for name, picture in PICTURES.items()}


def analyze_sweep(sweep: Sweep, request: Request, out: Path | None = None) -> list[Path]:
    """Run analyses on a sweep's trained rows; returns the files, the page first.

    Where none is asked for by name, those that these rows cannot be put through are left out, with a `ConfigWarning`.

    Args:
        sweep: from a store. request: see there.
        out: folder; None: ``analyses/SWEEP`` below the working directory.

    Raises:
        ConfigError: unknown analysis, setting, trial, key or format; a family without a step; no checkpoint left.
    """
    from rnnsweep.app.results.trained_rows import chosen_trials, load_groups
    from rnnsweep.core.analyses.trained_rows import measured

    analyses = chosen_analyses(request.only, request.settings)
    check_formats(request.formats)
    trials = chosen_trials(sweep, request.trials)
    axis = axis_of(sweep, trials, request.against)
    groups = load_groups(sweep, trials, every_replica=request.every_replica)
    analyses = [one for one in analyses if _takes(one, groups, request)]  # before hours of work
    folder = out or Path("analyses") / sweep.name
    identity = identities(sweep, trials, groups)
    found = {
        analysis.unit_name: joined([measured(analysis, group.rows) for group in groups], identity)
        for analysis in analyses
    }
    return written(folder, sweep.name, {analysis.unit_name: analysis for analysis in analyses}, found, axis, request)


def _takes(analysis: SweepAnalysis, groups: Sequence[RowGroup], request: Request) -> bool:
    """Whether the rows can be put through it; a refusal is raised where it, or a setting of it, was asked for."""
    asked = {*request.only, *(text.partition(".")[0] for text in request.settings)}
    try:
        for group in groups:
            group.rows.loop  # noqa: B018 - a family without a step is refused here
            analysis.check_rows(group.rows)
    except ConfigError as error:
        # a family without a step is refused by all of them
        if analysis.unit_name in asked or not (error.key or "").startswith(f"{analysis.unit_key}."):
            raise
        warnings.warn(f"{analysis.unit_name} is left out: {error}", ConfigWarning, stacklevel=3)
        return False
    return True


# ---------------------------------------------------------------------- what is asked for


def chosen_analyses(only: Sequence[str], settings: Sequence[str]) -> list[SweepAnalysis]:
    """The analyses with their settings.

    Raises:
        ConfigError: no such analysis or setting, or a value that it does not take.
    """
    kinds = _kinds()
    for name in only:
        if name not in kinds:
            raise ConfigError(
                "unknown analysis", key="--only", value=name, allowed=list(kinds), hint=nearest(name, kinds)
            )
    wanted = list(dict.fromkeys(only)) or list(kinds)
    values: dict[str, dict[str, Any]] = {name: {} for name in wanted}
    for text in settings:
        name, field, value = _setting(text, kinds, wanted)
        values[name][field] = value
    return [kinds[name](**values[name], unit_name=name) for name in wanted]


def _kinds() -> dict[str, type[SweepAnalysis]]:
    from rnnsweep.core.analyses.bifurcation_diagram import BifurcationDiagram
    from rnnsweep.core.analyses.effective_memory import EffectiveMemory
    from rnnsweep.core.analyses.fixed_points import FixedPoints
    from rnnsweep.core.analyses.gradient_flow import GradientFlow
    from rnnsweep.core.analyses.jacobian_spectra import JacobianSpectra
    from rnnsweep.core.analyses.lyapunov import Lyapunov
    from rnnsweep.core.analyses.portrait import Portrait

    return {
        "fixed_points": FixedPoints,
        "lyapunov": Lyapunov,
        "gradient_flow": GradientFlow,
        "jacobian_spectra": JacobianSpectra,
        "effective_memory": EffectiveMemory,
        "bifurcation_diagram": BifurcationDiagram,
        "portrait": Portrait,
    }


def _setting(text: str, kinds: Mapping[str, type[SweepAnalysis]], wanted: Sequence[str]) -> tuple[str, str, Any]:
    key, equals, value = text.partition("=")
    name, _, field = key.partition(".")
    if not equals or name not in kinds:
        allowed = f"ANALYSIS.SETTING=VALUE, of {', '.join(kinds)}"
        raise ConfigError("is no setting of an analysis", key=key, allowed=allowed, hint=nearest(name, kinds))
    if name not in wanted:
        raise ConfigError("is of an analysis that is not asked for", key=key, allowed=f"--only {name}, or no --only")
    known = kinds[name].fields()
    if field not in known:
        raise ConfigError("unknown setting", key=key, allowed=known, hint=nearest(field, known))
    return name, field, _value(value)


def _value(text: str) -> Any:
    if text in ("null", "None"):
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_formats(formats: Sequence[str]) -> None:
    """Refuse a format that nothing is written in."""
    from rnnsweep.report.page import FORMATS

    for kind in formats:
        if kind not in ("png", "csv", *FORMATS, *TABLE_FORMATS):
            allowed = ["png", *FORMATS, "csv", *TABLE_FORMATS]
            raise ConfigError("unknown format", key="--format", value=kind, allowed=allowed)


def axis_of(sweep: Sweep, trials: Sequence[TrialView], against: str | None) -> Axis:
    """What the figures have on their axis and as their colour: a searched key, else the trial's number.

    Raises:
        ConfigError: no such column, or one that has neither numbers nor choices.
    """
    from rnnsweep.app.config.load import plan_of
    from rnnsweep.app.results.selection import column_of, value_of
    from rnnsweep.app.results.tables import row
    from rnnsweep.app.stores import reading_sweep
    from rnnsweep.report.sweep_figures.axis import Axis

    with reading_sweep(sweep.place, sweep.name) as (_, view):
        space = plan_of(view).space
    entries = [row(view, trial, {}) for trial in trials]
    column = next(iter(space.keys), "trial") if against is None else column_of(against, entries, "--against")
    dimension = next((one for one in space if one.key == column), None)
    values = {trial.number: value_of(entry, column) for trial, entry in zip(trials, entries, strict=True)}
    try:
        return Axis.of(column, values, dimension)
    except ValueError as error:
        hint = "Take a searched key, or objective, solved_at, step, trial."
        raise ConfigError(str(error), key="--against", value=column, hint=hint) from None


# ---------------------------------------------------------------------- frames


def identities(sweep: Sweep, trials: Sequence[TrialView], groups: Sequence[RowGroup]) -> list[Frame]:
    """Of each group, one line per row: trial, replica, objective and the searched keys."""
    import pandas as pd

    from rnnsweep.app.config.load import plan_of
    from rnnsweep.app.stores import reading_sweep

    with reading_sweep(sweep.place, sweep.name) as (_, view):
        keys = plan_of(view).space.keys
    of = {trial.number: trial for trial in trials}
    frames = []
    for group in groups:
        rows = [
            {
                "trial": trial,
                "replica": replica,
                "objective": of[trial].values[0] if of[trial].values else None,
                **{key: of[trial].params.get(key) for key in keys},
            }
            for trial, replica in group.names
        ]
        frames.append(pd.DataFrame(rows))
    return frames


def joined(tables: Sequence[Mapping[str, Mapping[str, Any]]], identity: Sequence[Frame]) -> dict[str, Frame]:
    """The groups' tables as one frame each; a row's identity stands in place of its number."""
    import pandas as pd

    frames = {}
    for name in tables[0]:
        parts = []
        for group, lines in zip(tables, identity, strict=True):
            part = pd.DataFrame(group[name])
            place = part.pop("row").to_numpy()
            parts.append(pd.concat([lines.iloc[place].reset_index(drop=True), part], axis=1))
        frames[name] = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    return frames


def written(
    folder: Path,
    sweep: str,
    analyses: Mapping[str, SweepAnalysis],
    found: Mapping[str, dict[str, Frame]],
    axis: Axis,
    request: Request,
) -> list[Path]:
    """Write tables, figures and the page.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from rnnsweep.report.sweep_figures.analysis_page import Part, write_analyses

    parts = [Part(name, tables, _said(analyses[name])) for name, tables in found.items()]
    try:
        return write_analyses(folder, sweep, parts, axis, request.formats)
    except OSError as error:
        problem, allowed = f"cannot be written: {error.strerror or error}", "a folder that can be written"
        raise ConfigError(problem, key="--out", value=str(folder), allowed=allowed) from None


def _said(analysis: SweepAnalysis) -> dict[str, Any]:
    """The analysis's settings, for the page."""
    values = dataclasses.asdict(analysis)
    return {name: values[name] for name in analysis.fields()}
