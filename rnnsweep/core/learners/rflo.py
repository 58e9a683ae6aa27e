"""Random feedback local online learning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.learners.base import Learner, LoopProgram
from rnnsweep.core.loops import BackwardPass, Learned, loops_of, run
from rnnsweep.core.readout import read_out
from rnnsweep.core.types import Batch, Capability, Direct, Wanted, merged
from rnnsweep.errors import ConfigError
from rnnsweep.unit import NOT_NEGATIVE, Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.tasks.base import Task


@dataclass(frozen=True)
class Rflo(Learner):
    """Local eligibilities times randomly fed back errors, for (leaky) simple networks.

        p_ab(t) = (1 - leak) p_ab(t-1) + leak f'(a_b(t)) h_a(t-1)        dW_rec[a, b] = sum_t [eps_t B]_b p_ab(t)

    leak is 1 / tau; eps_t = dC/dy_t; B [O, H] is fixed; input weights and biases likewise, with u_t and 1 for h;
    the read-out's own gradient is exact. Weights change at the end of the sequence, so the sum may be taken in
    any order: it is computed backwards, as backpropagation whose errors travel through the leak only (W_rec = 0 in
    it). That is the same number at the speed of the engines.

    Attributes:
        feedback: standard deviation of B times sqrt(O), per row, >= 0.
        align: ``random``: B ~ N(0, feedback^2 / O), drawn once per replica; ``symmetric``: B = W_out^T, for comparison.

    Numerics:
        As backpropagation. The gradient record that is left for controllers and diagnostics is that of full
        backpropagation (one more backward loop where it is needed).

    References:
        Murray (2019), eq. 10-12, there with columns for rows.
    """

    feedback: float = 1.0
    align: str = "random"

    linear: ClassVar[bool] = True
    rows: ClassVar[Mapping[str, Range]] = {"feedback": NOT_NEGATIVE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"align": ("random", "symmetric")}

    def unread(self) -> Mapping[str, str]:
        """The scale of a random matrix that is not there."""
        return {"feedback": "learner.align=symmetric"} if self.align == "symmetric" else {}

    @property
    def asks_host(self) -> bool:  # type: ignore[override]
        """B is drawn on the CPU, where its bits are the same for every device."""
        return self.align == "random"

    @property
    def requires(self) -> frozenset[Capability]:
        """A loop of simple cells."""
        return frozenset({Capability.SIMPLE})

    def check_with(self, family: Family, task: Task) -> None:
        """See `Learner.check_with`: its errors reach one layer."""
        del task
        if len(family.parts) > 1:
            problem = f"sends errors to one loop, and the network has {len(family.parts)}"
            allowed = "learner=bptt, or one layer and direction"
            raise ConfigError(problem, key="learner", value=self.unit_name, allowed=allowed)

    def learn(
        self,
        program: LoopProgram,
        params: Float[Tensor, "P N"],
        family_hypers: Mapping[str, Float[Tensor, " P"]],
        batch: Batch,
        want: Wanted,
        own: Mapping[str, Shaped[Tensor, "P ..."]] | None = None,
    ) -> Learned:
        """See `Learner.learn`."""
        assert own is not None
        values = program.layout.view(params)
        engine = program.engine
        found = run(loops_of(program.wires, values, family_hypers), batch)
        out = read_out(program.task, values, found.states, batch, engine)
        assert out.direct is not None
        assert out.errors is not None
        back = values["w_out"].transpose(1, 2) if self.align == "symmetric" else self.matrix(values["w_out"], own)
        sent = engine.matmul(out.errors, back.contiguous())  # P M H
        T, B = batch.inputs.shape[1:3]
        direct = Direct(steps=sent.unflatten(1, (T, B))) if program.task.per_step else Direct(last=sent)
        # States are those of the real loop; only the way back has no W_rec in it.
        only = found.top
        weights = replace(only.record.weights, w_rec=torch.zeros_like(only.record.weights.w_rec))
        local = replace(only, record=replace(only.record, weights=weights))
        loop, _ = local.backward(direct, keep=False)
        # A second loop, as the first one's deltas are not dC/da.
        trace = only.backward(out.direct, keep=True)[1] if want.trace else None
        named = merged(only.entry.backward(loop, further=False)[0], out.gradients)
        gradients = program.layout.gathered(named, params)
        return Learned(out.loss, gradients, (BackwardPass(only.loop, trace),))

    def matrix(
        self, w_out: Float[Tensor, "P H O"], own: Mapping[str, Shaped[Tensor, "P ..."]]
    ) -> Float[Tensor, "P O H"]:
        """B [P, O, H] of each row's key."""
        H, count = w_out.shape[1:]
        # By the row's key alone: B stays the same throughout. / sqrt(O): an error's size must not grow with O.
        drawn = rng.normals(own["key"], count * H, rng.stream_of("feedback")).unflatten(1, (count, H)) / math.sqrt(
            count
        )
        return drawn.to(w_out) * own["feedback"][:, None, None].to(w_out)
