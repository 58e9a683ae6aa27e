"""A Gaussian process whose function drifts with time, and its upper confidence bound for several points at once."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Points = tuple[Array, Array]

_LEAST_NOISE, _MOST_NOISE = 1e-4, 1.0
_SHORTEST, _LONGEST = 0.05, 20.0


def _scipy(name: str) -> Any:
    """A part of scipy, which has no types; imported only where a model is fitted."""
    return importlib.import_module(f"scipy.{name}")


@dataclass(frozen=True)
class Drift:
    """Hyperparameters of the process.

    Attributes:
        lengths: of each input, in its own (unit) range, > 0.
        forgetting: share by which one unit of time decorrelates, in [0, 1).
        noise: variance of an observation's noise, relative to the signal's, > 0.
    """

    lengths: tuple[float, ...]
    forgetting: float = 0.1
    noise: float = 0.01

    def kernel(self, x: Array, t: Array, y: Array, s: Array) -> Array:
        """exp(-r^2 / 2) (1 - forgetting)^(|t - s| / 2) between points x [N, D] at times t [N] and y [M, D] at s [M]."""
        import numpy as np

        scale = np.asarray(self.lengths)
        squared = (((x[:, None, :] - y[None, :, :]) / scale) ** 2).sum(-1)
        return np.exp(-0.5 * squared) * (1.0 - self.forgetting) ** (0.5 * np.abs(t[:, None] - s[None, :]))


def posterior(drift: Drift, seen: Points, values: Array, wanted: Points) -> tuple[Array, Array]:
    """Mean and variance, [M] each, of the function at wanted points after observations.

    Args:
        drift: the process.
        seen: points [N, D] and times [N] of the observations; N may be 0.
        values: [N], of mean 0.
        wanted: points [M, D] and times [M].

    Numerics:
        By Cholesky's factors; the noise keeps the matrix regular. Variances are at least 0.

    References:
        Rasmussen, Williams (2006), algorithm 2.1. Kernel: Bogunovic, Scarlett, Cevher (2016), section 2.
    """
    import numpy as np

    if not len(values):
        return np.zeros(len(wanted[1])), np.ones(len(wanted[1]))
    factor = _scipy("linalg").cho_factor(drift.kernel(*seen, *seen) + drift.noise * np.eye(len(values)), lower=True)
    between = drift.kernel(*seen, *wanted)
    mean: Array = between.T @ _scipy("linalg").cho_solve(factor, values)
    variance: Array = 1.0 - (between * _scipy("linalg").cho_solve(factor, between)).sum(0)
    return mean, np.maximum(variance, 0.0)


def log_likelihood(drift: Drift, seen: Points, values: Array) -> float:
    """Log of the observations' marginal likelihood."""
    import numpy as np

    factor = _scipy("linalg").cho_factor(drift.kernel(*seen, *seen) + drift.noise * np.eye(len(values)), lower=True)
    fit = float(values @ _scipy("linalg").cho_solve(factor, values))
    volume = 2.0 * float(np.log(np.diag(factor[0])).sum())
    return -0.5 * (fit + volume + len(values) * float(np.log(2 * np.pi)))


def fitted(seen: Points, values: Array) -> Drift:
    """The process under which the observations are most likely, from one start, within bounds."""
    import numpy as np

    count = seen[0].shape[1]
    bounds = [(np.log(_SHORTEST), np.log(_LONGEST))] * count
    bounds += [(0.0, 0.95), (np.log(_LEAST_NOISE), np.log(_MOST_NOISE))]
    start = np.array([0.0] * count + [0.1, np.log(0.05)])

    def loss(theta: Array) -> float:
        return -log_likelihood(_drift(theta), seen, values)

    found = _scipy("optimize").minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    return _drift(found.x if np.isfinite(found.fun) else start)


def _drift(theta: Array) -> Drift:
    import numpy as np

    lengths = tuple(float(length) for length in np.exp(theta[:-2]))
    return Drift(lengths, float(theta[-2]), float(np.exp(theta[-1])))


class UpperConfidence:
    """Picks points one after the other where mean + sqrt(beta) standard deviations is largest.

    A point that was picked, or is being tried, has no value yet: it lowers the variance near it and leaves the mean
    (a hallucinated observation), so that the points of a batch keep apart.

    References:
        Desautels, Krause, Burdick (2014), GP-BUCB. beta: Parker-Holder et al. (2020), as in their code.
    """

    def __init__(self, drift: Drift, seen: Points, values: Array) -> None:
        import numpy as np

        self._drift, self._seen, self._values = drift, seen, values
        self._tried = seen
        self.beta = max(0.0, 0.2 * float(np.log(max(1.0, 0.4 * len(values)))))

    def try_out(self, points: Array, times: Array) -> None:
        """These points [M, D] are being tried at these times [M]."""
        import numpy as np

        self._tried = (np.concatenate([self._tried[0], points]), np.concatenate([self._tried[1], times]))

    def bound(self, points: Array, times: Array) -> Array:
        """The upper bound [M] at these points."""
        import numpy as np

        mean, _ = posterior(self._drift, self._seen, self._values, (points, times))
        # a variance depends on where was observed, and not on what
        _, variance = posterior(self._drift, self._tried, np.zeros(len(self._tried[1])), (points, times))
        return mean + self.beta**0.5 * np.sqrt(variance)

    def pick(self, points: Array, times: Array) -> int:
        """Index of the best point, the first of equals; it counts as tried from now on."""
        best = int(self.bound(points, times).argmax())
        self.try_out(points[best : best + 1], times[best : best + 1])
        return best
