"""Sequential digits: the pixels of a picture one by one, the class at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.datasets.idx import idx_files, read_mnist
from rnnsweep.core.rng import Draws, Split
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.success import argmax_errors
from rnnsweep.core.types import Batch
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range

_CLASSES, _STEPS, _LARGEST, _BYTE = 10, 64, 16, 255
_PARTS: dict[Split, tuple[int, int]] = {"train": (0, 1297), "valid": (1297, 250), "test": (1547, 250)}
"""First picture and number of pictures of each part of scikit-learn's digits."""
_Origin = tuple[str, str | None, str]
"""Source, path, and states of the files: what the pictures depend on."""
_SHUFFLE = rng.key(0, 0, "sequential digits, split")


@dataclass(frozen=True)
class SequentialDigits(Task):
    """Handwritten digits, pixels in 0..1, read row by row, one per step; ten classes at the end.

    ``sklearn``: 8 x 8 pixels, 64 steps; the 1797 pictures are shuffled once and for all and split into 1297 for
    training, 250 for validation, 250 for the test. ``idx``: MNIST's files, 784 steps; 50 000 pictures for training, the
    last 10 000 of the training file for validation, 10 000 for the test. An id counts within its part, modulo the
    part's size.

    Attributes:
        source: ``sklearn`` needs no file; ``idx`` reads those in `path`.
        path: folder of the IDX files; null: a small sample that comes with rnnsweep. Of ``idx`` only.
        permute: read the pixels in a random order, the same for all pictures.
        permutation_seed: which order.

    Numerics:
        ``sklearn``: pixels are k / 16, exact in every floating type. ``idx``: k / 255 rounded to float32.

    References:
        Alpaydin, Kaynak (1998), optical recognition of handwritten digits; LeCun et al. (1998); Le, Jaitly, Hinton
        (2015) for the task.

    Example:
        >>> SequentialDigits().max_length, SequentialDigits().samples
        (64, 1297)
    """

    fixed: ClassVar = {
        "source": ("sklearn", "idx"),
        "permute": (False, True),
        "permutation_seed": Range(0, integer=True),
    }

    source: str = "sklearn"
    path: str | None = None
    permute: bool = False
    permutation_seed: int = 0

    def check(self) -> None:
        """Also read the files of ``idx``.

        Raises:
            ConfigError: a field is out of range, or the files are missing or broken.
        """
        super().check()
        if self.source == "idx":
            read_mnist(self.path, states=self.data_states)
        elif self.path is not None:
            raise ConfigError(
                "needs no file", key="task.path", value=self.path, allowed="null, or task.source=idx for MNIST's files"
            )

    def data_files(self) -> Sequence[Path]:
        """See `Task.data_files`."""
        return idx_files(self.path) if self.source == "idx" else ()

    def unread(self) -> Mapping[str, str]:
        """Which order, where there is none."""
        return {} if self.permute else {"permutation_seed": "task.permute=false"}

    @property
    def n_inputs(self) -> int:
        """I = 1."""
        return 1

    @property
    def n_outputs(self) -> int:
        """O = 10."""
        return _CLASSES

    @property
    def max_length(self) -> int:
        """Pixels of a picture."""
        return (
            _STEPS if self.source == "sklearn" else read_mnist(self.path, states=self.data_states)["train"][0].shape[1]
        )

    @property
    def samples(self) -> int:
        """Training pictures."""
        return self.samples_of("train")

    def samples_of(self, split: Split) -> int:
        """Pictures of a part."""
        return (
            _PARTS[split][1]
            if self.source == "sklearn"
            else len(read_mnist(self.path, states=self.data_states)[split][1])
        )

    @property
    def chance_loss(self) -> float:
        """Entropy of the training classes, nats."""
        return -sum(share * math.log(share) for share in self._class_shares() if share)

    @property
    def chance_error(self) -> float:
        """1 - share of the commonest training class."""
        return 1 - max(self._class_shares())

    def batch(self, draws: Draws) -> Batch:
        """Pictures of the ids in `draws`, from the part that `draws.split` names; targets int64 [P, B]."""
        order = _pixel_order(self.max_length, int(self.permutation_seed)) if self.permute else None
        pixels, classes = _on_device(self._origin, draws.split, order, draws.device, draws.dtype)
        which = draws.ids % len(classes)  # P B
        inputs = pixels[which].transpose(1, 2)[..., None].contiguous()  # P T B 1
        return Batch(inputs, classes[which], torch.full_like(draws.batch_ids, self.max_length))

    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Whether the largest logit is not the class, bool [P, B]."""
        return argmax_errors(outputs, batch.targets)

    @property
    def _origin(self) -> _Origin:
        return self.source, self.path, self.data_states

    def _class_shares(self) -> tuple[float, ...]:
        return _class_shares(self._origin)


@lru_cache(maxsize=16)
def _pixel_order(steps: int, seed: int) -> tuple[int, ...]:
    keys = torch.tensor([rng.key(seed, 0, "sequential digits, pixels")])
    # a tuple: it is part of a cache's key
    return tuple(rng.permutations(keys, steps, 0)[0].tolist())


@lru_cache(maxsize=1)
def _bundled() -> tuple[Tensor, Tensor]:
    """All of scikit-learn's pictures, float32 [1797, 64], and classes, in the order of the parts."""
    from sklearn.datasets import load_digits  # here: the import takes a second, and other tasks do without

    pixels, classes = map(torch.as_tensor, load_digits(return_X_y=True))
    order = rng.permutations(torch.tensor([_SHUFFLE]), len(classes), 0)[0]
    return (pixels[order] / _LARGEST).float(), classes[order].to(torch.int64)


def _part(origin: _Origin, split: Split) -> tuple[Tensor, Tensor]:
    """Pixels float32 [n, steps] and classes int64 [n]."""
    source, path, states = origin
    if source == "sklearn":
        first, size = _PARTS[split]
        pixels, classes = _bundled()
        return pixels[first : first + size], classes[first : first + size]
    raw, labels = read_mnist(path, states=states)[split]
    return torch.from_numpy(raw.astype(np.float32) / np.float32(_BYTE)), torch.from_numpy(labels)


@lru_cache(maxsize=8)
def _on_device(
    origin: _Origin, split: Split, order: tuple[int, ...] | None, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    pixels, classes = _part(origin, split)
    pixels = pixels if order is None else pixels[:, list(order)]
    return pixels.to(device, dtype), classes.to(device)


@lru_cache(maxsize=4)
def _class_shares(origin: _Origin) -> tuple[float, ...]:
    classes = _part(origin, "train")[1]
    return tuple((classes.bincount(minlength=_CLASSES) / len(classes)).tolist())
