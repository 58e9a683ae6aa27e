"""A trained row as a torch module for inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rnnsweep.core.build import build_program, build_units
from rnnsweep.core.checkpoint import CheckpointStore, Saved, check_parameters
from rnnsweep.core.families.own import OwnModule
from rnnsweep.core.pack import RowSnapshot
from rnnsweep.core.program import Program
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.errors import CheckpointError, ConfigError, RnnsweepError


class TrainedNetwork(torch.nn.Module):
    """One trained row, for inference.

    Attributes:
        program: units of the trial. Parameters carry the names of the checkpoint; ``W[from, to]``.
    """

    def __init__(self, program: Program, state: RowSnapshot, hypers: Mapping[str, float]) -> None:
        super().__init__()
        self.program = program
        self.hypers = {key: torch.tensor([value], dtype=program.dtype) for key, value in hypers.items()}
        self.slots = {f"family.{name}": state.slots[f"family.{name}"] for name in program.family.slots}
        for name, value in state.params.items():
            self.register_parameter(name, torch.nn.Parameter(value.to(program.dtype), requires_grad=False))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of sequences: [T, B, I] -> [B, O], or [T, B, O] for tasks with an output at every step.

        Raises:
            ConfigError: inputs of another shape.
            RnnsweepError: it is being traced, which would fix the length for good without a word.
        """
        self._check(inputs)
        program = self.program
        values = {name: value[None] for name, value in self.named_parameters()}
        constants = {**self.hypers, **{key: value[None] for key, value in self.slots.items()}}
        family = {key.removeprefix("family."): value for key, value in constants.items() if key.startswith("family.")}
        model, lengths = program.family, torch.tensor([inputs.shape[0]])
        with torch.no_grad():
            weights = model.weights(values, family)
            engine, _ = engine_for(model.cell, "reference", program.activation, program.dtype, torch.device("cpu"))
            feed = model.feed(values, family, inputs[None].to(program.dtype), lengths)
            states = model.visible(engine.forward(feed.inputs, weights, program.activation, lengths).h)
            states = program.readout.see(values, states, lengths, program.task.per_step).states
            h = states[0, 1:] if program.task.per_step else states[0, -1]
            y = h @ values["w_out"][0]
            return y + values["b_out"][0] if "b_out" in values else y

    def _check(self, inputs: Tensor) -> None:
        if torch.jit.is_tracing():  # the loop over steps and the lengths would become constants
            hint = "call the module itself, or export it with torch.export, which refuses other lengths"
            raise RnnsweepError(f"a trace of this network would be wrong at any other length: {hint}")
        wanted = self.program.task.n_inputs
        if inputs.dim() != 3 or inputs.shape[0] < 1 or inputs.shape[-1] != wanted:
            allowed = f"[T, B, {wanted}]: steps, sequences, and the inputs of this task"
            raise ConfigError("has another shape", key="inputs", value=list(inputs.shape), allowed=allowed)

    def own_module(self) -> torch.nn.Module:
        """The trained cell as a module of the user's own class, where the family was made of one (`your-cell`).

        Raises:
            RnnsweepError: the family is another.
        """
        family = self.program.family
        if not isinstance(family, OwnModule):
            raise RnnsweepError(f"the family {family.unit_name} is made of no torch module")
        return family.trained(self.program.task.n_inputs, dict(self.named_parameters()))

    def evaluate(self, sequences: int = 1000, seed: int = 0) -> dict[str, float]:
        """Loss and error on sequences that training has not seen (a stream of its own), and what derives from them."""
        from rnnsweep.core.evaluation import evaluate
        from rnnsweep.core.pack import Member, Pack, Streams
        from rnnsweep.core.training import tiles

        state = RowSnapshot({name: value.detach() for name, value in self.named_parameters()}, self.slots)
        hypers = {key: float(value) for key, value in self.hypers.items()}
        pack = Pack(self.program)
        pack.join([(Member("inference", 1, hypers, Streams(seed, 0)), state)])
        (_, tile), *_ = tiles(pack)
        scores = evaluate(tile, torch.tensor([Streams(seed, 0).key("inference")]), sequences)
        metrics = {"loss": float(scores.loss), "error": float(scores.error)}
        shares = {key: share * metrics["loss"] for key, share in self.program.task.derived.items()}
        further = shares | {key: float(value) for key, value in scores.measured.items()}
        return metrics | {key.removeprefix("valid/"): value for key, value in further.items()}


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
    checkpoints = [saved for row in rows if (saved := _best(store, row, tokens[row[0]])) is not None]
    if not checkpoints:
        raise CheckpointError(root, "no readable checkpoint of this trial")
    best = min(checkpoints, key=lambda saved: saved.state.best_loss)
    program = build_program(config, units, torch.device("cpu"))
    check_parameters(best.state, program.layout, root)
    return TrainedNetwork(program, best.state, row_hypers(units)).eval()


def _best(store: CheckpointStore, row: tuple[int, int], tokens: Sequence[str]) -> Saved | None:
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
