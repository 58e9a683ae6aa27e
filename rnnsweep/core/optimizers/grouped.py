"""Parameter groups with optimisers, rates and settings of their own."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core import optimizers
from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.unit import NOT_NEGATIVE, Range, check_field

if TYPE_CHECKING:
    from rnnsweep.core.types import ParameterLayout


def offered() -> dict[str, Optimizer]:
    """What the optimisers of this package offer for groups, by the names that they declare (`Optimizer.inner`)."""
    units: dict[str, Optimizer] = {}
    for module in pkgutil.iter_modules(optimizers.__path__, f"{optimizers.__name__}."):
        if module.name == __name__:
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and issubclass(kind, Optimizer) and kind.__module__ == module.name:
                units |= {name: kind(**fields) for name, fields in vars(kind).get("inner", {}).items()}
    return units


# Instances for their `propose` and their defaults; what they use is per row.
_INNER = offered()
_RATES = {"main": "lr", "skew": "lr_skew", "phase": "lr_phase"}
_NAMES = tuple(_INNER)
_PLAIN = (*_RATES.values(), "weight_decay", "span", "factor")
# Of all kinds together: `rows` is the class's, whatever kinds an instance has.
_SETTINGS: dict[str, Range] = {
    name: allowed
    for inner in _INNER.values()
    for name, allowed in inner.rows.items()
    if name not in ("lr", "weight_decay", "span", "factor")
}


def _unset() -> dict[str, dict[str, float | None]]:
    return {group: dict.fromkeys(_SETTINGS) for group in _RATES}


@dataclass(frozen=True)
class Grouped(Optimizer):
    """One optimiser for the groups that a family declares, and one for the rest.

    Groups: ``skew`` is A of the Cayley families, ``phase`` is theta of scurnn; a family without them uses `main` alone,
    bit for bit.

    Attributes:
        main, skew, phase: one of those that offer themselves (`Optimizer.inner`): adam, rmsprop, rmsprop_inside
            (epsilon under the root), adagrad, sgd, nesterov (sgd that looks ahead).
        lr, lr_skew, lr_phase: learning rates per row, >= 0.
        weight_decay: decoupled, of the main group, per row, >= 0; 0 is off, bit for bit.
        schedule, span, factor: of all three rates, see `Optimizer`.
        settings: group -> the other settings of its optimiser, per row: beta1 and beta2 of adam, alpha of rmsprop,
            momentum of rmsprop and sgd, initial of rmsprop and adagrad, epsilon; null: that optimiser's own default.

    Raises:
        ConfigError: a setting out of range, or given to an optimiser that has none of that name.

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
    # Left out of the hash: a mapping has none.
    settings: Mapping[str, Mapping[str, float | None]] = field(default_factory=_unset, hash=False)

    rows: ClassVar[Mapping[str, Range]] = {
        **Optimizer.rows,
        "lr": NOT_NEGATIVE,
        "lr_skew": NOT_NEGATIVE,
        "lr_phase": NOT_NEGATIVE,
        "weight_decay": NOT_NEGATIVE,
        **{f"settings.{group}.{name}": allowed for group in _RATES for name, allowed in _SETTINGS.items()},
    }
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {**Optimizer.fixed, **dict.fromkeys(_RATES, _NAMES)}
    rates: ClassVar[tuple[str, ...]] = tuple(_RATES.values())
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        key: (group,) for group in ("skew", "phase") for key in (group, f"lr_{group}", f"settings.{group}")
    }

    def check(self) -> None:
        """Fields, then each setting against its own optimiser."""
        for name, allowed in self.fixed.items():
            check_field(f"optimizer.{name}", getattr(self, name), allowed)
        for name in _PLAIN:
            check_field(f"optimizer.{name}", getattr(self, name), self.rows[name])
        for group, given in self.settings.items():
            if group not in _RATES:
                raise ConfigError("unknown group", key=f"optimizer.settings.{group}", allowed=tuple(_RATES))
            for name, value in given.items():
                self._check_setting(group, name, value)

    def _check_setting(self, group: str, name: str, value: float | None) -> None:
        key, kind = f"optimizer.settings.{group}.{name}", getattr(self, group)
        own = tuple(known for known in _INNER[kind].rows if known in _SETTINGS)
        if name not in _SETTINGS:
            raise ConfigError("unknown key", key=key, allowed=tuple(_SETTINGS), hint=nearest(name, _SETTINGS))
        if value is None:
            return
        if name not in own:
            having = "|".join(known for known, inner in _INNER.items() if name in inner.rows)
            allowed = f"null, one of {', '.join(own)}, or optimizer.{group}={having}"
            raise ConfigError(f"{kind} has no {name}", key=key, value=value, allowed=allowed)
        check_field(key, value, _SETTINGS[name])

    def row_values(self) -> dict[str, float]:
        """Rates and settings; a setting that is null stands at its optimiser's default, or at 0 where it has none."""
        values = {name: float(getattr(self, name)) for name in _PLAIN}
        for group in _RATES:
            given = self.settings.get(group, {})
            for name in _SETTINGS:
                value = given.get(name)
                setting = getattr(self._inner(group), name, 0.0) if value is None else value
                values[f"settings.{group}.{name}"] = float(setting)
        return values

    def structure(self) -> dict[str, Any]:
        """The kinds; settings are per row."""
        return {name: getattr(self, name) for name in self.fixed}

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        """State of the inner optimisers, each entry used by its own group."""
        # Once each, in a fixed order: two groups with the same optimiser share its slots.
        return tuple(dict.fromkeys(slot for group in _RATES for slot in self._inner(group).slots))

    def placed(
        self, hypers: Mapping[str, Shaped[Tensor, "_ _"]], layout: ParameterLayout
    ) -> Mapping[str, Shaped[Tensor, "_ _"]]:
        """Also which entries [1, N] belong to the groups of this layout."""
        with_masks, one = dict(hypers), hypers["lr"]
        for group in set(_RATES) - {"main"}:
            names = [spec.name for spec in layout.specs if spec.group == group]
            if names:
                with_masks[f"in {group}"] = layout.mask(names, one.device)[None]  # 1 N: broadcasts over rows
        return with_masks

    def propose(
        self,
        gradients: Float[Tensor, "P N"],
        slots: Mapping[str, Float[Tensor, "P N"]],
        hypers: Mapping[str, Shaped[Tensor, "_ _"]],
        taken: Float[Tensor, "P 1"],
    ) -> tuple[Float[Tensor, "P N"], dict[str, Float[Tensor, "P N"]]]:
        """See `Optimizer.propose`."""
        step, new = self._of("main", gradients, slots, hypers, taken)
        for group in ("skew", "phase"):
            mask = hypers.get(f"in {group}")
            # A family without this group: main's step stands, to the bit.
            if mask is None:
                continue
            own, fresh = self._of(group, gradients, slots, hypers, taken)
            step = torch.where(mask, own, step)
            for name, value in fresh.items():
                # What main has no slot for stays as it was outside of the group.
                new[name] = torch.where(mask, value, new.get(name, slots[name]))
        return step, new

    def decay(
        self, step: Float[Tensor, "P N"], params: Float[Tensor, "P N"], hypers: Mapping[str, Shaped[Tensor, "_ _"]]
    ) -> Float[Tensor, "P N"]:
        """Of the main group only: orthogonal matrices have nothing to shrink."""
        decayed = super().decay(step, params, hypers)
        for group in ("skew", "phase"):
            if f"in {group}" in hypers:
                # The step itself, as it was before any decay.
                decayed = torch.where(hypers[f"in {group}"], step, decayed)
        return decayed

    def _inner(self, group: str) -> Optimizer:
        return _INNER[getattr(self, group)]

    def _of(
        self, group: str, gradients: Tensor, slots: Mapping[str, Tensor], hypers: Mapping[str, Tensor], taken: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        inner = self._inner(group)
        own = {name: hypers[f"settings.{group}.{name}"] for name in inner.rows if name in _SETTINGS}
        own |= {"lr": hypers[_RATES[group]]}
        return inner.propose(gradients, {name: slots[name] for name in inner.slots}, own, taken)
