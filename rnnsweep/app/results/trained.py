"""What `train` leaves: one trial's reports, and its checkpoints as long as somebody wants them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from rnnsweep.app.results.training_folder import CHECKPOINTS, ended, read_config, read_reports
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.rows import RowReport

if TYPE_CHECKING:
    from rnnsweep.app.results.inference import TrainedNetwork


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


def load_trained(folder: Path | str) -> TrainedTrial:
    """A trial that `rnnsweep train --out FOLDER` or `rnnsweep.train(out=...)` kept.

    Raises:
        ConfigError: the folder holds no such trial, or one that has not come to its end.
    """
    place = Path(folder)
    config = read_config(place)
    if "variants" in config and not ended(place):
        hint = "The command that began it goes on with it."
        raise ConfigError("the training there was interrupted", key="folder", value=str(folder), hint=hint)
    return TrainedTrial(config, read_reports(place), place)
