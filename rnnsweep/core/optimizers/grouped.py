"""Parameter groups with optimisers and rates of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from rnnsweep.core.optimizers.adagrad import Adagrad
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.core.optimizers.rmsprop import RmsProp
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.unit import NOT_NEGATIVE, Range

if TYPE_CHECKING:
    from rnnsweep.core.parameters import ParameterLayout

_INNER: dict[str, Optimizer] = {"adam": Adam(), "rmsprop": RmsProp(), "adagrad": Adagrad(), "sgd": Sgd()}
_RATES = {"main": "lr", "skew": "lr_skew", "phase": "lr_phase"}
_NAMES = tuple(_INNER)


@dataclass(frozen=True)
class Grouped(Optimizer):
    """One optimiser for the groups that a family declares, and one for the rest.

    Groups: ``skew`` is A of the Cayley families, ``phase`` is theta of scurnn; a family without them uses `main` alone,
    bit for bit.

    Attributes:
        main, skew, phase: adam, rmsprop, adagrad or sgd; all but their rates at the units' defaults.
        lr, lr_skew, lr_phase: learning rates per row, >= 0.
        weight_decay: decoupled, of the main group, per row, >= 0; 0 is off, bit for bit.

    Numerics:
        Each group's step is that of its own optimiser, bit for bit; state of the others is not kept for it.

    References:
        Defaults: Helfrich et al. (2018): A by RMSprop 1e-4; Maduranga et al. (2019): theta by Adagrad 1e-3, rest Adam.
    """

    main: str = "adam"
    skew: str = "rmsprop"
    phase: str = "adagrad"
    lr: float = 0.001
    lr_skew: float = 0.0001
    lr_phase: float = 0.001
    weight_decay: float = 0.0

    rows: ClassVar[Mapping[str, Range]] = {
        "lr": NOT_NEGATIVE,
        "lr_skew": NOT_NEGATIVE,
        "lr_phase": NOT_NEGATIVE,
        "weight_decay": NOT_NEGATIVE,
    }
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"main": _NAMES, "skew": _NAMES, "phase": _NAMES}

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        """State of the inner optimisers, each entry used by its own group."""
        return tuple(dict.fromkeys(slot for group in _RATES for slot in self._inner(group).slots))

    def placed(self, hypers: Mapping[str, Tensor], layout: ParameterLayout) -> Mapping[str, Tensor]:
        """Also which entries [1, N] belong to the groups of this layout."""
        found, one = dict(hypers), hypers["lr"]
        for group in set(_RATES) - {"main"}:
            names = [spec.name for spec in layout.specs if spec.group == group]
            if names:
                found[f"in {group}"] = layout.mask(names, one.device)[None]
        return found

    def propose(
        self, gradients: Tensor, slots: Mapping[str, Tensor], hypers: Mapping[str, Tensor], taken: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Optimizer.propose`."""
        step, new = self._of("main", gradients, slots, hypers, taken)
        for group in ("skew", "phase"):
            mask = hypers.get(f"in {group}")
            if mask is None:
                continue
            own, fresh = self._of(group, gradients, slots, hypers, taken)
            step = torch.where(mask, own, step)
            for name, value in fresh.items():
                new[name] = torch.where(mask, value, new.get(name, slots[name]))
        return step, new

    def decay(self, step: Tensor, params: Tensor, hypers: Mapping[str, Tensor]) -> Tensor:
        """Of the main group only: orthogonal matrices have nothing to shrink."""
        decayed = super().decay(step, params, hypers)
        for group in ("skew", "phase"):
            if f"in {group}" in hypers:
                decayed = torch.where(hypers[f"in {group}"], step, decayed)
        return decayed

    def _inner(self, group: str) -> Optimizer:
        return _INNER[getattr(self, group)]

    def _of(
        self, group: str, gradients: Tensor, slots: Mapping[str, Tensor], hypers: Mapping[str, Tensor], taken: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        inner, lr = self._inner(group), hypers[_RATES[group]]
        own = {name: torch.full_like(lr, float(getattr(inner, name))) for name in inner.rows} | {"lr": lr}
        return inner.propose(gradients, {name: slots[name] for name in inner.slots}, own, taken)
