"""What `train` leaves: one trial's reports, and its checkpoints as long as somebody wants them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from rnnsweep.errors import ConfigError
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState

if TYPE_CHECKING:
    from rnnsweep.app.results.inference import TrainedNetwork

CONFIG, REPORTS, CHECKPOINTS = "trial.yaml", "reports.json", "checkpoints"
_OPTION = "--out"


class TrainedTrial(Sequence[RowReport]):
    """One trained trial; a sequence of its reports, by rung and replica.

    Attributes:
        folder: where its checkpoints are.

    Example:
        trial = rnnsweep.train(["family=lstm"], out="mine")
        trial[-1].metrics["valid/error"], trial.load().evaluate()
    """

    def __init__(self, config: Mapping[str, Any], reports: Iterable[RowReport], folder: Path, keep: Any = None) -> None:
        """Take over what was trained.

        Args:
            config: the sweep config as `to_json` gives it; its base point was trained.
            reports: all of them.
            folder: below it are the checkpoints.
            keep: held as long as this object lives: a temporary directory deletes itself with it.
        """
        self._config, self._reports, self.folder, self._keep = config, list(reports), folder, keep

    def __len__(self) -> int:
        return len(self._reports)

    @overload
    def __getitem__(self, index: int) -> RowReport: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RowReport]: ...
    def __getitem__(self, index: int | slice) -> RowReport | Sequence[RowReport]:
        return self._reports[index]

    def __repr__(self) -> str:
        kept = "checkpoints until it is deleted" if self._keep is not None else str(self.folder)
        return f"TrainedTrial({len(self)} reports, {kept})"

    def load(self, replica: int | None = None) -> TrainedNetwork:
        """The trained network for inference, from the checkpoint with the smallest validation loss.

        Args:
            replica: which replica; None takes the best of all.

        Raises:
            CheckpointError: there is no checkpoint (left).
        """
        from rnnsweep.app.config.load import allow_stored_imports, from_json
        from rnnsweep.app.config.point import resolve_point
        from rnnsweep.app.results.inference import load_network

        config = from_json(self._config)
        allow_stored_imports(config)
        point = resolve_point(config.variants, dict(config.variants[0].groups))
        root = self.folder / CHECKPOINTS
        replicas = range(config.plan.replicas) if replica is None else (replica,)
        tokens = sorted({path.name for path in root.glob("*/*/*")})
        return load_network(point, str(root), [(0, index) for index in replicas], {0: tokens})


def check_free(folder: Path) -> None:
    """Refuse a folder that holds something, or that cannot be written, before hours of training.

    Raises:
        ConfigError: it names the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError("is there already", key=_OPTION, value=str(folder), allowed="a new or an empty folder")
    above = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ConfigError("cannot be written", key=_OPTION, value=str(folder), allowed="a folder of your own")


def save_config(config: Mapping[str, Any], folder: Path) -> None:
    """Write what `load_trained` needs besides the checkpoints."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    plain = json.loads(json.dumps(dict(config)))  # tuples become lists, which yaml can say
    (folder / CONFIG).write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")


def save_reports(reports: Iterable[RowReport], folder: Path) -> None:
    """Write them as JSON; metrics are finite, so that every reader takes them."""
    data = [{**dataclasses.asdict(report), "state": report.state.value} for report in reports]
    (folder / REPORTS).write_text(json.dumps(data, indent=1, allow_nan=False), encoding="utf-8")


def load_trained(folder: Path | str) -> TrainedTrial:
    """A trial that `rnnsweep train --out FOLDER` or `rnnsweep.train(out=...)` kept.

    Raises:
        ConfigError: the folder holds no such trial.
    """
    import yaml

    file = Path(folder) / CONFIG
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        texts = json.loads((Path(folder) / REPORTS).read_text(encoding="utf-8"))
        reports = [RowReport(**{**data, "state": RowState(data["state"])}) for data in texts]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        hint = "It is made by rnnsweep train --out FOLDER."
        raise ConfigError(f"holds no trained trial: {reason}", key="folder", value=str(folder), hint=hint) from None
    return TrainedTrial(config, reports, Path(folder))
