"""What commands print: plain dictionaries from the ledger's views, with the field names that scripts rely on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.sweep.edits import says
from rnnsweep.sweep.fidelity import KEY, reached, stages_of, words
from rnnsweep.sweep.lineage import Stretch, changes_of, lineage, present_point, schedule
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.ports import Change, Ledger, SweepView, TrialView
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.summary import Best, Rank, unsolved
from rnnsweep.sweep.summary import ranked as by_objective
from rnnsweep.sweep.views import fingerprint_text

Json = dict[str, Any]

_ALL = 1_000_000
"""Journal entries of one trial: no more than its rungs and a few."""


def resolved(view: SweepView) -> Mapping[str, Any]:
    """The sweep's configuration as nested data."""
    variants = view.config.get("variants")
    return variants[0]["resolved"] if variants else view.config


def objective_block(view: SweepView) -> Mapping[str, Any]:
    """The first objective's settings.

    Raises:
        StoreError: the stored config has none: it was changed.
    """
    block = resolved(view).get("objective") or {}
    first = block[0] if isinstance(block, list) else block
    if "metric" not in first:
        problem = f"the config of the sweep {view.name} is damaged: it has no objective"
        raise StoreError("ledger", f"{problem}; rnnsweep doctor looks for more; a copy of the store from before helps")
    return first


def open_time(view: SweepView, trial: TrialView, value: float | None) -> Json:
    """``{"unsolved": True}`` where `value` is a time to solve that has not come, or a mean with one; else nothing.

    ``"partly": True`` with it: a mean that has times that have come in it, too. Scripts of sweeps with other objectives
    meet no new field.
    """
    updates = resolved(view).get("budget", {}).get("updates", math.inf)
    late = unsolved(Objective(**objective_block(view)), value, trial.solved_at, updates, trial.unsolved or 0)
    partly = late and value is not None and value < updates
    return {"unsolved": True, **({"partly": True} if partly else {})} if late else {}


def score_text(entry: Mapping[str, Any], value: float | None) -> str:
    """A result for people: a dash where there is none, a bound where it is, or has in it, a time that has not come.

    Example:
        >>> score_text({"unsolved": True}, 2000.0), score_text({}, 0.12345), score_text({}, None)
        ('> 2000', '0.1235', '–')
    """
    if value is None:
        return "–"
    return f"> {as_typed(value, 4)}" if entry.get("unsolved") else as_typed(value, 4)


def plain(value: Any) -> Any:
    """A value for JSON, which has no word for infinities: theirs are strings that most languages' numbers read again.

    Example:
        >>> [plain(value) for value in (math.inf, -math.inf, math.nan, 0.5)]
        ['Infinity', '-Infinity', None, 0.5]
    """
    if not isinstance(value, float) or math.isfinite(value):
        return value
    # not null, which says that there is no value: a clipping threshold may be either, and means something else then
    return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def ranked(view: SweepView, trials: Iterable[TrialView]) -> list[TrialView]:
    """COMPLETE trials, best first."""
    return by_objective(trials, [Objective(**objective_block(view))])


def ties(ranking: Sequence[Json]) -> str:
    """How many entries of a ranking share the first one's objective and what put it first; empty where none does."""
    # the entries are in their order: what is left to tell is how far equality goes, not which goal they pursue
    first = ranking[0]
    tied = [entry for entry in ranking[1:] if entry["objective"] == first["objective"]]
    alike = sum(entry["solved_at"] == first["solved_at"] for entry in tied)
    solved_at = math.inf if first["solved_at"] is None else float(first["solved_at"])
    best = Best(Rank(first["objective"], solved_at, first["trial"]), first["objective"], len(tied), alike)
    return best.ties() if tied else ""


def standing(ledger: Ledger, view: SweepView) -> SweepView:
    """The sweep as it stands: one whose driver is gone does not run, whatever it wrote last."""
    if view.state is SweepState.RUNNING and not ledger.driven(view.name):
        return replace(view, state=SweepState.INTERRUPTED, reason="its driver has died")
    return view


def trials_of(ledger: Ledger, view: SweepView) -> list[TrialView]:
    """The trials as they stand: none runs in a sweep whose driver is gone, or has not taken them up yet.

    A driver that was killed, or told twice to stop, leaves them as RUNNING in the ledger; `resume` goes on with them.
    """
    trials = ledger.trials(view.name)
    if standing(ledger, view).state is SweepState.RUNNING:
        return trials
    return [
        replace(trial, state=TrialState.WAITING) if trial.state is TrialState.RUNNING else trial for trial in trials
    ]


def status(view: SweepView, trials: Sequence[TrialView]) -> Json:
    """One entry of `status` and `list`."""
    counts = {state.value.lower(): 0 for state in TrialState}
    for trial in trials:
        counts[trial.state.value.lower()] += 1
    best = next(iter(ranked(view, trials)), None)
    winner = None
    if best is not None:
        winner = {"trial": best.number, "objective": best.values[0], "params": dict(best.params)}
        winner |= open_time(view, best, best.values[0])
    return {
        "sweep": view.name,
        "state": view.state.value,
        "trials": counts,
        "best": winner,
        "updates": view.updates,
        "wall_s": round(view.wall_s, 3),
        "updates_per_s": round(view.updates / view.wall_s, 3) if view.wall_s > 0 else None,
    }


def row(
    view: SweepView, trial: TrialView, runs: Mapping[int, str], newest: tuple[int, float | None] | None = None
) -> Json:
    """One entry of `table`.

    Args:
        view: its sweep.
        trial: the trial.
        runs: trial number -> MLflow run id, as far as the tracker has written.
        newest: step and value at the newest rung of a trial that has not ended, see `newest_rung`.
    """
    objective = trial.values[0] if trial.values else None
    step, value = newest or (trial.step, objective)
    return {
        "trial": trial.number,
        "state": trial.state.value,
        "step": step,
        "objective": objective,
        "value": value,
        "params": dict(trial.params),
        "attempts": trial.attempts,
        "solved_at": trial.solved_at,
        "diverged_at": trial.diverged_at,
        "reason": trial.reason,
        "fingerprints": fingerprint_text(trial.fingerprints),
        "mlflow_run_id": runs.get(trial.number),
        # only where it is so: scripts of other sweeps meet no new field
        **({} if trial.space is None else {"space": trial.space}),
        **({} if trial.same_as is None else {"same_as": trial.same_as}),
        **_population(trial),
        **_fidelity(view, step),
        **open_time(view, trial, value),
    }


def _population(trial: TrialView) -> Json:
    """Of a trial that took over another one's state: its point now, and whose state and at which update.

    `params` stays the point that it began with. Scripts of other sweeps meet no new field.
    """
    changes = changes_of(trial.params, trial.segments or ())
    if not changes:
        return {}
    point = dict(present_point(trial))
    return {"point": point, "parent": changes[-1]["parent"], "parent_at": changes[-1]["update"]}


def _fidelity(view: SweepView, step: int) -> Json:
    """What the last of so many updates was trained at; scripts of sweeps where that never changes meet no new field."""
    config = resolved(view)
    stages = stages_of(config.get(KEY) or {}, config.get("training", {}).get("report_every", 1))
    return {"fidelity": dict(reached(stages, step))} if stages else {}


def fidelity_words(entry: Mapping[str, Any]) -> str | None:
    """What an entry's last update was trained at, as one would type it; None where that never changes."""
    return words(entry["fidelity"]) if "fidelity" in entry else None


def rows(ledger: Ledger, trials: Sequence[TrialView], view: SweepView, runs: Mapping[int, str]) -> list[Json]:
    """Entries of `table`; those of trials that have not ended, or before full fidelity, stand at their newest rung."""
    early = [trial for trial in trials if trial.state is TrialState.PRUNED and trial.rung and not trial.values]
    open_trials = [*early, *(trial for trial in trials if not trial.state.finished and trial.attempts)]
    rungs = {change.trial: change.data for change in ledger.newest_rungs(view.name)} if open_trials else {}
    newest = {trial.number: newest_rung(trial, rungs.get(trial.number)) for trial in open_trials}
    waiting = {trial.number: (trial.step, None) for trial in trials if not trial.state.finished}
    return [row(view, trial, runs, newest.get(trial.number) or waiting.get(trial.number)) for trial in trials]


def newest_rung(trial: TrialView, rung: Mapping[str, Any] | None) -> tuple[int, float | None]:
    """Step and value of a trial at its newest rung; its entry in the ledger knows them only once it has ended."""
    if rung is None:
        return trial.step, None
    return rung["step"], rung["values"][0] if rung["values"] else None


def show(ledger: Ledger, view: SweepView, number: int, runs: Mapping[int, str], artifacts: Sequence[str]) -> Json:
    """A table row with curves (mean over replicas), replicas and artifacts.

    Raises:
        ConfigError: the sweep has no such trial.
    """
    trial = find(view, trials_of(ledger, view), number)
    reports = ledger.reports(view.name, number)
    changes = ledger.changes(view.name, 0, _ALL, number)
    lines = lineage(ledger.trials(view.name), number) if trial.segments else []
    return {
        **rows(ledger, [trial], view, runs)[0],
        "rung": trial.rung,
        **({"lineage": [_stretch(line) for line in lines], "schedule": schedule(lines)} if lines else {}),
        "curves": curves(reports),
        "replicas": replicas(reports),
        "artifacts": list(artifacts),
        "history": history(changes),
    }


def _stretch(stretch: Stretch) -> Json:
    begin = {"trial": stretch.trial, "after": stretch.after, "rung": stretch.rung, "from": stretch.step}
    return begin | {"params": dict(stretch.params)}


class HistoryLines:
    """The lines that each entry of a trial in the journal adds to its history.

    An entry holds the history of its time, whose older lines may have been dropped: what is new stands at its end.
    """

    def __init__(self) -> None:
        self._before: dict[int, tuple[str, ...]] = {}

    def added(self, change: Change) -> tuple[str, ...]:
        """Lines that this entry has and the trial's entry before it had not."""
        assert change.trial is not None
        now, before = tuple(change.data["history"]), self._before.get(change.trial, ())
        self._before[change.trial] = now
        for count in range(len(now) + 1):
            kept = now[1 : len(now) - count]  # the first line always stays
            if before and kept == before[len(before) - len(kept) :]:
                return now[len(now) - count :]
        return now


def history(changes: Iterable[Change]) -> list[tuple[float, str]]:
    """What happened to a trial: (seconds since the epoch, line), oldest first."""
    lines = HistoryLines()
    return [(change.at, line) for change in changes if change.kind == "trial" for line in lines.added(change)]


def edit_lines(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """What was edited of a sweep, a line each, with the local time."""
    times = ((datetime.fromtimestamp(entry["applied"]), entry) for entry in entries)
    return [f"{at:%Y-%m-%d %H:%M:%S}  {says(entry)}" for at, entry in times]


def find(view: SweepView, trials: Sequence[TrialView], number: int, key: str = "TRIAL") -> TrialView:
    """One trial by number, which was asked for as `key`.

    Raises:
        ConfigError: the sweep has no such trial.
    """
    for trial in trials:
        if trial.number == number:
            return trial
    allowed = f"0 to {trials[-1].number}" if trials else "none yet"
    raise ConfigError(f"sweep '{view.name}' has no such trial", key=key, value=number, allowed=allowed)


def curves(reports: Sequence[RowReport]) -> dict[str, list[list[float]]]:
    """Metric key -> [[step, value], ...], the mean over the replicas that reported at that step."""
    points: dict[str, dict[int, list[float]]] = {}
    for report in reports:
        for key, value in report.metrics.items():
            points.setdefault(key, {}).setdefault(report.step, []).append(value)
    return {
        key: [[step, sum(values) / len(values)] for step, values in sorted(by_step.items())]
        for key, by_step in sorted(points.items())
    }


def replicas(reports: Sequence[RowReport]) -> list[Json]:
    """The last report of each replica, with the device time of all of them."""
    last: dict[int, RowReport] = {}
    device: dict[int, float] = {}
    for report in reports:
        device[report.replica] = device.get(report.replica, 0.0) + report.device_s
        if report.replica not in last or report.rung > last[report.replica].rung:
            last[report.replica] = report
    return [
        {
            "replica": replica,
            "state": report.state.value,
            "step": report.step,
            "solved_at": report.solved_at,
            "solved_exactly_at": report.solved_exactly_at,
            "diverged_at": report.diverged_at,
            "engine": report.engine,
            "device_s": round(device[replica], 3),
            "metrics": {key: plain(value) for key, value in sorted(report.metrics.items())},
        }
        for replica, report in sorted(last.items())
    ]


def clip_thresholds(curves: Mapping[str, Sequence[Sequence[float]]]) -> tuple[float, float] | None:
    """Thresholds of 0.5 to 10 times a trial's mean gradient norm; None where no norm was reported."""
    from rnnsweep.core.metrics.clipping_range import threshold_range

    return threshold_range([value for _, value in curves.get("grad/norm", ())])


def report_line(report: RowReport) -> str:
    """A rung of a replica in one line."""
    first = [key for key in ("train/loss", "valid/loss", "valid/error") if key in report.metrics]
    tasks = [key for key in report.metrics if key.startswith("valid/") and key not in first]
    rest = [key for key in ("grad/norm", "clip/share", "weights/rho") if key in report.metrics]
    values = "  ".join(f"{key} {report.metrics[key]:.4g}" for key in (*first, *tasks, *rest))
    return f"replica {report.replica}  update {report.step:>7}  {report.state.value:<8}  {values}"


def as_typed(value: object, digits: int = 12) -> str:
    """A value as it would be typed in an override; numbers rounded, so that 0.1 + 0.2 reads 0.3.

    Example:
        >>> [as_typed(value) for value in (0.1 + 0.2, float("-inf"), True, None, "lstm", 20)]
        ['0.3', '-inf', 'true', 'null', 'lstm', '20']
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def jsonable(value: object) -> object:
    """Plain data for JSON: infinities are words, NaN is null, see `plain`."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return plain(value)


def as_yaml(data: object) -> str:
    """Plain data as yaml, keys in their order."""
    import yaml

    try:
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    except yaml.YAMLError as error:
        raise ConfigError(f"the configuration holds something that yaml cannot say: {error}") from None
