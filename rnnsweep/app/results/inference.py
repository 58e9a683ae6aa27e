"""A trained row as a torch module for inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rnnsweep.core.build import build_program, build_units
from rnnsweep.core.checkpoint import CheckpointStore, Saved, check_parameters
from rnnsweep.core.datasets.dataset_files import SPLITS
from rnnsweep.core.embedding import with_tied
from rnnsweep.core.families.own import OwnModule
from rnnsweep.core.network import Parts, RecurrentNetwork
from rnnsweep.core.pack import RowSnapshot
from rnnsweep.core.program import Program
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.rng import Split
from rnnsweep.core.types import Batch
from rnnsweep.errors import CheckpointError, ConfigError, RnnsweepError, nearest


class TrainedNetwork(RecurrentNetwork):
    """One trained row as a plain module, see `RecurrentNetwork`, which can score itself on its task.

    Attributes:
        program: units of the trial.
    """

    def __init__(self, program: Program, state: RowSnapshot, hypers: Mapping[str, float]) -> None:
        family, dtype = program.family, program.dtype
        parts = Parts(family, program.readout, program.task.n_inputs, program.task.per_step, program.embedding)
        values = with_tied({n: value.to("cpu", dtype)[None] for n, value in state.params.items()}, program.embedding)
        own = {key: torch.tensor([value], dtype=dtype) for key, value in hypers.items()}
        own |= {f"family.{name}": state.slots[f"family.{name}"].cpu()[None] for name in family.slots}
        family_hypers = {key.removeprefix("family."): value for key, value in own.items() if key.startswith("family.")}
        super().__init__(parts, values, family_hypers)
        self._trained = dict(state.params) if isinstance(family, OwnModule) else {}
        # a module that is copied and saved holds no fused loops, which have scratch memory and compiled code
        engine, _ = engine_for(family.cell, "reference", program.activation, dtype, torch.device("cpu"))
        self.program = replace(program, engine=engine, engine_note="", controllers={})

    def own_module(self) -> torch.nn.Module:
        """The trained cell as a module of the user's own class, where the family was made of one (`your-cell`).

        Raises:
            RnnsweepError: the family is another.
        """
        family = self.program.family
        if not isinstance(family, OwnModule):
            raise RnnsweepError(f"the family {family.unit_name} is made of no torch module")
        # as trained, not as folded; what was thawed and trained on since is newer
        values = self._trained | {name: value.detach() for name, value in self.named_parameters()}
        return family.trained(self.program.embedding.width(self.program.task.n_inputs), values)

    def evaluate(self, sequences: int = 1000, seed: int = 0, split: Split = "valid") -> dict[str, float]:
        """Loss and error on sequences that training has not seen (a stream of its own), and what derives from them.

        Args:
            sequences: how many; of a finite data set at most all.
            seed: of the stream.
            split: part of a finite data set: ``valid``, or ``test``, which no decision of a sweep has looked at.

        Raises:
            ConfigError: there is no such part.
        """
        if split not in SPLITS:
            raise ConfigError(
                "no such part", key="split", value=split, allowed=SPLITS, hint=nearest(str(split), SPLITS)
            )
        from rnnsweep.core.evaluation import score
        from rnnsweep.core.pack import Streams

        device, task = self.get("w_out").device, self.program.task
        program = replace(self.program, device=device, dtype=self.dtype, eval_size=sequences)
        key = torch.tensor([Streams(seed, 0).key("inference")], device=device)
        with torch.no_grad():
            scores = score(program, key, torch.zeros_like(key), self._answer, self._generated, split)
        metrics = {"loss": float(scores.loss), "error": float(scores.error)}
        shares = {key: share * metrics["loss"] for key, share in task.derived.items()}
        further = shares | {key: float(value) for key, value in scores.measured.items()}
        return metrics | {key.removeprefix("valid/"): value for key, value in further.items()}

    def _answer(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs, loss and last state of a mini-batch of a pack of one; see `evaluation.score`."""
        from rnnsweep.core.readout import cost

        inputs, B = batch.inputs[0], batch.inputs.shape[2]
        if batch.state is not None:
            outputs, last = self.stream(inputs, batch.state[0])
        elif self.program.task.carries:
            outputs, last = self.stream(inputs)
        else:
            outputs, last = self(inputs, batch.lengths[0].expand(B)), inputs.new_empty(0)
        return outputs[None], cost(self.program.task, outputs[None], batch), last[None]

    def _generated(self, batch: Batch) -> Tensor:
        """What a pack of one makes after a mini-batch; see `evaluation.score`."""
        outputs, state = self.stream(batch.inputs[0])
        made = []
        for _ in range(self.program.task.free_steps):
            outputs, state = self.stream(outputs[-1:, :, : batch.inputs.shape[3]], state)
            made.append(outputs[0])
        return torch.stack(made)[None]


def load_network(
    config: Mapping[str, Any], root: str, rows: Sequence[tuple[int, int]], tokens: Mapping[int, Sequence[str]]
) -> TrainedNetwork:
    """The network with the smallest validation loss among some rows of one trial.

    Args:
        config: the trial's full config. root: of the sweep's checkpoints.
        rows: (trial, replica). tokens: trial -> tokens of its attempts.

    Raises:
        CheckpointError: none of the rows has a readable checkpoint, or it has other parameters than this network.
    """
    from rnnsweep.core.build import row_hypers

    store, units = CheckpointStore(root), build_units(config)
    checkpoints = [saved for row in rows if (saved := best_checkpoint(store, row, tokens[row[0]])) is not None]
    if not checkpoints:
        raise CheckpointError(root, "no readable checkpoint of this trial")
    best = min(checkpoints, key=lambda saved: saved.state.best_loss)
    program = build_program(config, units, torch.device("cpu"))
    check_parameters(best.state, program.layout, root)
    return TrainedNetwork(program, best.state, row_hypers(units)).eval()


def best_checkpoint(store: CheckpointStore, row: tuple[int, int], tokens: Sequence[str]) -> Saved | None:
    """A row's checkpoint with the smallest validation loss, else its newest one."""
    folders = [store.folder(*row, token) for token in tokens]
    newest = store.newest(folders)
    if newest is None or newest.state.best_rung == newest.state.rung:
        return newest
    for folder in folders:
        if newest.state.best_rung in store.rungs(folder):
            try:
                return store.load(folder, newest.state.best_rung)
            except CheckpointError:
                continue
    return newest
