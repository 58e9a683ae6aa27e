"""All of an update that follows its gradient, by one kernel: what the kernel is given, and which rows it may serve.

Kernels are `core.gpu.steps` and `core.cpu.steps`; `tile` has the general way, controller by controller.

Shapes: see `core.types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType

from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from rnnsweep.core.controllers.base import CLIP_SHARE, Tally
from rnnsweep.core.kernels import Limit, Rows, Told, kernels_for
from rnnsweep.core.optimizers.base import StepFormula
from rnnsweep.core.program import Program


def step_kernels(program: Program, switched: Mapping[str, bool]) -> ModuleType | None:
    """`steps` of the program's device, where no controller that any row has switched on asks for more."""
    if any(switched[name] for name, _ in program.proximals):
        return None
    if len(program.transforms) > 1 or any(unit.limit is None for _, unit in program.transforms):
        return None
    # row state of family, rule, task or gate goes with an accepted step: the kernel keeps the optimiser's alone
    more = any(not key.startswith(("optimizer.", "controllers.")) for key in program.slot_shapes)
    more = more or any(switched[name] and unit.slot_shapes() for name, unit in program.gates)
    if more or program.learner.proposes or program.optimizer.fused_formula is None:
        return None
    return kernels_for("steps", program.device)


class AtOnce:
    """The kernel of a tile; it writes in place, so that all stays what it is until rows join or leave.

    Args:
        kernels: see `step_kernels`.
        program: whose optimiser and limit of the norm it does.
        rows: what it changes, rates unscheduled. hypers: the optimiser's, [P, 1]. limits: the controllers', by key.
    """

    def __init__(
        self,
        kernels: ModuleType,
        program: Program,
        rows: Rows,
        hypers: Mapping[str, Shaped[Tensor, "P 1"]],
        limits: Mapping[str, Shaped[Tensor, " P"]],
    ) -> None:
        self._kernels, self._optimizer, self._hypers = kernels, program.optimizer, hypers
        formula = program.optimizer.fused_formula
        assert formula is not None  # see `step_kernels`
        self._formula, self._limit = formula, None
        for name, unit in program.transforms:
            assert unit.limit is not None
            self._limit = Limit(limits[f"controllers.{name}.{unit.limit.hyper}"], unit.limit.diverges)
        self._rows, self._tally, self._told = rows, Tally(), None
        # what a schedule changes is made anew at every update
        scheduled = program.optimizer.scheduled(hypers, rows.step[:, None])
        self._constant = all(scheduled[name] is value for name, value in hypers.items())

    def proposed(self, gradients: Float[Tensor, "P N"], tally: Tally) -> Float[Tensor, "P N"]:
        """The steps that `take` would take, for who judges them."""
        return self._kernels.proposed(self._formula, self._now(), gradients, self._limit, self._tells(tally))

    def take(
        self,
        gradients: Float[Tensor, "P N"],
        loss: Float[Tensor, " P"],
        admitted: Bool[Tensor, " P"] | None,
        tally: Tally,
    ) -> None:
        """Clip, step, and tell; `admitted`: rows that gates let take their step, None for all."""
        told = self._tells(tally)
        self._kernels.take_steps(self._formula, self._now(), gradients, loss, self._limit, told, admitted)

    def _now(self) -> Rows:
        """With the rates of this update; the same object where nothing is scheduled: a kernel knows it by now."""
        rows = self._rows
        if self._constant:
            return rows
        hypers = self._optimizer.scheduled(self._hypers, rows.step[:, None])
        return replace(
            rows,
            hypers=read_of(hypers, self._formula),
            decay=None if rows.decay is None else decay_of(hypers),
        )

    def _tells(self, tally: Tally) -> Told:
        if self._told is None or self._tally is not tally:
            like, losses = self._rows.step, tally.of_mean("train/loss", self._rows.step)
            norms, nonfinite = tally.of_mean("grad/norm", like), tally.of_count("grad/nonfinite", like)
            share = None if self._limit is None else tally.of_mean(CLIP_SHARE, like)
            self._told = Told(losses, norms, nonfinite, share, tally.of_mean("grad/norm_clipped", like))
            self._tally = tally
        return self._told


def read_of(hypers: Mapping[str, Shaped[Tensor, "P 1"]], formula: StepFormula) -> tuple[Float[Tensor, "P 1"], ...]:
    """What a formula reads, in its order."""
    return tuple(hypers[name] for name in formula.hypers)


def decay_of(hypers: Mapping[str, Shaped[Tensor, "P 1"]]) -> tuple[Float[Tensor, "P 1"], Float[Tensor, "P 1"]]:
    """Rate and weight of decoupled decay."""
    return hypers["lr"], hypers["weight_decay"]
