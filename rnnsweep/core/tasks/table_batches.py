"""Mini-batches of a user's sequences; all rows of all packs on a device read one copy of the data.

Shapes: P rows · T steps of the longest sample · B mini-batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rnnsweep.core.datasets.mapped_arrays import MappedRows
from rnnsweep.core.datasets.table_preparing import TOKENS, Prepared, Spec, prepare
from rnnsweep.core.rng import Draws, Split
from rnnsweep.core.tasks.onehot import symbols
from rnnsweep.core.types import Batch


@dataclass(frozen=True, eq=False)
class _OnDevice:
    """What mini-batches of one part are made of; `targets` and `known` end with a row as `inputs` does, per step."""

    inputs: Tensor
    targets: Tensor
    known: Tensor
    samples: Tensor
    weights: Tensor | None


@dataclass(frozen=True, eq=False)
class _Mapped:
    """The same of arrays on the disk; targets of sequences alone are in memory."""

    targets: Tensor
    samples: np.ndarray
    weights: Tensor | None


@lru_cache(maxsize=8)
def _on_device(spec: Spec, split: Split, device: torch.device, dtype: torch.dtype) -> _OnDevice:
    inputs, targets, known = _tensors(spec, device, dtype)
    prepared = prepare(spec)
    samples = torch.from_numpy(prepared.samples[split]).to(device)
    weights = None if prepared.weights is None else torch.from_numpy(prepared.weights).to(device, dtype)
    return _OnDevice(inputs, targets, known, samples, weights)


@lru_cache(maxsize=4)
def _tensors(spec: Spec, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and which are known: one copy per device, whatever the part."""
    prepared = prepare(spec)
    assert isinstance(prepared.inputs, np.ndarray)
    arrays = (prepared.inputs, prepared.targets.values, prepared.targets.known)
    # codes and classes stay whole numbers
    inputs, targets, known = (
        each.to(device, dtype) if each.dtype == torch.float32 else each.to(device)
        for each in map(torch.from_numpy, arrays)
    )
    return inputs, targets, known


@lru_cache(maxsize=8)
def _mapped(spec: Spec, split: Split, device: torch.device, dtype: torch.dtype) -> _Mapped:
    prepared = prepare(spec)
    targets = torch.from_numpy(prepared.targets.values)
    targets = targets.to(device, dtype) if targets.dtype == torch.float32 else targets.to(device)
    weights = None if prepared.weights is None else torch.from_numpy(prepared.weights).to(device, dtype)
    return _Mapped(targets, prepared.samples[split], weights)


def _from_disk(spec: Spec, prepared: Prepared, draws: Draws) -> Batch:
    """As `batch`, where only the samples of this mini-batch are read, each once for all rows of the pack."""
    assert isinstance(prepared.inputs, MappedRows)
    data, T = _mapped(spec, draws.split, draws.device, draws.dtype), prepared.longest
    chosen = (draws.ids % len(data.samples)).cpu().numpy()
    numbers, inverse = np.unique(chosen, return_inverse=True)
    first, steps, sequence = data.samples[numbers].T  # U
    position = np.arange(T) - (T - steps)[:, None]  # U T
    own = position >= 0
    index = np.where(own, first[:, None] + position, -1)
    which = torch.from_numpy(inverse.reshape(chosen.shape)).to(draws.device)  # P B

    def read(rows: MappedRows, index: np.ndarray) -> Tensor:
        taken = torch.from_numpy(rows.take(index.ravel())).to(draws.device, draws.dtype)
        return taken.view(*index.shape, -1)[which].transpose(1, 2).contiguous()  # P T B d

    lengths = torch.full_like(draws.batch_ids, T)
    if not prepared.even:
        lengths = torch.from_numpy(steps).to(draws.device)[which]
    inputs = read(prepared.inputs, index)
    of = torch.from_numpy(sequence).to(draws.device)[which]
    weights = None if data.weights is None else data.weights[of]
    if prepared.aims is None:
        return Batch(inputs, data.targets[of], lengths, weights=weights)
    # as in `batch`: before the start the first row, which is not scored
    targets = read(prepared.aims, np.where(own, index + spec.ahead, 0))
    mask = torch.from_numpy(own).to(draws.device)[which].transpose(1, 2).to(draws.dtype)
    return Batch(inputs, targets, lengths, mask.contiguous(), weights=weights)


def batch(spec: Spec, draws: Draws) -> Batch:
    """Samples of the ids in `draws`; targets [P, B, ...] or [P, T, B, ...]."""
    prepared = prepare(spec)
    if isinstance(prepared.inputs, MappedRows):
        return _from_disk(spec, prepared, draws)
    data, T = _on_device(spec, draws.split, draws.device, draws.dtype), prepared.longest
    first, steps, sequence = data.samples[draws.ids % len(data.samples)].unbind(2)  # P B
    position = torch.arange(T, device=draws.device)[:, None] - (T - steps)[:, None]  # P T B
    own = position >= 0
    # -1 is the row of zeros that the inputs end with
    index = torch.where(own, first[:, None] + position, torch.full_like(position, -1))
    lengths = torch.full_like(draws.batch_ids, T) if prepared.even else steps
    read = data.inputs[index]
    inputs = read if spec.goal not in TOKENS else symbols(read, own, prepared.recipe.width, draws)
    weights = None if data.weights is None else data.weights[sequence]
    if not spec.per_step:
        return Batch(inputs, data.targets[sequence], lengths, weights=weights)
    # before the start any row that exists will do: it is not scored
    aimed = torch.where(own, index + spec.ahead, torch.zeros_like(index))
    return Batch(inputs, data.targets[aimed], lengths, (own & data.known[aimed]).to(draws.dtype), weights=weights)
