"""The input path of a family one step at a time: what a network needs that goes on from a state.

`Family.feed` filters whole sequences at once, which training wants; a stream of inputs has no whole. An `InputPath` is
the same filter as a recursion, with a memory of its own. Shapes: see `core.types`;
D entries of a drive, M of the memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.filtering import EPSILON
from rnnsweep.core.types import LoopWeights

Values = Mapping[str, Float[Tensor, "P ..."]]


class InputPath(ABC):
    """One step of a filter between u_t W_in + b and the loop; stateless itself."""

    @abstractmethod
    def memory(self, drive: int) -> int:
        """M, entries that are carried from step to step, where a drive has `drive` entries."""

    @abstractmethod
    def constants(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, "P K"]]:
        """What `step` reads."""

    @abstractmethod
    def step(
        self, constants: Values, z: Float[Tensor, "P B D"], memory: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "P B G"], Float[Tensor, "P B M"]]:
        """The loop's drive of z = u_t W_in + b, and the memory after it; constants arrive as [P, 1, K] or [P, M, N]."""

    def first(self, constants: Values) -> Float[Tensor, "P 1 M"] | None:
        """What is carried at first; None: 0."""
        del constants
        return None

    def shown(self, visible: Float[Tensor, "... H"], memory: Float[Tensor, "... M"]) -> Float[Tensor, "... H"]:
        """What the read-out sees of the loop's visible state and the memory beside it."""
        del memory
        return visible

    def affine(self, values: Values, hypers: Values, weights: LoopWeights) -> LoopWeights:
        """The loop's weights with the matrix and the bias that make z."""
        del hypers
        return replace(weights, w_in=values["w_in"], bias=values.get("b"))


@dataclass(frozen=True)
class FilterPath(InputPath):
    """v <- mu v + s z; of the adaptive kind v / sqrt(m + 1e-16), m <- beta m + (1 - beta) z^2; then the bias b_rec.

    Attributes:
        adaptive: divides by the root of the mean square.
        restarts: mu is (k - 1) / (k + 2), k = 1..F again and again, as `filters.restarting`.
        plain: mu is 0.
    """

    adaptive: bool = False
    restarts: bool = False
    plain: bool = False

    def memory(self, drive: int) -> int:
        """v, perhaps m, perhaps k - 1."""
        return drive * (2 if self.adaptive else 1) + self.restarts

    def constants(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, "P K"]]:
        """s, mu, beta, F and b_rec, as far as there are such."""
        names = ["s"] + ["beta"] * self.adaptive + ["restart"] * self.restarts
        names += ["mu"] * (not self.restarts and not self.plain)
        own = {name: hypers[name][:, None] for name in names}
        return own | ({"b_rec": values["b_rec"]} if "b_rec" in values else {})

    def step(
        self, constants: Values, z: Float[Tensor, "P B D"], memory: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "P B G"], Float[Tensor, "P B M"]]:
        """See `InputPath.step`."""
        D, k = z.shape[-1], memory[..., -1:]
        decay = kappa(k) if self.restarts else constants["s"] * 0 if self.plain else constants["mu"]
        v = decay * memory[..., :D] + constants["s"] * z
        kept, drive = [v], v
        if self.adaptive:
            m = constants["beta"] * memory[..., D : 2 * D] + (1 - constants["beta"]) * z * z
            kept, drive = [v, m], v / (m + EPSILON).sqrt()
        if self.restarts:
            kept.append(following(k, constants["restart"]))
        return drive + constants["b_rec"] if "b_rec" in constants else drive, torch.cat(kept, -1)


def kappa(k: Float[Tensor, "P B 1"]) -> Float[Tensor, "P B 1"]:
    """(k - 1) / (k + 2) of a k that is counted from 0 here."""
    return k / (k + 3)


def following(k: Float[Tensor, "P B 1"], period: Float[Tensor, "P 1 1"]) -> Float[Tensor, "P B 1"]:
    """The next k, counted from 0, modulo the period: it stays small, so it is exact in every floating type."""
    return torch.where(k + 1 >= period.round(), torch.zeros_like(k), k + 1)
