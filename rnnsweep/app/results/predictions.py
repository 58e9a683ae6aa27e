"""What a trained network says about sequences of one's own, as numbers and as a table."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rnnsweep.app.results.export import check_file
from rnnsweep.app.results.inference import TrainedNetwork
from rnnsweep.app.results.sequences import NamedSequence, StoredSequence, read_sequences
from rnnsweep.core.losses import BINARY_CROSS_ENTROPY, CrossEntropy
from rnnsweep.core.tasks.base import Task
from rnnsweep.errors import ConfigError

_BATCH = 256
"""Sequences at once."""
WRITTEN = (".csv", ".npz")


def sequences_for(network: TrainedNetwork, data: Path) -> list[NamedSequence]:
    """Sequences of a file, prepared as those that the network was trained on.

    A task on files of the user's own reads the same columns, with the numbers of its training part; other tasks take
    plain inputs, see `read_sequences`.

    Raises:
        ConfigError: what is wrong with the file.
    """
    try:
        task = network.program.task
        # not asked of a task without symbols, whose author may know of no codes
        found = task.read_new(str(data), tokens=True) if network.parts.tokens else task.read_new(str(data))
    except ConfigError as error:
        if error.key != "task.path":
            raise
        raise ConfigError(
            error.problem, key="--data", value=error.value, allowed=error.allowed, hint=error.hint
        ) from error.__cause__
    if found is None:
        return read_sequences(data, 1 if network.parts.tokens else network.parts.inputs)
    return [StoredSequence(name, partial(found.take, index)) for index, name in enumerate(found.names)]


def predict(network: TrainedNetwork, sequences: Sequence[NamedSequence]) -> list[np.ndarray]:
    """Predictions for each sequence: [outputs], or [steps, outputs] where there is one at every step.

    Classes come as probabilities, so do outputs that are 0 or 1 each; all else in the units of the data.
    """
    found: list[np.ndarray] = []
    for start in range(0, len(sequences), _BATCH):
        some = [one.values for one in sequences[start : start + _BATCH]]
        lengths = torch.tensor([len(values) for values in some])
        longest = int(lengths.max())
        width = 1 if network.parts.tokens else network.parts.inputs
        inputs = torch.zeros(longest, len(some), width, dtype=torch.float64)
        for index, values in enumerate(some):
            inputs[longest - len(values) :, index] = torch.from_numpy(values)  # right-aligned
        inputs = _codes(inputs) if network.parts.tokens else inputs
        with torch.no_grad():
            outputs = _scale(network, network(inputs, lengths)).double().numpy()
        outputs = network.program.task.in_units(outputs)
        for index, length in enumerate(lengths.tolist()):
            found.append(outputs[longest - length :, index] if network.parts.per_step else outputs[index])
    return found


def _codes(inputs: Tensor) -> Tensor:
    """Codes of symbols [T, B, 1] as whole numbers [T, B]."""
    codes = inputs[..., 0].long()
    if bool((codes != inputs[..., 0]).any()):
        raise ConfigError("are no codes of symbols", key="--data", allowed="one column of whole numbers, 0 or more")
    return codes


def _scale(network: TrainedNetwork, outputs: Tensor) -> Tensor:
    loss = network.program.task.loss
    if isinstance(loss, CrossEntropy):
        return torch.softmax(outputs, -1)
    return torch.sigmoid(outputs) if loss is BINARY_CROSS_ENTROPY else outputs


def as_csv(network: TrainedNetwork, sequences: Sequence[NamedSequence], found: Sequence[np.ndarray]) -> str:
    """One row per sequence, or per step from 1; with classes, the likeliest one, then all probabilities.

    Classes and outputs are called by the task's `output_names`, else by numbers from 0.
    """
    stream, parts, task = io.StringIO(), network.parts, network.program.task
    writer = csv.writer(stream, lineterminator="\n")
    outputs = network.get("w_out").shape[1]
    classes = list(task.output_names or range(outputs)) if isinstance(task.loss, CrossEntropy) else None
    head = ["sequence"] + ["step"] * parts.per_step + ["class"] * (classes is not None)
    writer.writerow([*head, *columns_of(task, outputs)])
    for one, values in zip(sequences, found, strict=True):
        for row in _rows(values, parts.per_step, classes):
            writer.writerow([one.name, *row])
    return stream.getvalue()


def columns_of(task: Task, outputs: int) -> list[str]:
    """Names of the columns with outputs: p0, or p_NAME, of probabilities; y0, or NAME, of values."""
    letter = "p" if isinstance(task.loss, CrossEntropy) or task.loss is BINARY_CROSS_ENTROPY else "y"
    if not task.output_names:
        return [f"{letter}{index}" for index in range(outputs)]
    return [f"p_{label}" if letter == "p" else label for label in task.output_names]


def _rows(values: np.ndarray, per_step: bool, classes: Sequence[object] | None) -> Iterator[list[object]]:
    for step, outputs in enumerate(np.atleast_2d(values), 1):
        likeliest = [] if classes is None else [classes[int(outputs.argmax())]]
        yield [*([step] if per_step else []), *likeliest, *outputs.tolist()]


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
