"""What a trained network says about sequences of one's own, as numbers and as a table."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rnnsweep.app.results.export import check_file
from rnnsweep.app.results.inference import TrainedNetwork
from rnnsweep.app.results.sequences import NamedSequence
from rnnsweep.core.losses import BINARY_CROSS_ENTROPY, CROSS_ENTROPY
from rnnsweep.errors import ConfigError

_BATCH = 256
"""Sequences at once."""
WRITTEN = (".csv", ".npz")


def predict(network: TrainedNetwork, sequences: Sequence[NamedSequence]) -> list[np.ndarray]:
    """Predictions for each sequence: [outputs], or [steps, outputs] where there is one at every step.

    Classes come as probabilities, so do outputs that are 0 or 1 each; all else as it is.
    """
    found: list[np.ndarray] = []
    for start in range(0, len(sequences), _BATCH):
        some = sequences[start : start + _BATCH]
        lengths = torch.tensor([len(one.values) for one in some])
        longest = int(lengths.max())
        inputs = torch.zeros(longest, len(some), network.parts.inputs, dtype=torch.float64)
        for index, one in enumerate(some):
            inputs[longest - len(one.values) :, index] = torch.from_numpy(one.values)  # right-aligned
        with torch.no_grad():
            outputs = _scale(network, network(inputs, lengths)).double().numpy()
        for index, length in enumerate(lengths.tolist()):
            found.append(outputs[longest - length :, index] if network.parts.per_step else outputs[index])
    return found


def _scale(network: TrainedNetwork, outputs: Tensor) -> Tensor:
    loss = network.program.task.loss
    if loss is CROSS_ENTROPY:
        return torch.softmax(outputs, -1)
    return torch.sigmoid(outputs) if loss is BINARY_CROSS_ENTROPY else outputs


def as_csv(network: TrainedNetwork, sequences: Sequence[NamedSequence], found: Sequence[np.ndarray]) -> str:
    """One row per sequence, or per step from 1; with classes, the likeliest one, then all probabilities."""
    stream, parts = io.StringIO(), network.parts
    writer = csv.writer(stream, lineterminator="\n")
    classes = network.program.task.loss is CROSS_ENTROPY
    letter = "y" if not classes and network.program.task.loss is not BINARY_CROSS_ENTROPY else "p"
    outputs = network.get("w_out").shape[1]
    head = ["sequence"] + ["step"] * parts.per_step + ["class"] * classes
    writer.writerow([*head, *(f"{letter}{index}" for index in range(outputs))])
    for one, values in zip(sequences, found, strict=True):
        for row in _rows(values, parts.per_step, classes):
            writer.writerow([one.name, *row])
    return stream.getvalue()


def _rows(values: np.ndarray, per_step: bool, classes: bool) -> Iterator[list[object]]:
    for step, outputs in enumerate(np.atleast_2d(values), 1):
        yield [*([step] if per_step else []), *([int(outputs.argmax())] if classes else []), *outputs.tolist()]


def check_out(out: Path) -> None:
    """Refuse a file of another kind, or one that cannot be written.

    Raises:
        ConfigError: it names the file.
    """
    if out.suffix.lower() not in WRITTEN:
        raise ConfigError("is of no kind that is written", key="--out", value=str(out), allowed=WRITTEN)
    check_file(out)


def write_predictions(
    out: Path, network: TrainedNetwork, sequences: Sequence[NamedSequence], found: Sequence[np.ndarray]
) -> Path:
    """Write a table (.csv), or arrays under the sequences' names (.npz)."""
    from rnnsweep.report.atomic_files import write

    if out.suffix.lower() == ".csv":
        return write(out, as_csv(network, sequences, found).encode())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # not `savez`, whose own parameters a sequence may be called after
        for one, values in zip(sequences, found, strict=True):
            with archive.open(f"{one.name}.npy", "w") as stream:
                np.lib.format.write_array(stream, values, allow_pickle=False)
    return write(out, buffer.getvalue())
