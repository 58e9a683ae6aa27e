"""Losses: from what a read-out gives and what was wanted to a cost, its gradient and its curvature.

A task names its loss (`Task.loss`). A loss of one's own is a subclass of `Loss` beside the task that it belongs to.
Shapes: P rows, M read-outs of a row (B, or T B where every step is read), O outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


class Loss:
    """Base of losses; an instance has no state that changes.

    Attributes:
        name: in one word, for messages.
        values: whether outputs are values that lie where the targets lie, so that a target may stand in for an output.
    """

    name: ClassVar[str]
    values: ClassVar[bool] = False

    @abstractmethod
    def score(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."]
    ) -> tuple[Float[Tensor, "P M"], Float[Tensor, "P M O"]]:
        """Cost of every read-out, and its derivative by the outputs.

        Args:
            outputs: logits or values.
            targets: int64 classes [P, M], or values [P, M, O].

        Numerics:
            A read-out's numbers may depend on its own outputs alone, to the bit, and a non-finite output must give a
            non-finite cost.
        """

    @abstractmethod
    def curvature(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."], change: Float[Tensor, "P M O"]
    ) -> Float[Tensor, "P M O"]:
        """Hessian of each read-out's cost by its outputs, times a change of the outputs; positive semi-definite."""


class CrossEntropy(Loss):
    """Softmax cross-entropy with classes, in nats."""

    name = "cross_entropy"

    def score(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."]
    ) -> tuple[Float[Tensor, "P M"], Float[Tensor, "P M O"]]:
        """By log-softmax."""
        log_p = torch.log_softmax(outputs, -1)
        picked = log_p.gather(-1, targets[..., None])[..., 0]  # P M
        hot = torch.zeros_like(outputs).scatter_(-1, targets[..., None], 1.0)
        return -picked, log_p.exp() - hot

    def curvature(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."], change: Float[Tensor, "P M O"]
    ) -> Float[Tensor, "P M O"]:
        """(diag p - p p^T) change."""
        del targets
        p = torch.log_softmax(outputs, -1).exp()
        # the product, without forming the O x O matrix
        return p * change - p * (p * change).sum(-1, keepdim=True)


@dataclass(frozen=True)
class WeightedCrossEntropy(CrossEntropy):
    """Softmax cross-entropy with a weight for each class; the mean is over all read-outs, not over their weights.

    Attributes:
        weights: of the classes, > 0.
    """

    weights: tuple[float, ...]

    def score(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."]
    ) -> tuple[Float[Tensor, "P M"], Float[Tensor, "P M O"]]:
        """Each read-out's cost and derivative times the weight of its class."""
        cost, slope = super().score(outputs, targets)
        weight = _weights_on(self.weights, outputs.device, outputs.dtype)[targets]  # P M
        return cost * weight, slope * weight[..., None]

    def curvature(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."], change: Float[Tensor, "P M O"]
    ) -> Float[Tensor, "P M O"]:
        """That of the cross-entropy times the weight."""
        weight = _weights_on(self.weights, outputs.device, outputs.dtype)[targets]
        return super().curvature(outputs, targets, change) * weight[..., None]


@lru_cache(maxsize=16)
def _weights_on(weights: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Float[Tensor, " O"]:
    """Weights where they are used, so that no mini-batch waits for a copy."""
    return torch.tensor(weights, device=device, dtype=dtype)


class BinaryCrossEntropy(Loss):
    """Logistic cross-entropy with 0/1 per output, in nats, summed over outputs.

    Numerics:
        The sigmoid is formed from tanh and the softplus from exp and log1p: torch's own kernels round the ends of a
        vector differently, so that rows would depend on their place.
    """

    name = "binary_cross_entropy"

    def score(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."]
    ) -> tuple[Float[Tensor, "P M"], Float[Tensor, "P M O"]]:
        """From the logits, without forming the probabilities for the cost."""
        # softplus(y) - y t in the form whose exp cannot overflow
        each = (outputs.clamp(min=0) - outputs * targets) + torch.log1p(torch.exp(-outputs.abs()))
        return each.sum(-1), _sigmoid(outputs) - targets

    def curvature(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."], change: Float[Tensor, "P M O"]
    ) -> Float[Tensor, "P M O"]:
        """p (1 - p) change."""
        del targets
        p = _sigmoid(outputs)
        return p * (1 - p) * change


class SquaredError(Loss):
    """Squared error without 1/2, summed over outputs."""

    name = "squared_error"
    values = True

    def score(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."]
    ) -> tuple[Float[Tensor, "P M"], Float[Tensor, "P M O"]]:
        """(y - target)^2."""
        error = outputs - targets
        return (error * error).sum(-1), 2 * error

    def curvature(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."], change: Float[Tensor, "P M O"]
    ) -> Float[Tensor, "P M O"]:
        """2 change."""
        del outputs, targets
        return 2 * change


class HalfSquaredError(SquaredError):
    """Half the squared error, summed over outputs: the form whose derivative is the error itself."""

    name = "half_squared_error"

    def score(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."]
    ) -> tuple[Float[Tensor, "P M"], Float[Tensor, "P M O"]]:
        """(y - target)^2 / 2."""
        error = outputs - targets
        return (error * error).sum(-1) / 2, error

    def curvature(
        self, outputs: Float[Tensor, "P M O"], targets: Shaped[Tensor, "P M ..."], change: Float[Tensor, "P M O"]
    ) -> Float[Tensor, "P M O"]:
        """The change itself."""
        del outputs, targets
        return change


def _sigmoid(x: Tensor) -> Tensor:
    return 0.5 + 0.5 * torch.tanh(0.5 * x)


CROSS_ENTROPY, BINARY_CROSS_ENTROPY = CrossEntropy(), BinaryCrossEntropy()
SQUARED_ERROR, HALF_SQUARED_ERROR = SquaredError(), HalfSquaredError()
FUSED: dict[type[Loss], str] = {
    CrossEntropy: "classes",
    BinaryCrossEntropy: "binary",
    SquaredError: "squared",
    HalfSquaredError: "half_squared",
}
"""Those that kernels know, and how they call them; a subclass is another loss."""
