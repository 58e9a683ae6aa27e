"""Read-out in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.learners.base import Learner, LoopProgram
from rnnsweep.core.loops import Learned, loops_of, run
from rnnsweep.core.readout import read_out
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Batch, Wanted
from rnnsweep.unit import NOT_NEGATIVE, Range


@dataclass(frozen=True)
class Ridge(Learner):
    """Least squares of the read-out over all mini-batches so far; everything before the read-out stays as it is.

        (sum x^T x + alpha I) w = sum x^T y        x = [state, 1], y = target (one-hot for classes)

    The normal equations are row state and are solved at every update; the optimiser is not asked. Meant for ``esn``.

    Attributes:
        alpha: added to the diagonal, per row, >= 0; the bias is not penalised.
        washout: steps at a sequence's start that do not count, where every step has a target.

    Numerics:
        Sums in the pack's dtype (take dtype=float64 for ill-conditioned states), the solve in float64, row by row, by
        least squares with minimal norm, so that alpha = 0 with dependent states has an answer. The reported training
        loss is that before the update.

    References:
        Jaeger, Haas (2004); ridge: Hoerl, Kennard (1970).
    """

    alpha: float = 1e-6
    washout: int = 0

    asks_host: ClassVar[bool] = True  # LAPACK
    traces: ClassVar[bool] = False
    proposes: ClassVar[bool] = True
    per_step_keys: ClassVar[tuple[str, ...]] = ("washout",)
    rows: ClassVar[Mapping[str, Range]] = {"alpha": NOT_NEGATIVE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"washout": Range(0, integer=True, open_high=True)}

    def slot_shapes(self, program: LoopProgram) -> dict[str, tuple[int, ...]]:
        """Normal equations."""
        width, outputs = _sizes(program)
        return {"gram": (width, width), "cross": (width, outputs)}

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
        del want
        assert own is not None
        values, engine = program.layout.view(params), program.engine
        found = run(loops_of(program.wires, values, family_hypers), batch)
        states = found.see(program.readout, values, per_step=program.task.per_step).states
        out = read_out(program.task, values, states, batch, engine, gradients=False)
        x, y = self._rows(program, states, batch, "b_out" in values)
        turned = x.transpose(1, 2)  # P H(+1) M
        # New tensors: whoever refuses the step keeps the old sums.
        slots = {
            "gram": own["gram"] + numerics.matmul(turned, x),
            "cross": own["cross"] + numerics.matmul(turned, y),
        }
        solved = torch.stack([solve(*parts, penalised=values["w_out"].shape[1]) for parts in zip(
            slots["gram"], slots["cross"], own["alpha"], strict=True)])  # fmt: skip
        target = {"w_out": solved[:, : values["w_out"].shape[1]].to(params.dtype)}
        if "b_out" in values:
            target["b_out"] = solved[:, -1].to(params.dtype)
        # All other parameters stand at themselves: their step is exactly 0.
        step = program.layout.flatten(target, params.clone()) - params
        return Learned(out.loss, torch.zeros_like(params), step=step, slots=slots)

    def _rows(self, program: LoopProgram, states: Tensor, batch: Batch, bias: bool) -> tuple[Tensor, Tensor]:
        """States [P, M, H (+ 1)] and targets [P, M, O]; what does not count is zero."""
        task, T = program.task, states.shape[1] - 1
        x = states[:, 1:].flatten(1, 2) if task.per_step else states[:, -1]
        targets = batch.targets.flatten(1, 2) if task.per_step else batch.targets
        y = one_hot(targets, task.n_outputs, x) if not targets.is_floating_point() else targets.to(x.dtype)
        # The bias is the weight of one more state, which is always 1.
        x = torch.cat((x, torch.ones_like(x[..., :1])), -1) if bias else x
        if batch.weights is not None:  # of squared errors, hence the root
            root = batch.weights.to(x.dtype).sqrt()
            root = root[:, None].expand(-1, T, -1).flatten(1) if task.per_step else root
            x, y = x * root[..., None], y * root[..., None]
        # At the last step every row has begun: all of them count.
        if not task.per_step:
            return x, y
        # Own steps of sequences that are shorter by the washout.
        counted = own_steps(batch.lengths - self.washout, T).expand(-1, -1, states.shape[2])
        if batch.mask is not None:
            mask = batch.mask if batch.mask.ndim == 3 else batch.mask[:, :, None]
            counted = counted & (mask > 0)
        on = counted.flatten(1)[..., None]
        # Rows of zeros add nothing to the sums; selected, as 0 * inf would be NaN.
        return torch.where(on, x, torch.zeros_like(x)), torch.where(on, y, torch.zeros_like(y))


def one_hot(classes: Int64[Tensor, "P M"], count: int, like: Float[Tensor, " ..."]) -> Float[Tensor, "P M count"]:
    """[P, M] -> [P, M, count] in `like`'s type."""
    return like.new_zeros(*classes.shape, count).scatter_(-1, classes[..., None], 1.0)


def solve(
    gram: Float[Tensor, "K K"], cross: Float[Tensor, "K O"], alpha: Float[Tensor, ""], penalised: int
) -> Float64[Tensor, "K O"]:
    """Weights of one row, float64; NaN where the equations are not finite."""
    # Cloned: in float64 `double` returns the slot itself, and alpha is added in place.
    matrix, right = gram.double().clone(), cross.double()
    # LAPACK is not asked about NaN: an error would stop all rows.
    if not bool(torch.isfinite(matrix).all() & torch.isfinite(right).all()):
        return torch.full_like(right, torch.nan)
    matrix.diagonal()[:penalised] += alpha.double()  # the bias comes last
    # On the CPU: gelsd, which takes dependent states, is not there on a GPU.
    return torch.linalg.lstsq(matrix.cpu(), right.cpu(), driver="gelsd").solution.to(gram.device)


def _sizes(program: LoopProgram) -> tuple[int, int]:
    """Width of x and number of outputs."""
    specs = {spec.name: spec.shape for spec in program.layout.specs}
    return specs["w_out"][0] + ("b_out" in specs), specs["w_out"][1]
