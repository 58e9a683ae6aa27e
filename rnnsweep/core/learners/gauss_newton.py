"""Products with the Gauss-Newton matrix of a mini-batch, by a forward and a backward loop (R-operator)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.learners.base import LoopProgram
from rnnsweep.core.loops import Run, loops_of, run
from rnnsweep.core.readout import ReadOut, read_out, shares
from rnnsweep.core.recurrence.reference import slope_at
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Batch, Direct, LoopGradients, Record, Trace

PLAIN = frozenset({"w_rec", "w_in", "b", "act_bias", "w_out", "b_out"})
"""Parameters of the networks that this is written for: the loop uses them as they are."""


@dataclass
class Linearised:
    """A simple network linearised at its parameters on one mini-batch.

    Attributes:
        params: [P, N]. values: views of it. run, out: forwards.
    """

    program: LoopProgram
    params: Tensor
    values: Mapping[str, Tensor]
    batch: Batch
    run: Run
    out: ReadOut

    @property
    def record(self) -> Record:
        """Of the only loop."""
        return self.run.top.record

    def gradient(self, *, keep: bool) -> tuple[Float[Tensor, "P N"], Trace | None]:
        """dC/dparams [P, N] and the gradient record."""
        assert self.out.direct is not None
        loop, trace = self.run.top.backward(self.out.direct, keep=keep)
        return self._flat(loop, self.out.gradients), trace

    def loss(self, params: Float[Tensor, "P N"]) -> Float[Tensor, " P"]:
        """C [P] at other parameters, same mini-batch."""
        return linearise(self.program, params, self.run.top.loop.hypers, self.batch, gradients=False).out.loss

    def product(self, vector: Float[Tensor, "P N"], structural: Float[Tensor, " P"]) -> Float[Tensor, "P N"]:
        """(J^T H J + structural J_h^T J_h / B) vector, [P, N].

        J: outputs by parameters, H: Hessian of the loss by outputs, J_h: all hidden states by parameters.

        Args:
            vector: [P, N].
            structural: [P], weight of the hidden states' change, summed over time, mean over the batch.
        """
        engine, values, task = self.program.engine, self.values, self.program.task
        change = self.program.layout.view(vector)
        moved = self.pushed(change)  # P T B H
        T, B = moved.shape[1:3]
        # P M H: the states that are read, and their change.
        now, here = (x.flatten(1, 2) if task.per_step else x[:, -1] for x in (self.record.h[:, 1:], moved))
        # The product rule over h W_out.
        outputs = engine.matmul(here, values["w_out"]) + engine.matmul(now, change["w_out"].contiguous())
        if "b_out" in values:
            outputs = outputs + change["b_out"][:, None, :]
        bent = self._bent(outputs)
        back = engine.matmul(bent, values["w_out"].transpose(1, 2))  # P M H
        # Damping acts on every state itself, so it enters where a loss at every step would.
        steps = moved * (structural / B)[:, None, None, None]
        if task.per_step:
            steps = steps + back.unflatten(1, (T, B))
        else:
            steps[:, -1] += back
        loop, _ = engine.backward(self.record, Direct(steps=steps), self.program.activation, keep=False)
        read = {"w_out": engine.matmul(now.transpose(1, 2), bent)}
        if "b_out" in values:
            read["b_out"] = numerics.row_sum(bent)
        return self._flat(loop, read)

    def pushed(self, change: Mapping[str, Float[Tensor, "P ..."]]) -> Float[Tensor, "P T B H"]:
        """First-order change of h_1..h_T, [P, T, B, H]; 0 before a sequence's own start."""
        record, w, activation = self.record, self.record.weights, self.program.activation
        T, B = record.inputs.shape[1:3]
        # What does not depend on the state's own change, all steps in one product.
        fixed = numerics.matmul(record.h[:, :-1].flatten(1, 2), change["w_rec"])
        fixed = fixed + numerics.matmul(record.inputs.flatten(1, 2), change["w_in"]) + change["b"][:, None, :]
        fixed = fixed.unflatten(1, (T, B))  # P T B H
        own = own_steps(record.lengths, T)[..., None]
        leak = None if w.leak is None else w.leak[:, None, None]
        state, states = torch.zeros_like(fixed[:, 0]), torch.empty_like(fixed)
        for t in range(T):
            slope = slope_at(record, activation, t)
            new = activation.pushforward(slope, numerics.matmul(state, w.w_rec) + fixed[:, t])
            if "act_bias" in change:
                before, after = record.h[:, t], record.h[:, t + 1]
                # leak f(a): modReLU reads its sign only, which is that of f(a).
                y = after if leak is None else after - (1 - leak) * before
                extra = activation.bias_gradient(slope, y, change["act_bias"][:, None, :])
                new = new if extra is None else new + extra
            new = new if leak is None else (1 - leak) * state + leak * new
            state = torch.where(own[:, t], new, state)
            states[:, t] = state
        return states

    def _bent(self, change: Tensor) -> Tensor:
        """H times a change of the outputs [P, M, O]."""
        task, (T, B) = self.program.task, self.record.inputs.shape[1:3]
        y = self.out.outputs.flatten(1, 2) if task.per_step else self.out.outputs
        targets = self.batch.targets.flatten(1, 2) if task.per_step else self.batch.targets
        # `shares`: the loss is their weighted mean.
        return task.loss.curvature(y, targets, change) * shares(task, self.batch, T, B, y)[..., None]

    def _flat(self, loop: LoopGradients, read: Mapping[str, Tensor]) -> Tensor:
        named = {**self.run.top.loop.pullback(loop), **read}
        return self.program.layout.gathered(named, self.params)


def linearise(
    program: LoopProgram,
    params: Float[Tensor, "P N"],
    family_hypers: Mapping[str, Float[Tensor, " P"]],
    batch: Batch,
    *,
    gradients: bool = True,
) -> Linearised:
    """Run the network forward; see `Linearised`."""
    values = program.layout.view(params)
    found = run(loops_of(program.wires, values, family_hypers), batch)
    out = read_out(program.task, values, found.states, batch, program.engine, gradients=gradients)
    return Linearised(program, params, values, batch, found, out)
