"""Evaluation on a stream of its own: how often, or on how many sequences, never changes training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import subnormals
from rnnsweep.core.free_run import free_run
from rnnsweep.core.loops import loops_of, run
from rnnsweep.core.metrics import scorers
from rnnsweep.core.readout import counted_steps, read_out
from rnnsweep.core.rng import Draws, Split
from rnnsweep.core.types import Batch

if TYPE_CHECKING:
    from rnnsweep.core.program import Program
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.tile import Tile

_SPAN = 1 << 24
"""Sequences reserved per update for evaluation, so that each evaluation is fresh."""


@dataclass(frozen=True)
class Scores:
    """What an evaluation found, float64 [P] each.

    Attributes:
        loss: mean loss. error: share of wrong sequences.
        measured: what the task measures beside them, by metric key.
    """

    loss: Float64[Tensor, " P"]
    error: Float64[Tensor, " P"]
    measured: dict[str, Float64[Tensor, " P"]]


@subnormals.flushed()
def evaluate(tile: Tile, keys: Int64[Tensor, " P"], sequences: int | None = None) -> Scores:
    """Mean loss, share of wrong sequences, and the means of what the task measures.

    Args:
        tile: rows; nothing of them changes.
        keys: int64 [P], stream keys of the evaluation purpose.
        sequences: how many; None = the program's `eval_size`.

    Numerics:
        Endless tasks see fresh sequences at every step; finite sets see the first `eval_size` samples of their
        validation part, each once (at most all of them). A task that carries the state reads them as streams side by
        side, each from the family's own first state; what is left over of an even share is not read. Where sequences
        have masks of their own, every step that counts has the same weight. Sums in float64, batch by batch. The
        task's probes are scored on as many sequences, of the same ids; in smaller mini-batches where theirs are longer,
        so that they take no more memory. Subnormal numbers are 0, as in training (`core.subnormals`).
    """
    program = tile.program
    values, hypers = program.layout.view(tile.params), tile.unit_hypers("family")
    # once: parameters stand still during an evaluation
    loops = loops_of(program.wires, values, hypers)

    def outputs(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        found = run(loops, batch, last=program.readout.reads_last(program.task) and not program.task.carries)
        seen = found.see(program.readout, values, per_step=program.task.per_step)
        out = read_out(program.task, values, seen.states, batch, program.engine, gradients=False)
        return out.outputs, out.loss, found.last if program.task.carries else seen.states[:, -1]

    def generated(batch: Batch) -> Tensor:
        return free_run(program, values, hypers, batch)

    sized = program if sequences is None else replace(program, eval_size=sequences)
    return score(sized, keys, tile.step, outputs, generated)


def score(
    program: Program,
    keys: Int64[Tensor, " P"],
    step: Int64[Tensor, " P"],
    outputs: Callable[[Batch], tuple[Float[Tensor, "P ... O"], Float[Tensor, " P"], Float[Tensor, "P ..."]]],
    generated: Callable[[Batch], Float[Tensor, "P m B O"]] | None = None,
    split: Split = "valid",
) -> Scores:
    """`evaluate` for whatever answers a mini-batch.

    Args:
        program: task and sizes; `eval_size` says on how many sequences.
        keys: see `evaluate`.
        step: updates done, [P].
        outputs: of a mini-batch: outputs, loss [P], last state [P, B, S], which only a task that carries it wants.
        generated: what is made after a mini-batch in the task's `free_steps`, where it has any.
        split: which part of a finite data set.
    """
    scores = _score(program, keys, step, outputs, split)
    if program.task.free_steps and generated is not None:
        # a mini-batch of its own ids: what is generated does not depend on how many sequences are scored
        ids = torch.arange(program.batch, device=step.device)
        base = step * _SPAN if program.task.samples is None else torch.zeros_like(step)
        draws = Draws(keys, base[:, None] + ids, base, program.dtype, split=split, tokens=program.family.looks_up)
        batch = program.task.batch(draws)
        scores.measured.update(program.task.measure_generated(generated(batch)))
    for name, probe in program.task.probes.items():
        size = max(1, program.batch * program.task.max_length // max(program.task.max_length, probe.max_length))
        found = _score(replace(program, task=probe, batch=size, scorers=()), keys, step, outputs, split)
        shares = {key: share * found.loss for key, share in probe.derived.items()}
        every = {"valid/loss": found.loss, "valid/error": found.error, **shares, **found.measured}
        scores.measured.update({f"{key}.{name}": value for key, value in every.items()})
    return scores


def _score(
    program: Program,
    keys: Tensor,
    step: Tensor,
    outputs: Callable[[Batch], tuple[Tensor, Tensor, Tensor]],
    split: Split,
) -> Scores:
    """Scores of the program's task alone."""
    available = program.task.samples_of(split)
    total = program.eval_size if available is None else min(program.eval_size, available)
    loss = torch.zeros(len(step), dtype=torch.float64, device=step.device)
    wrong, counted = torch.zeros_like(loss), torch.zeros_like(loss)
    measured: dict[str, Tensor] = {}
    collected: dict[str, list[Tensor]] = {}
    answered: list[scorers.Answers] = []
    endless, state = program.task.samples is None, None
    for start, offset in _offsets(program, total):
        size, offset = len(offset), offset.to(step.device)
        # a finite validation set is the same at each evaluation, so that curves compare
        base = step * _SPAN if endless else torch.zeros_like(step)
        draws = Draws(
            keys, base[:, None] + offset, base + start, program.dtype, split=split, tokens=program.family.looks_up
        )
        batch = replace(program.task.batch(draws), state=state)
        found, cost, last = outputs(batch)
        state = last if program.task.carries else None
        weight = _weights(program.task, batch, size)  # P B
        loss += cost.double() * weight.sum(1)
        wrong += (program.task.errors(found, batch).double() * weight).sum(1)
        for key, value in program.task.measure(found, batch).items():
            measured[key] = measured.get(key, 0.0) + (value.double() * weight).sum(1)
        for key, value in program.task.collect(found, batch).items():
            collected.setdefault(key, []).append(value)
        if program.scorers:
            counts = counted_steps(batch, batch.inputs.shape[1]) if program.task.per_step else None
            answered.append(scorers.collected(program.task, found, batch, counts))
        counted += weight.sum(1)
    means = {key: total / counted for key, total in measured.items()}
    whole = program.task.summarise({key: torch.cat(values, 1) for key, values in collected.items()})
    own = scorers.scores(program.scorers, program.task, answered) if program.scorers else {}
    return Scores(loss / counted, wrong / counted, means | {key: value.double() for key, value in whole.items()} | own)


def _offsets(program: Program, total: int) -> Iterator[tuple[int, Tensor]]:
    """Mini-batches of an evaluation: where each begins, and its sequences; in order, or side by side where carried."""
    if not program.task.carries:
        for start in range(0, total, program.batch):
            yield start, torch.arange(start, min(start + program.batch, total))
        return
    streams = min(program.batch, total)
    windows = total // streams
    for index in range(windows):
        # stream s reads windows s * windows, s * windows + 1, ...: each follows on the one before
        yield index * streams, torch.arange(streams) * windows + index


def _weights(task: Task, batch: Batch, size: int) -> Tensor:
    """Weight of each sequence, float64 [P, B]: its steps that count where sequences differ in them, else 1."""
    if task.per_step and batch.differs:
        return counted_steps(batch, batch.inputs.shape[1]).double().sum(1)
    return torch.ones(len(batch.lengths), size, dtype=torch.float64, device=batch.lengths.device)
