"""What commands print: plain dictionaries from the ledger's views, with the field names that scripts rely on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.ports import Ledger, SweepView, TrialView
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import SweepState, TrialState
from rnnsweep.sweep.summary import ranked as by_objective

Json = dict[str, Any]


def resolved(view: SweepView) -> Mapping[str, Any]:
    """The sweep's configuration as nested data."""
    variants = view.config.get("variants")
    return variants[0]["resolved"] if variants else view.config


def objective_block(view: SweepView) -> Mapping[str, Any]:
    """The first objective's settings."""
    block = resolved(view).get("objective") or {}
    return block[0] if isinstance(block, list) else block


def plain(value: Any) -> Any:
    """A value for JSON: off, infinite and not-a-number are null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def ranked(view: SweepView, trials: Iterable[TrialView]) -> list[TrialView]:
    """COMPLETE trials, best first."""
    return by_objective(trials, [Objective(**objective_block(view))])


def standing(ledger: Ledger, view: SweepView) -> SweepView:
    """The sweep as it stands: one whose driver is gone does not run, whatever it wrote last."""
    if view.state is SweepState.RUNNING and not ledger.driven(view.name):
        return replace(view, state=SweepState.INTERRUPTED, reason="its driver has died")
    return view


def status(view: SweepView, trials: Sequence[TrialView]) -> Json:
    """One entry of `status` and `list`."""
    counts = {state.value.lower(): 0 for state in TrialState}
    for trial in trials:
        counts[trial.state.value.lower()] += 1
    best = next(iter(ranked(view, trials)), None)
    return {
        "sweep": view.name,
        "state": view.state.value,
        "trials": counts,
        "best": None if best is None else {"trial": best.number, "objective": best.values[0], "params": _params(best)},
        "updates": view.updates,
        "wall_s": round(view.wall_s, 3),
        "updates_per_s": round(view.updates / view.wall_s, 3) if view.wall_s > 0 else None,
    }


def row(trial: TrialView, runs: Mapping[int, str]) -> Json:
    """One entry of `table`.

    Args:
        trial: the trial.
        runs: trial number -> MLflow run id, as far as the tracker has written.
    """
    return {
        "trial": trial.number,
        "state": trial.state.value,
        "objective": plain(trial.values[0]) if trial.values else None,
        "params": _params(trial),
        "attempts": trial.attempts,
        "solved_at": trial.solved_at,
        "diverged_at": trial.diverged_at,
        "reason": trial.reason,
        "mlflow_run_id": runs.get(trial.number),
    }


def _params(trial: TrialView) -> Json:
    return {key: plain(value) for key, value in trial.params.items()}


def show(ledger: Ledger, view: SweepView, number: int, runs: Mapping[int, str], artifacts: Sequence[str]) -> Json:
    """A table row with curves (mean over replicas), replicas and artifacts.

    Raises:
        ConfigError: the sweep has no such trial.
    """
    trial = find(view, ledger.trials(view.name), number)
    reports = ledger.reports(view.name, number)
    return {
        **row(trial, runs),
        "curves": curves(reports),
        "replicas": replicas(reports),
        "artifacts": list(artifacts),
        "story": list(trial.history),
    }


def find(view: SweepView, trials: Sequence[TrialView], number: int) -> TrialView:
    """One trial by number.

    Raises:
        ConfigError: the sweep has no such trial.
    """
    for trial in trials:
        if trial.number == number:
            return trial
    allowed = f"0 to {trials[-1].number}" if trials else "none yet"
    raise ConfigError(f"sweep '{view.name}' has no such trial", key="TRIAL", value=number, allowed=allowed)


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
    from rnnsweep.core.metrics.threshold import threshold_range

    return threshold_range([value for _, value in curves.get("grad/norm", ())])


def report_line(report: RowReport) -> str:
    """A rung of a replica in one line."""
    from rnnsweep.core.metrics.names import TASK_METRICS

    keys = ("train/loss", "valid/loss", "valid/error", *TASK_METRICS, "grad/norm", "clip/share", "weights/rho")
    values = "  ".join(f"{key} {report.metrics[key]:.4g}" for key in keys if key in report.metrics)
    return f"replica {report.replica}  update {report.step:>7}  {report.state.value:<8}  {values}"


def jsonable(value: object) -> object:
    """Plain data for JSON: infinities and NaN are null."""
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
