"""The contract of an optimiser: propose a step, change nothing; and formulas of single entries, written once.

A formula (`StepFormula`) is a plain function at the top of its module, without annotations. It runs on torch's tensors,
and kernels are compiled from it: `core.gpu.formulas` gives its source other meanings of `root`, `ratio`, `plus`,
`where` and `correction`. It may use no other name of a module.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.unit import POSITIVE, SHARE, Range, Unit

if TYPE_CHECKING:
    from rnnsweep.core.types import ParameterLayout


@dataclass(frozen=True)
class StepFormula:
    """An optimiser's step, entry by entry.

    Attributes:
        step: (gradient, slots, hypers, taken) -> (step, new slots); `slots` and `hypers` are tuples, in the order of
            `Optimizer.slots` and of `hypers`. Hyperparameters and `taken` are the row's: numbers to an entry.
        hypers: names of the hyperparameters that it reads.
    """

    step: Callable[[Any, tuple[Any, ...], tuple[Any, ...], Any], tuple[Any, tuple[Any, ...]]]
    hypers: tuple[str, ...]


@dataclass(frozen=True)
class Optimizer(Unit):
    """Base of optimisers; state lives in named slots [P, N] that start at zero.

    `propose` returns the step and the slots as they would be *if* the step is taken. Whoever refuses a row's step keeps
    its old slots, so that a refused mini-batch changes neither weights nor momentum (docs/maths.md#sampling).

    Attributes:
        schedule: how the rates fall with the row's updates t = 0, 1, ..., refused ones among them: ``constant``;
            ``step`` times factor^floor(t / span); ``inverse`` by 1 / (1 + t / span); ``cosine`` by
            (1 + cos(pi t / span)) / 2, and 0 from t = span on.
        span: updates, per row, > 0. factor: per row, 0..1; of ``step`` only.
        rates: names of the learning rates.
        inner: names by which `Grouped` offers it for a group of parameters, and the fields that each name sets. Not
            inherited: a subclass that is to be offered says so itself.
        groups: keys that are about parameters of some groups only: key -> groups.

    Numerics:
        The share of the rate is formed in float64 and rounded once; ``constant`` changes no bit.
    """

    unit_group: ClassVar[str] = "optimizer"
    slots: ClassVar[tuple[str, ...]] = ()
    rates: ClassVar[tuple[str, ...]] = ("lr",)
    inner: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    rows: ClassVar[Mapping[str, Range]] = {"span": POSITIVE, "factor": SHARE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"schedule": ("constant", "step", "inverse", "cosine")}

    schedule: str = field(default="constant", kw_only=True)
    span: float = field(default=1000.0, kw_only=True)
    factor: float = field(default=0.5, kw_only=True)

    def unread(self) -> Mapping[str, str]:
        """What only other schedules read."""
        if self.schedule == "step":
            return {}
        why = f"optimizer.schedule={self.schedule}"
        return {"factor": why} | ({"span": why} if self.schedule == "constant" else {})

    def scheduled(
        self, hypers: Mapping[str, Shaped[Tensor, "_ _"]], step: Int64[Tensor, "P 1"]
    ) -> dict[str, Shaped[Tensor, "_ _"]]:
        """Hyperparameters [P, 1] with the rates of update `step`, int64 [P, 1]."""
        step_hypers = dict(hypers)
        if self.schedule != "constant":
            share = self._share(step.double() / hypers["span"].double(), hypers["factor"].double())
            step_hypers.update({name: hypers[name] * share.to(hypers[name].dtype) for name in self.rates})
        return step_hypers

    def _share(self, spans: Tensor, factor: Tensor) -> Tensor:
        if self.schedule == "step":
            return factor ** spans.floor()
        if self.schedule == "inverse":
            return 1 / (1 + spans)
        # clamp: past the span the cosine would rise again.
        return 0.5 * (1 + torch.cos(math.pi * spans.clamp(max=1)))

    def kept(
        self, slots: Mapping[str, Float[Tensor, "P N"]], step: Int64[Tensor, "P 1"]
    ) -> Mapping[str, Float[Tensor, "P N"]]:
        """State [P, N] that update `step`, int64 [P, 1], begins with."""
        del step
        return slots

    def placed(
        self, hypers: Mapping[str, Shaped[Tensor, "_ _"]], layout: ParameterLayout
    ) -> Mapping[str, Shaped[Tensor, "_ _"]]:
        """Hyperparameters [P, 1] as `propose` and `decay` take them; a unit may add what depends on the layout."""
        del layout
        return hypers

    @property
    def fused_formula(self) -> StepFormula | None:
        """All of `kept`, `propose` and `decay` as a formula that a kernel can be compiled from; None: it is none."""
        return None

    @abstractmethod
    def propose(
        self,
        gradients: Float[Tensor, "P N"],
        slots: Mapping[str, Float[Tensor, "P N"]],
        hypers: Mapping[str, Shaped[Tensor, "_ _"]],
        taken: Float[Tensor, "P 1"],
    ) -> tuple[Float[Tensor, "P N"], dict[str, Float[Tensor, "P N"]]]:
        """The step to add to the parameters, [P, N], and the new slots.

        Args:
            gradients: [P, N].
            slots: state, each [P, N].
            hypers: this unit's per-row hyperparameters, each [P, 1].
            taken: steps taken so far per row, float [P, 1] (refused mini-batches do not count).
        """

    def decay(
        self, step: Float[Tensor, "P N"], params: Float[Tensor, "P N"], hypers: Mapping[str, Shaped[Tensor, "_ _"]]
    ) -> Float[Tensor, "P N"]:
        """The step with decoupled weight decay: step - lr weight_decay params, all parameters; rows with 0 unchanged.

        References:
            Loshchilov, Hutter (2019), algorithm 2, as `torch.optim.AdamW`.
        """
        weight = hypers["weight_decay"]
        # Selected: step - 0 * params is not the step to the bit (-0.0, infinite parameters).
        return torch.where(weight > 0, step - hypers["lr"] * weight * params, step)


where = torch.where


def root(x: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """The square root, rounded once: torch's own, by MKL, is not on the CPU."""
    kernels = numerics.compiled_numbers(x)
    return x.sqrt() if kernels is None else kernels.roots(x)


def ratio(x: Float[Tensor, " ..."], y: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """x / y, rounded once: what kernels mean by `/` need not be."""
    return x / y


def plus(fresh: Float[Tensor, "P N"], x: Float[Tensor, "P N"]) -> Float[Tensor, "P N"]:
    """fresh + x; `fresh` is the formula's own and may be overwritten, which saves a pass over memory."""
    return fresh.add_(x)


def correction(beta: Float[Tensor, " ..."], taken: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """1 - beta^(taken + 1), [P, 1]; exp of 0 * -inf is avoided for beta = 0."""
    kernels = numerics.compiled_numbers(beta)
    # the exponential and the logarithm that compiled steps use; torch's differ in last bits, and are faster for many
    if kernels is not None and beta.shape == taken.shape and beta.shape[1:] == (1,):
        return kernels.corrections(beta, taken)
    # float64: 1 - beta^k cancels where beta is near 1.
    power = ((taken.double() + 1) * beta.double().clamp_min(1e-300).log()).exp()
    return (1 - power).to(beta.dtype)


class EntrywiseOptimizer(Optimizer):
    """Base of optimisers whose step is a formula of single entries: `propose` by torch, and kernels, are made of it."""

    @property
    @abstractmethod
    def formula(self) -> StepFormula:
        """What `propose` does to each entry; its slots are `slots`."""

    @property
    def fused_formula(self) -> StepFormula | None:
        """The formula, unless a subclass has changed what stands around it, and not the formula."""
        kind = type(self)
        written, around = _owner(kind, "formula"), ("propose", "kept", "decay")
        return self.formula if all(issubclass(written, _owner(kind, name)) for name in around) else None

    def propose(
        self,
        gradients: Float[Tensor, "P N"],
        slots: Mapping[str, Float[Tensor, "P N"]],
        hypers: Mapping[str, Shaped[Tensor, "_ _"]],
        taken: Float[Tensor, "P 1"],
    ) -> tuple[Float[Tensor, "P N"], dict[str, Float[Tensor, "P N"]]]:
        """See `Optimizer.propose`."""
        formula = self.formula
        own = tuple(hypers[name] for name in formula.hypers)
        step, new = formula.step(gradients, tuple(slots[name] for name in self.slots), own, taken)
        return step, dict(zip(self.slots, new, strict=True))


def _owner(kind: type, name: str) -> type:
    """The class in which this one's attribute is written."""
    return next(one for one in kind.__mro__ if name in vars(one))
