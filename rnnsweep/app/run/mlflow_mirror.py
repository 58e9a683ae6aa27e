"""What the MLflow tracker is told besides the journal: environment, artifacts, figures, shape keys."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app.config.commands import commands_for
from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.config.point import without_passwords
from rnnsweep.app.environment import describe
from rnnsweep.app.stores import place_of
from rnnsweep.core.checkpoint_paths import MANIFEST, TENSORS, rung_file, rung_of, trial_folder
from rnnsweep.sweep.plan import Params

if TYPE_CHECKING:
    from rnnsweep.adapters.mlflow.tracker_options import TrackerOptions
    from rnnsweep.sweep.ports import Ledger, Mirror

FIGURES = ("*.png", "*.csv", "*.html")


def mlflow_mirror(config: SweepConfig, ledger: Ledger) -> Mirror:
    """The tracker of this sweep."""
    from rnnsweep.adapters.mlflow.tracker import MlflowMirror

    view = ledger.sweep(config.plan.name)
    assert view is not None
    block, overrides = without_passwords(config.plan.config), tuple(without_passwords(config.plan.overrides))
    plan = dataclasses.replace(config.plan, config=block, overrides=overrides)
    return MlflowMirror(config.store.mlflow, view, plan, options(config, ledger))


def options(config: SweepConfig, ledger: Ledger) -> TrackerOptions:
    """Settings and providers of the tracker."""
    from rnnsweep.adapters.mlflow.tracker_options import TrackerOptions

    commands = commands_for(config, place_of(config.store.root, config.store.ledger).option)
    return TrackerOptions(
        points=config.trackers["mlflow"].get("points", 200),
        metrics=lambda: metric_keys(config),
        environment=describe,
        artifact_root=config.store.artifacts,
        commands=(commands.resume, commands.rerun, commands.report),
        artifacts=lambda trial: trial_files(config, ledger, trial),
        report=lambda: report_files(config, ledger),
        prepare=load_report,
        last_rung=lambda trial: last_rung(config, ledger, trial),
        shape_key=lambda params: shape_of(config, params),
    )


def metric_keys(config: SweepConfig) -> list[str]:
    """Keys of all metrics of the sweep's units."""
    from rnnsweep.app.config.unit_checks import metrics_of  # needs torch

    return list(metrics_of(config.variants))


def trial_files(config: SweepConfig, ledger: Ledger, trial: int) -> Mapping[str, bytes | Path]:
    """The per-replica table, and each replica's last and best checkpoint under ``checkpoints/REPLICA/``."""
    from rnnsweep.app.results.tables import replicas

    table = replicas(ledger.reports(config.plan.name, trial))
    files: dict[str, bytes | Path] = {"replicas.json": json.dumps(table, indent=2).encode()}
    folder = Path(trial_folder(config.checkpoints, trial))
    if "://" not in config.store.checkpoints and folder.is_dir():
        for replica in sorted(path for path in folder.iterdir() if path.is_dir()):
            files |= checkpoint_files(replica)
    return files


def checkpoint_files(replica: Path) -> dict[str, bytes | Path]:
    """Last and best checkpoint of one replica, tensors and manifest, from the attempt that came furthest."""
    rungs = [(rung, file) for file in replica.glob(f"*/*{MANIFEST}") if (rung := rung_of(file.name)) is not None]
    if not rungs:
        return {}
    _, last = max(rungs, key=lambda pair: (pair[0], pair[1].stat().st_mtime))
    best = Path(rung_file(str(last.parent), json.loads(last.read_text())["best_rung"], MANIFEST))
    named = {"last": last, **({"best": best} if best.is_file() else {})}
    return {
        f"checkpoints/{replica.name}/{name}{suffix}": manifest.with_suffix(suffix)
        for name, manifest in named.items()
        for suffix in (TENSORS, MANIFEST)
    }


def load_report() -> None:
    """Import what `report_files` needs, also what it imports late: more than a second, that trials train meanwhile."""
    import scipy.optimize
    import scipy.stats

    from rnnsweep.adapters.optuna import importance
    from rnnsweep.app.results import frames, report_data
    from rnnsweep.core import checkpoint
    from rnnsweep.report import interactive, page

    del scipy, importance, frames, report_data, checkpoint, page
    interactive.packed_script()  # kept


def report_files(config: SweepConfig, ledger: Ledger) -> Mapping[str, bytes | Path]:
    """The report's page, figures and tables."""
    from rnnsweep.app.results.report_data import folder, gather, overview_picture
    from rnnsweep.report.page import write_report

    view = ledger.sweep(config.plan.name)
    if view is None:
        return {}
    place = place_of(config.store.root, config.store.ledger)
    out = folder(place, config.plan.name)
    overview_picture(place, ledger, config.plan.name)
    write_report(gather(ledger, view, config.store.root), out, overview=False)
    return {f"report/{file.name}": file for pattern in FIGURES for file in sorted(out.glob(pattern))}


def last_rung(config: SweepConfig, ledger: Ledger, trial: int) -> tuple[int, Mapping[str, float]] | None:
    """Step and mean metrics of a trial's newest rung."""
    from rnnsweep.app.results.tables import replicas

    rows = replicas(ledger.reports(config.plan.name, trial))
    if not rows:
        return None
    values: dict[str, list[float]] = {}
    for replica in rows:
        for key, value in replica["metrics"].items():
            values.setdefault(key, []).append(value)
    return max(replica["step"] for replica in rows), {key: sum(v) / len(v) for key, v in values.items()}


def shape_of(config: SweepConfig, params: Params) -> str:
    """The shape key of a trial."""
    from rnnsweep.app.config.point import resolve_point
    from rnnsweep.core.build import build_units, shape_key

    point: dict[str, Any] = resolve_point(config.variants, params)
    return shape_key(point, build_units(point))
