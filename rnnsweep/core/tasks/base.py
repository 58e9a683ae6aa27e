"""The contract of a task: what is fed in, what is wanted, what counts as wrong."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from rnnsweep.core.datasets.dataset_files import files_below, states_of
from rnnsweep.core.datasets.new_sequences import NewSequences
from rnnsweep.core.losses import CROSS_ENTROPY, Loss
from rnnsweep.core.rng import Draws, Split
from rnnsweep.core.types import Batch
from rnnsweep.unit import Unit


@dataclass(frozen=True)
class Task(Unit):
    """Base of tasks: synthetic sequences, or samples of a data set.

    A sequence is a function of its *id* and the row's key alone (`draws`): which mini-batch it appears in does not
    matter, except for quantities drawn per mini-batch (its length, where that is random). Training sequences of a task
    that carries the state are a function of the update instead: they are pieces of streams.

    Attributes (of a subclass's instances, as fields or properties):
        n_inputs, n_outputs: I and O.
        max_length: T_max, the longest sequence in steps.
        loss: cross-entropy (targets int64), binary cross-entropy (targets 0/1 in the floating type, one per output),
            squared error (targets float), or a `Loss` of the task's own.
        per_step: the read-out is applied at every step (targets [P, T, B, ...]), else at the last step only.
        chance_loss, chance_error: of the best output that ignores the input (docs/maths.md#chance-levels).
        samples: number of training samples of a finite data set, or None where sequences are endless.
    """

    unit_group: ClassVar[str] = "task"
    loss: ClassVar[Loss] = CROSS_ENTROPY
    per_step: ClassVar[bool] = False

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """I."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """O."""

    @property
    @abstractmethod
    def max_length(self) -> int:
        """T_max in steps."""

    @property
    @abstractmethod
    def chance_loss(self) -> float:
        """Loss of the best output that ignores the input, nats or squared units."""

    @property
    @abstractmethod
    def chance_error(self) -> float:
        """Share of errors of the best output that ignores the input."""

    @property
    def derived(self) -> Mapping[str, float]:
        """Metrics of this task, declared in `metrics`, that are a share of the validation loss: key -> share."""
        return {}

    def measure(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Mapping[str, Shaped[Tensor, "P B"]]:
        """Metrics of this task, declared in `metrics`, of every sequence of an evaluation: key -> [P, B].

        The mean over the sequences is reported; sequences weigh as they do in the error.
        """
        del outputs, batch
        return {}

    def collect(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Mapping[str, Shaped[Tensor, "P n ..."]]:
        """What `summarise` needs of a mini-batch of an evaluation; mini-batches are joined along the second axis."""
        del outputs, batch
        return {}

    def summarise(self, collected: Mapping[str, Shaped[Tensor, "P n ..."]]) -> Mapping[str, Shaped[Tensor, " P"]]:
        """Metrics of this task, declared in `metrics`, that are no means over sequences: key -> [P].

        Such as F1, AUROC or the root of a mean. A row's numbers may depend on its own outputs alone, to the bit.
        """
        del collected
        return {}

    @property
    def output_names(self) -> Sequence[str]:
        """Names of the outputs, such as those of classes; empty: they have none."""
        return ()

    def read_new(self, path: str, *, tokens: bool = False) -> NewSequences | None:
        """Names and inputs [steps, I] of the sequences of another file, prepared as the task's own; None: unprepared.

        Args:
            path: of the file.
            tokens: symbols as their codes, [steps, 1].

        Raises:
            ConfigError: the file is not as it should be.
        """
        del path, tokens
        return None

    def preparation(self) -> Mapping[str, Any]:
        """What makes inputs of raw sequences, as JSON: `table_preparing.preparation`; empty: inputs are as they are."""
        return {}

    def raw_rows(self, count: int) -> Mapping[str, Sequence[Any]]:
        """Columns of some raw sequences, where there is a `preparation`."""
        del count
        return {}

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs [..., O] that are values, in the units of the data."""
        return outputs

    @property
    def free_steps(self) -> int:
        """Steps that an evaluation lets the network run on its own outputs as inputs; 0: it does not.

        Inputs are then as many as outputs, or none.
        """
        return 0

    def measure_generated(self, outputs: Float[Tensor, "P m B O"]) -> Mapping[str, Shaped[Tensor, " P"]]:
        """Metrics of this task, declared in `metrics`, of what a network made in `free_steps`: key -> [P]."""
        del outputs
        return {}

    @property
    def probes(self) -> Mapping[str, Task]:
        """Tasks that every evaluation scores beside this one, by what their metrics' keys end with after a dot.

        They differ from this one in what an evaluation may vary by itself, such as the length; inputs, outputs, loss
        and metrics are this one's. Training and `solved_at` know nothing of them.
        """
        return {}

    @property
    def chance(self) -> Mapping[str, float]:
        """What a network that ignores its input scores at best, by metric; where it is known."""
        shares = {key: share * self.chance_loss for key, share in self.derived.items()}
        return {"valid/loss": self.chance_loss, "valid/error": self.chance_error, **shares}

    @property
    def worst(self) -> Mapping[str, float]:
        """What a diverged replica scores, by metric, finite: errors 1, losses 10 x chance."""
        # finite, since samplers' models need numbers, and far beyond what a network that learns nothing scores
        loss = 10.0 * self.chance_loss
        shares = {key: share * loss for key, share in self.derived.items()}
        return {"train/loss": loss, "valid/loss": loss, "valid/error": 1.0, **shares}

    @property
    def tokens(self) -> bool:
        """Whether an input is one of I symbols: one-hot vectors, or their codes 0..I-1 where `Draws.tokens` asks."""
        return False

    @property
    def samples(self) -> int | None:
        """Size of a finite training set; None = endless."""
        return None

    def samples_of(self, split: Split) -> int | None:
        """Number of samples of one part of a finite data set; None = endless (the parts of made sequences are)."""
        return self.samples if split == "train" else None

    def data_files(self) -> Sequence[Path]:
        """Files that the sequences are read from: what a field called `path` names, a folder with all that lies in it.

        A sweep keeps a digest of each and notices when one has changed. For a task that reads other files, or only some
        of a folder's, this is the place to say so.
        """
        path = getattr(self, "path", None)
        return files_below(path) if isinstance(path, str) else ()

    @cached_property
    def data_states(self) -> str:
        """Of `data_files`, as they are when it is first asked: whatever is kept of them is kept for these."""
        return states_of(self.data_files())

    def data_sets(self) -> Sequence[Mapping[str, Any]]:
        """Blocks that name data sets made by code: a sweep keeps a digest of the content of each."""
        return ()

    @property
    def carries(self) -> bool:
        """Whether the state goes over from one mini-batch to the next, which then are a stream; see `begins`."""
        return False

    def begins(self, step: Int64[Tensor, " P"], batch: int) -> Bool[Tensor, " P"]:
        """Rows, bool [P], whose mini-batch of update `step` [P] starts anew, where the task carries the state."""
        del batch
        return step == 0

    def check_batch(self, batch: int) -> None:
        """Raise `ConfigError` where mini-batches of this size cannot be made."""
        del batch

    @abstractmethod
    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; inputs [P, T_max, B, I] in draws.dtype, or codes (see `tokens`)."""

    @abstractmethod
    def errors(self, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Shaped[Tensor, "P B"]:
        """Which sequences are wrong, bool [P, B]; outputs [P, B, O] (logits or values), per step [P, T, B, O].

        Tasks on natural data, where no sequence is ever wholly right, give the share of wrong steps instead, 0..1 in
        float64 [P, B]. A non-finite output is wrong.
        """
