"""Frame regression: the next frame of a spectrogram or any other sequence of vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.datasets.frame_files import frame_files, read_frames
from rnnsweep.core.losses import SQUARED_ERROR, Loss
from rnnsweep.core.rng import Split
from rnnsweep.core.tasks.success import share_of_steps, squared_errors
from rnnsweep.core.tasks.windows import WindowTask
from rnnsweep.core.types import Batch
from rnnsweep.unit import POSITIVE, Metric


@dataclass(frozen=True)
class FrameRegression(WindowTask):
    """Frames of d values, as they are in the files; wanted is the next frame.

    The loss is the squared error per step, summed over the d values, over the steps that belong to a sequence only;
    ``valid/loss_per_value`` is its mean over the values, the form of published errors. The error is the share of steps
    whose squared error per value exceeds `tolerance`.

    Attributes:
        tolerance: squared units of the data.

    Numerics:
        Frames are taken as float32.

    References:
        Wisdom et al. (2016) and Nguyen et al. (2020) for TIMIT frames. Ours differs: nothing is standardised, and the
        rule for errors is our own.

    Example:
        >>> task = FrameRegression(length=20)
        >>> task.n_inputs == task.n_outputs, task.max_length
        (True, 20)
    """

    fixed: ClassVar = {**WindowTask.fixed, "tolerance": POSITIVE}
    loss: ClassVar[Loss] = SQUARED_ERROR
    metrics: ClassVar[Mapping[str, Metric]] = {
        "valid/loss_per_value": Metric("squared error per value of a frame", "squared error per value")
    }

    tolerance: float = 0.04

    @staticmethod
    def load(*source: Any, states: str | None = None) -> Mapping[Split, Sequence[np.ndarray]]:
        """Sequences as float32 [steps, d]."""
        return read_frames(*source, states=states)

    def data_files(self) -> Sequence[Path]:
        """See `Task.data_files`."""
        return frame_files(self.path)

    @property
    def n_inputs(self) -> int:
        """I = d."""
        return self.parts()["train"][0].shape[1]

    @property
    def n_outputs(self) -> int:
        """O = d."""
        return self.n_inputs

    @property
    def chance_loss(self) -> float:
        """Variance of the training frames, summed over the values."""
        return _chance(self, self.data_states)[0]

    @property
    def chance_error(self) -> float:
        """Error of the mean training frame."""
        return _chance(self, self.data_states)[1]

    @property
    def derived(self) -> Mapping[str, float]:
        """The loss per value, the mean over a frame's d values."""
        return {"valid/loss_per_value": 1 / self.n_outputs}

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Share of steps that are off by more than `tolerance`, float64 [P, B]."""
        assert batch.mask is not None
        # `tolerance` is per value, the squared error is summed over them
        wrong = squared_errors(outputs, batch.targets, float(self.tolerance) * self.n_outputs)
        return share_of_steps(wrong, batch.mask)


@lru_cache(maxsize=16)
def _chance(task: FrameRegression, states: str) -> tuple[float, float]:
    del states  # see `windows._table`
    # float64: a float32 mean over many frames loses digits
    frames = task.training_targets().astype(np.float64)
    squares = (frames - frames.mean(0)) ** 2
    return float(squares.sum(1).mean()), float((squares.mean(1) > task.tolerance).mean())
