"""The error of a single unit over its weight and bias: the wall of Pascanu et al. (2013), figure 6."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnsweep.core.analyses.bifurcation import sigmoid

Array = np.ndarray


@dataclass(frozen=True)
class UnitProblem:
    """Bring sigmoid(x_T) to a target, where x_t = w sigmoid(x_{t-1}) + b.

    Attributes:
        start: x_0.
        steps: T.
        target: wanted value of the unit's output.
    """

    start: float = 0.5
    steps: int = 50
    target: float = 0.7

    def error(self, w: Array, b: Array) -> Array:
        """(sigmoid(x_T) - target)^2 at each point of the plane; float64, shape of w + b."""
        return self.error_and_gradient(w, b)[0]

    def error_and_gradient(self, w: Array, b: Array) -> tuple[Array, Array, Array]:
        """Error and its derivatives by w and by b.

        Numerics:
            Tangents run forward with the state, in float64; on the wall they grow like (w/4)^T and stay finite for
            T up to hundreds of steps.

        References:
            Pascanu, Mikolov, Bengio (2013), section 2.3.
        """
        w, b = np.broadcast_arrays(np.asarray(w, np.float64), np.asarray(b, np.float64))
        x = np.full(w.shape, self.start)
        dw, db = np.zeros_like(x), np.zeros_like(x)
        for _ in range(self.steps):
            s = sigmoid(x)
            slope = w * s * (1 - s)
            # Before x moves on: tangents are taken at the old state.
            dw, db = s + slope * dw, 1 + slope * db
            x = w * s + b
        s = sigmoid(x)
        gap = s - self.target
        scale = 2 * gap * s * (1 - s)
        return gap**2, scale * dw, scale * db

    def descend(self, point: tuple[float, float], lr: float, steps: int, threshold: float = np.inf) -> Array:
        """Gradient descent on (w, b) with the gradient's norm clipped: the path, [steps + 1, 2].

        Args:
            point: where it starts.
            lr: learning rate.
            steps: updates.
            threshold: largest gradient norm; inf is plain descent.
        """
        path = [np.asarray(point, np.float64)]
        for _ in range(steps):
            _, dw, db = self.error_and_gradient(*path[-1])
            gradient = np.array([float(dw), float(db)])
            # hypot: on the wall the squares could overflow.
            norm = float(np.hypot(*gradient))
            if norm > threshold:
                gradient *= threshold / norm
            path.append(path[-1] - lr * gradient)
        return np.stack(path)


def wall(w: Array, start: float = 0.5) -> Array:
    """The bias at which the unit's start is a fixed point: b = x_0 - w sigmoid(x_0).

    Where that point is unstable (w sigmoid'(x_0) > 1) the start lies on the border between two basins, and the error
    jumps there.
    """
    return start - np.asarray(w, np.float64) * sigmoid(start)
