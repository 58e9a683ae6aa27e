"""Sequential digits: the pixels of a picture one by one, the class at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.rng import Draws, Split
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.success import argmax_errors
from rnnsweep.core.types import Batch
from rnnsweep.core.unit import Range

_STEPS, _CLASSES, _LARGEST = 64, 10, 16
_PARTS: dict[Split, tuple[int, int]] = {"train": (0, 1297), "valid": (1297, 250), "test": (1547, 250)}
_SHUFFLE = rng.key(0, 0, "sequential digits, split")


@dataclass(frozen=True)
class SequentialDigits(Task):
    """Handwritten digits, 8 x 8 pixels in 0..1, read row by row in 64 steps; ten classes.

    The 1797 pictures are shuffled once and for all and split into 1297 for training, 250 for validation, 250 for the
    test; an id counts within its split, modulo the split's size.

    Attributes:
        source: ``sklearn``: the digits that come with scikit-learn; no file is needed.
        permute: read the pixels in a random order, the same for all pictures.
        permutation_seed: which order.

    Numerics:
        Pixels are k / 16, exact in every floating type.

    References:
        Alpaydin, Kaynak (1998), optical recognition of handwritten digits; Le, Jaitly, Hinton (2015) for the task.

    Example:
        >>> SequentialDigits().max_length, SequentialDigits().samples
        (64, 1297)
    """

    fixed: ClassVar = {
        "source": ("sklearn",),
        "permute": (False, True),
        "permutation_seed": Range(0, integer=True),
    }

    source: str = "sklearn"
    permute: bool = False
    permutation_seed: int = 0

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
        """64 steps."""
        return _STEPS

    @property
    def samples(self) -> int:
        """1297 training pictures."""
        return _PARTS["train"][1]

    @property
    def chance_loss(self) -> float:
        """Entropy of the training classes, nats."""
        return -sum(share * math.log(share) for share in _class_shares())

    @property
    def chance_error(self) -> float:
        """1 - share of the commonest training class."""
        return 1 - max(_class_shares())

    def batch(self, draws: Draws) -> Batch:
        """Pictures of the ids in `draws`, from the part that `draws.split` names; targets int64 [P, B]."""
        first, size = _PARTS[draws.split]
        pixels, classes = _on_device(self._order(), draws.device, draws.dtype)
        which = first + draws.ids % size
        inputs = pixels[which].transpose(1, 2)[..., None].contiguous()  # P T B 1
        return Batch(inputs, classes[which], torch.full_like(draws.batch_ids, _STEPS))

    def errors(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Whether the largest logit is not the class, bool [P, B]."""
        return argmax_errors(outputs, batch.targets)

    def _order(self) -> tuple[int, ...]:
        if not self.permute:
            return tuple(range(_STEPS))
        return _pixel_order(int(self.permutation_seed))


@lru_cache(maxsize=16)
def _pixel_order(seed: int) -> tuple[int, ...]:
    keys = torch.tensor([rng.key(seed, 0, "sequential digits, pixels")])
    return tuple(rng.permutations(keys, _STEPS, 0)[0].tolist())


@lru_cache(maxsize=1)
def _pictures() -> tuple[Tensor, Tensor]:
    """All pictures, float64 [1797, 64], and classes, in the order of the splits."""
    from sklearn.datasets import load_digits  # here: the import takes a second, and other tasks do without

    pixels, classes = map(torch.as_tensor, load_digits(return_X_y=True))
    order = rng.permutations(torch.tensor([_SHUFFLE]), len(classes), 0)[0]
    return pixels[order].double() / _LARGEST, classes[order].to(torch.int64)


@lru_cache(maxsize=8)
def _on_device(order: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    pixels, classes = _pictures()
    return pixels[:, list(order)].to(device, dtype), classes.to(device)


@lru_cache(maxsize=1)
def _class_shares() -> tuple[float, ...]:
    _, size = _PARTS["train"]
    counts = _pictures()[1][:size].bincount(minlength=_CLASSES)
    return tuple((counts / size).tolist())
