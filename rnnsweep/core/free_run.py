"""A network that runs on: its outputs come in as its next inputs. Shapes: see `core.types`; m steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.types import Batch

if TYPE_CHECKING:
    from rnnsweep.core.program import Program
    from rnnsweep.core.readout import Readout

Values = Mapping[str, Float[Tensor, "P ..."]]


def free_run(program: Program, values: Values, hypers: Values, batch: Batch) -> Float[Tensor, "P m B O"]:
    """What rows make in the task's `free_steps` steps after the sequences of a mini-batch.

    Args:
        program: units; a family and a read-out that take sequences step by step.
        values, hypers: parameters, and the family's hyperparameters.
        batch: what they have seen; without inputs they get none afterwards either.

    Numerics:
        By the engine `reference`, which alone can go on from a state per sequence. What grows without bound becomes
        inf, then NaN, in its own row only.
    """
    family, width = program.family, batch.inputs.shape[3]
    engine, _ = engine_for(family.cell, "reference", program.activation, program.dtype, program.device)
    weights = family.weights(values, hypers)
    state = engine.forward(batch.inputs, weights, program.activation, batch.lengths).at(batch.inputs.shape[1])  # P B S
    one, made = torch.ones_like(batch.lengths), []
    output = output_of(program.readout, values, family.visible(state))
    for _ in range(program.task.free_steps):
        inputs = output[:, None, :, :width]  # P 1 B I
        state = engine.forward(inputs, replace(weights, h0=state), program.activation, one).at(1)
        output = output_of(program.readout, values, family.visible(state))
        made.append(output)
    return torch.stack(made, 1)


def output_of(readout: Readout, values: Values, visible: Float[Tensor, "P B H"]) -> Float[Tensor, "P B O"]:
    """The output at single states, of a read-out that sees no more."""
    if not readout.direct:
        one = torch.ones(len(visible), dtype=torch.int64, device=visible.device)
        visible = readout.look(values, torch.stack((visible, visible), 1), one, False)[:, -1]
    y = numerics.matmul(visible, values["w_out"])
    return y + values["b_out"][:, None, :] if "b_out" in values else y
