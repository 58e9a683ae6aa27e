"""Activations of simple recurrent cells: value, slope, and products with the Jacobian.

All but OPLU have a diagonal Jacobian; OPLU permutes within the pairs (2i, 2i + 1). Formulas: docs/maths.md#activations.
Kernels are chosen so that a row's numbers do not depend on where in memory it lies: sigmoid is
(1 + tanh(x / 2)) / 2, ELU is made of `exp` (torch's own kernels round differently in vector tails).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.errors import ConfigError, nearest


@dataclass(frozen=True)
class Activation(ABC):
    """One activation function f.

    Attributes:
        name: its name in configs.
        gain: for scaled initialisations, as `torch.nn.init.calculate_gain`.
        has_bias: f has a parameter of its own, one per unit (modReLU).
        paired: the Jacobian permutes pairs (OPLU); H must be even.
    """

    name: str
    gain: float = 1.0
    has_bias: bool = False
    paired: bool = False

    @property
    def from_output(self) -> bool:
        """Whether f'(a) is a function of f(a) alone, so that the slope need not be stored."""
        return isinstance(self, OutputSlope)

    @abstractmethod
    def value(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """f(a), same shape; `bias` broadcasts against a."""

    @abstractmethod
    def slope(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """f'(a) from the pre-activation, same shape (OPLU: 1 where the pair is swapped)."""

    def pullback(self, slope: Float[Tensor, " ..."], g: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """J_f^T g."""
        return slope * g

    def pushforward(self, slope: Float[Tensor, " ..."], v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """J_f v."""
        return slope * v

    def bias_gradient(
        self, slope: Float[Tensor, " ..."], y: Float[Tensor, " ..."], g: Float[Tensor, " ..."]
    ) -> Float[Tensor, " ..."] | None:
        """Per-entry dC/dbias before summing over steps and batch, or None where f has no parameter."""
        del slope, y, g
        return None


class OutputSlope(Activation):
    """Base of activations whose slope is a function of their value."""

    def slope(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """f'(a) by way of f(a)."""
        return self.slope_from_output(self.value(a, bias))

    @abstractmethod
    def slope_from_output(self, y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """f'(a) from y = f(a), same shape."""


class Tanh(OutputSlope):
    """Hyperbolic tangent, f' = 1 - f^2."""

    def value(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """tanh(a)."""
        del bias
        return torch.tanh(a)

    def slope_from_output(self, y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """1 - y^2."""
        return 1 - y * y


class Sigmoid(OutputSlope):
    """Logistic function as (1 + tanh(a / 2)) / 2, f' = f (1 - f)."""

    def value(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """(1 + tanh(a / 2)) / 2."""
        del bias
        return 0.5 * (1 + torch.tanh(0.5 * a))

    def slope_from_output(self, y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """y (1 - y)."""
        return y * (1 - y)


class Relu(OutputSlope):
    """max(a, 0); f'(0) = 0. NaN stays NaN."""

    def value(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """max(a, 0)."""
        del bias
        # where and not clamp: NaN compares false and so stays what it is
        return torch.where(a <= 0, torch.zeros_like(a), a)

    def slope_from_output(self, y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """1 where y > 0."""
        return (y > 0).to(y.dtype)


class LeakyRelu(OutputSlope):
    """a, or 0.01 a where a <= 0; f'(0) = 0.01."""

    def value(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """a where a > 0, else 0.01 a."""
        del bias
        return torch.where(a > 0, a, 0.01 * a)

    def slope_from_output(self, y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """1 where y > 0, else 0.01."""
        return torch.where(y > 0, torch.ones_like(y), torch.full_like(y, 0.01))


class Elu(OutputSlope):
    """a, or exp(a) - 1 where a <= 0 (alpha = 1); f' = 1 or exp(a)."""

    def value(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """a where a > 0, else exp(a) - 1."""
        del bias
        # the inner where keeps exp from overflowing where its result is not taken
        return torch.where(a > 0, a, torch.exp(torch.where(a > 0, torch.zeros_like(a), a)) - 1)

    def slope_from_output(self, y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """1 where y > 0, else y + 1."""
        return torch.where(y > 0, torch.ones_like(y), y + 1)


class IdentityFunction(OutputSlope):
    """f(a) = a: a linear network."""

    def value(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """The pre-activation itself."""
        del bias
        return a

    def slope_from_output(self, y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """1 everywhere."""
        return torch.ones_like(y)


class ModRelu(Activation):
    """sign(a) * relu(|a| + b), b trained, b_0 = 0 (scoRNN); f' = [|a| + b > 0], df/db = sign(a) [|a| + b > 0]."""

    def value(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """sign(a) * max(|a| + bias, 0)."""
        size = a.abs() if bias is None else a.abs() + bias
        # as in Relu: NaN stays NaN
        return torch.sign(a) * torch.where(size <= 0, torch.zeros_like(size), size)

    def slope(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """1 where |a| + bias > 0."""
        size = a.abs() if bias is None else a.abs() + bias
        return (size > 0).to(a.dtype)

    def bias_gradient(
        self, slope: Float[Tensor, " ..."], y: Float[Tensor, " ..."], g: Float[Tensor, " ..."]
    ) -> Float[Tensor, " ..."] | None:
        """sign(a) [|a| + b > 0] g; where f' is 1 the sign of a is the sign of f(a)."""
        return torch.sign(y) * slope * g


class Oplu(Activation):
    """Orthogonal permutation linear unit: each pair (2i, 2i + 1) becomes (max, min) (Chernodub & Nowicki 2016)."""

    def value(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """Pairs sorted in descending order."""
        del bias
        even, odd = a[..., 0::2], a[..., 1::2]  # ... H/2
        # strictly: of two equal ones neither moves
        swap = odd > even
        return torch.stack((torch.where(swap, odd, even), torch.where(swap, even, odd)), dim=-1).flatten(-2)

    def slope(self, a: Float[Tensor, "*shape"], bias: Float[Tensor, " ..."] | None = None) -> Float[Tensor, "*shape"]:
        """1 at both places of a swapped pair, else 0."""
        del bias
        swap = (a[..., 1::2] > a[..., 0::2]).to(a.dtype)
        return torch.stack((swap, swap), dim=-1).flatten(-2)

    def pullback(self, slope: Float[Tensor, " ..."], g: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The permutation's transpose, which is itself."""
        mate = g.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)  # ... H
        return torch.where(slope > 0, mate, g)

    def pushforward(self, slope: Float[Tensor, " ..."], v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The permutation itself."""
        return self.pullback(slope, v)


_ALL = (
    # gains as `torch.nn.init.calculate_gain` has them, 1 where it has none
    Tanh("tanh", gain=5 / 3),
    Sigmoid("sigmoid"),
    Relu("relu", gain=2**0.5),
    LeakyRelu("leaky_relu", gain=(2 / (1 + 0.01**2)) ** 0.5),
    Elu("elu"),
    IdentityFunction("identity"),
    ModRelu("modrelu", has_bias=True),
    Oplu("oplu", paired=True),
)
ACTIVATIONS: dict[str, Activation] = {activation.name: activation for activation in _ALL}


def activation(name: str) -> Activation:
    """The activation of this name.

    Raises:
        ConfigError: unknown name; suggests the nearest.

    Example:
        >>> activation("tanh").gain
        1.6666666666666667
    """
    if name not in ACTIVATIONS:
        raise ConfigError(
            "unknown activation",
            key="family.activation",
            value=name,
            allowed=list(ACTIVATIONS),
            hint=nearest(str(name), ACTIVATIONS),
        )
    return ACTIVATIONS[name]
