"""Clipping of the joint gradient norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.controllers.base import CLIP_SHARE, CLIPPED, Context, NormLimit, Transform, Transformed
from rnnsweep.errors import ConfigError
from rnnsweep.unit import POSITIVE, Metric, Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import ParameterSpec

_SHRINK_ABOVE = 1e10
_SHRINK_FACTOR = 0.02


@dataclass(frozen=True)
class GlobalNormClip(Transform):
    """Shrink each row's gradient so that its 2-norm is at most `threshold`.

    The norm runs over all parameters of one row together, contributions of regularisers included, and never mixes
    rows. A gradient within its limit comes back unchanged, bit for bit.

    Attributes:
        threshold: largest norm allowed, per row; unit loss / parameter; > 0, inf switches clipping off.
        non_finite: what happens to a row whose norm is NaN or inf: ``skip`` drops the update and counts it; ``shrink``
            (also above 1e10) replaces the gradient of recurrent weights by 0.02 times themselves and all others by 0,
            and is refused for families whose parameters are no recurrent weights; ``diverge`` freezes the row.

    Raises:
        ConfigError: threshold is NaN or not > 0.

    Numerics:
        Norm 0: unchanged. Strict comparison, no epsilon. Norms of 1e30 are right in float32 (`numerics.row_norm`).

    References:
        Pascanu, Mikolov, Bengio (2013), algorithm 1; ``shrink`` as in their code. Ours differs: strict comparison.
    """

    threshold: float = 1.0
    non_finite: str = "skip"

    metrics: ClassVar[Mapping[str, Metric]] = CLIPPED
    rows: ClassVar[Mapping[str, Range]] = {"threshold": POSITIVE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"non_finite": ("skip", "shrink", "diverge")}

    def check_with(self, family: Family, task: Task, specs: Sequence[ParameterSpec]) -> None:
        """``shrink`` needs a recurrent weight to shrink."""
        del task
        if self.non_finite == "shrink" and not _recurrent(specs):
            problem = f"shrinks recurrent weights, of which the family {family.unit_name} has none among its parameters"
            raise ConfigError(problem, key=f"{self.unit_key}.non_finite", value="shrink", allowed="skip, diverge")

    @property
    def limit(self) -> NormLimit | None:
        """Of this class as it is: a subclass may do more."""
        if type(self) is not GlobalNormClip or self.non_finite == "shrink":
            return None
        return NormLimit("threshold", self.non_finite == "diverge")

    def transform(self, context: Context, norm: Float[Tensor, " P"]) -> Transformed:
        """See `Transform.transform`."""
        # `drop` are the rows whose norm is not finite.
        result = limited(context, norm, context.hypers["threshold"])
        if self.non_finite == "shrink":
            return self._shrink(context, norm, result)
        if self.non_finite == "diverge":
            result.diverged = result.drop
        return result

    def _shrink(self, context: Context, norm: Tensor, result: Transformed) -> Transformed:
        bad = ~numerics.finite(norm) | (norm > _SHRINK_ABOVE)
        pull = torch.zeros_like(context.gradients)
        # Writes into `pull`; all that is not recurrent stays 0.
        context.layout.flatten({n: _SHRINK_FACTOR * context.values[n] for n in _recurrent(context.layout.specs)}, pull)
        result.gradients = torch.where(bad[:, None], pull, result.gradients)
        result.drop = None  # the step towards smaller weights is taken
        return result


def _recurrent(specs: Sequence[ParameterSpec]) -> list[str]:
    return [spec.name for spec in specs if spec.role == "recurrent"]


def limited(context: Context, norm: Float[Tensor, " P"], limit: Float[Tensor, " P"]) -> Transformed:
    """The gradients scaled so that no row's norm exceeds its limit, both [P]: what clippers of the joint norm share.

    Numerics:
        A row within its limit comes back bit for bit (strict comparison). A row with a non-finite norm is dropped.
    """
    finite = numerics.finite(norm)
    # Not inf: limit / inf is 0, and 0 * inf NaN; such a row is dropped.
    over = finite & (norm > limit)
    # Exactly 1 where nothing is clipped: a product with 1 changes no bit.
    factor = torch.where(over, limit / norm, torch.ones_like(norm))
    context.tally.mean(CLIP_SHARE, over)
    # The new norm is known: nobody needs to pass over the gradients again.
    return Transformed(context.gradients * factor[:, None], drop=~finite, norm=torch.where(over, limit, norm))
