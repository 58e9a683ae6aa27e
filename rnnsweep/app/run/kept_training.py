"""One training whose folder stays: begun, gone on with, or found to be at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from rnnsweep.app.config.load import SweepConfig, to_json
from rnnsweep.app.provenance.fingerprint import Fingerprint, differences, take
from rnnsweep.app.results import training_folder
from rnnsweep.app.worker.single import TrainingWatch, train_one
from rnnsweep.sweep.rows import RowReport


def train_in(folder: Path, config: SweepConfig, watch: TrainingWatch) -> list[RowReport]:
    """Train into a folder; where just this was interrupted there it goes on, and where it has ended nothing is trained.

    Args:
        folder: a new or an empty one, or that of the same training.
        config: what to train.
        watch: is told the reports of before, too.

    Returns:
        All reports, by rung and replica, those of before included.

    Raises:
        ConfigError: the folder holds something else, or what the numbers depend on has changed; nothing was written.
        RnnsweepError: see `train_one`.
    """
    with training_folder.held(folder):
        kept = _kept_data(folder)
        now = take(config, kept)
        training_folder.begin(folder, to_json(config), now.plain())
        _check_unchanged(folder, config, now)
        if training_folder.ended(folder):
            reports = training_folder.read_reports(folder)
            _repeat(reports, watch.report)
            watch.note(f"It was trained to its end before: nothing is left to do in {folder}.")
            return reports
        return _go_on(folder, config, watch)


def _kept_data(folder: Path) -> dict[str, dict[str, object]] | None:
    """What is known of the data files: unchanged ones need not be read again."""
    before = training_folder.fingerprint_of(folder) if training_folder.begun(folder) else None
    return None if before is None else dict(before["data"])


def _check_unchanged(folder: Path, config: SweepConfig, now: Fingerprint) -> None:
    before = training_folder.fingerprint_of(folder)
    changed = ["not known: an older rnnsweep began it"]
    if before is not None:
        changed = differences(Fingerprint(**before), now, config.cluster.py_paths)
    training_folder.refuse_changes(folder, changed)


def _go_on(folder: Path, config: SweepConfig, watch: TrainingWatch) -> list[RowReport]:
    file = training_folder.ReportFile(folder)
    before = list(file)
    _repeat(before, watch.report)
    newest = {report.replica: report.step for report in before}
    begun = min(newest.values(), default=0)
    if begun:
        watch.note(f"Goes on at update {begun} in {folder}.")

    def keep(reports: list[RowReport]) -> None:
        for report in file.add(reports):
            watch.report(report)

    heard = dataclasses.replace(watch, rung=keep, begun=begun)
    train_one(config, heard, folder / training_folder.CHECKPOINTS)
    file.finish()
    return list(file)


def _repeat(reports: list[RowReport], tell: Callable[[RowReport], None]) -> None:
    for report in reports:
        tell(report)
