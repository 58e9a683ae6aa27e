"""Multi-head attention over the states."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.numerics import matmul
from rnnsweep.core.readout import Readout, Seen, Values
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Capability, Direct, ParameterSpec
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range

_PROJECTIONS = ("query", "key", "value", "mix")


@dataclass(frozen=True)
class Attention(Readout):
    """The linear map is applied to scaled dot-product attention over all states of the sequence so far.

        heads of softmax(q k^T / sqrt(H / heads)) v, mixed;  q = h_T W_query + b_query, k and v likewise of h_1..h_T

    With a target at every step, step t attends to steps 1..t.

    Attributes:
        heads: number of heads; divides the width of the states.
        query: ``state``: of the last state, as above; ``trained``: q is a parameter, the same for all sequences and
            steps, which is attention pooling.

    Raises:
        ConfigError: the width is no multiple of `heads`.

    Numerics:
        Steps before a row's own start have weight exactly 0. Memory grows with T for a target at the end, with T^2 for
        one at every step. Softmax by log-softmax, whose kernel rounds alike for every row.

    References:
        Vaswani et al. (2017), eq. 1, as in `torch.nn.MultiheadAttention`. A trained query: Lin et al. (2017), *A
        structured self-attentive sentence embedding*; with heads Lee et al. (2019), *Set transformer*, eq. 11 for one
        seed, without its residual and feed-forward layers.
    """

    heads: int = 2
    query: str = "state"

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.RECURRENT, Capability.TANGENT})
    carries: ClassVar[bool] = False
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "heads": Range(1, 1024, integer=True),
        "query": ("state", "trained"),
    }

    def parameters(self, width: int) -> tuple[ParameterSpec, ...]:
        """w_query (or query [1, H]), w_key, w_value, w_mix [H, H] and their biases."""
        if width % self.heads:
            allowed = f"a divisor of the states' width {width}"
            raise ConfigError("does not divide the states", key="readout.heads", value=self.heads, allowed=allowed)
        names = _PROJECTIONS if self.query == "state" else _PROJECTIONS[1:]
        # drawn as weights are: of a query of 0 the keys would get no gradient at first
        query = () if self.query == "state" else (ParameterSpec("query", (1, width), "input", into="query"),)
        weights = tuple(ParameterSpec(f"w_{name}", (width, width), "input", into=name) for name in names)
        return query + weights + tuple(ParameterSpec(f"b_{name}", (width,), "bias", into=name) for name in names)

    def see(
        self, values: Values, states: Float[Tensor, "P steps B H"], lengths: Int64[Tensor, "P ..."], per_step: bool
    ) -> Seen:
        """See `Readout.see`."""
        names = [spec.name for spec in self.parameters(states.shape[-1])]
        with torch.enable_grad():
            own = {name: values[name].detach().requires_grad_() for name in names}
            live = states[:, 1:].detach().requires_grad_()
            mixed = self._attend(own, live, lengths, per_step)

        def pullback(direct: Direct) -> tuple[Direct, dict[str, Tensor]]:
            g = direct.steps if per_step else None if direct.last is None else direct.last[:, None]
            assert g is not None
            gradients = torch.autograd.grad(mixed, [live, *own.values()], g)
            return Direct(steps=gradients[0]), dict(zip(names, gradients[1:], strict=True))

        seen = mixed.detach()
        first = torch.zeros_like(seen[:, :1]) if per_step else seen[:, :0]
        return Seen(torch.cat((first, seen), 1), pullback)

    def look(
        self, values: Values, states: Float[Tensor, "P steps B H"], lengths: Int64[Tensor, "P ..."], per_step: bool
    ) -> Float[Tensor, "P seen B H"]:
        """See `Readout.look`."""
        seen = self._attend(values, states[:, 1:], lengths, per_step)
        return torch.cat((torch.zeros_like(seen[:, :1]), seen), 1) if per_step else seen

    def _attend(self, own: Values, states: Tensor, lengths: Tensor, per_step: bool) -> Tensor:
        """[P, T, B, H] -> [P, T or 1, B, H]."""
        q, k, v = (
            self._split(x)
            for x in (
                self._asked(own, states if per_step else states[:, -1:]),
                self._project(own, "key", states),
                self._project(own, "value", states),
            )
        )  # P B heads T H/heads
        scores = _products(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        allowed = _allowed(lengths, states.shape[1], q.shape[-2])[:, :, None]
        scores = torch.where(allowed, scores, torch.full_like(scores, -math.inf))
        share = torch.log_softmax(scores, -1).exp()
        joined = _products(share, v).permute(0, 3, 1, 2, 4).flatten(3)  # P T B H
        return self._project(own, "mix", joined)

    def _asked(self, own: Values, states: Tensor) -> Tensor:
        """The queries of some steps, [P, n, B, H]."""
        if self.query == "state":
            return self._project(own, "query", states)
        # spread by a product: autograd would sum a broadcast in an order of its own
        P, n, B, _ = states.shape
        return matmul(states.new_ones(P, n * B, 1), own["query"]).unflatten(1, (n, B))

    def _project(self, own: Values, name: str, x: Tensor) -> Tensor:
        flat = matmul(x.flatten(1, 2), own[f"w_{name}"]) + own[f"b_{name}"][:, None, :]
        return flat.unflatten(1, x.shape[1:3])

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1, 4)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """Products of the last two axes, one for each of the others."""
    return matmul(left.flatten(0, 2), right.flatten(0, 2)).unflatten(0, left.shape[:3])


def _allowed(lengths: Tensor, T: int, asked: int) -> Tensor:
    """Which steps a step may attend to, bool [P, S, asked, T]: own ones, none later; idle steps see themselves."""
    t = torch.arange(T, device=lengths.device)
    own = own_steps(lengths, T).transpose(1, 2)  # P S T
    earlier = t[None, :] <= t[T - asked :, None]  # asked T
    return earlier & (own[:, :, None, :] | ~own[:, :, T - asked :, None])
