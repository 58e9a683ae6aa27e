"""The process against the textbook's formulas; batches keep apart."""

from __future__ import annotations

import numpy as np
import pytest

from rnnsweep.adapters.scipy.varying_gp import Drift, UpperConfidence, fitted, log_likelihood, posterior

RANDOM = np.random.default_rng(3)
SEEN = (RANDOM.uniform(size=(12, 2)), np.repeat([1.0, 2.0, 3.0], 4))
VALUES = np.sin(4 * SEEN[0][:, 0]) - SEEN[0][:, 1]
WANTED = (RANDOM.uniform(size=(5, 2)), np.full(5, 4.0))
DRIFT = Drift((0.4, 0.9), 0.2, 0.03)


def entry(x, t, y, s) -> float:
    """The kernel, number by number."""
    r2 = sum(((a - b) / length) ** 2 for a, b, length in zip(x, y, DRIFT.lengths, strict=True))
    return float(np.exp(-r2 / 2) * (1 - 0.2) ** (abs(t - s) / 2))


def matrix(a, b) -> np.ndarray:
    return np.array([[entry(x, t, y, s) for y, s in zip(*b, strict=True)] for x, t in zip(*a, strict=True)])


def test_posterior_and_likelihood_are_the_textbooks() -> None:
    """Conditioning of a joint normal law, by explicit inverses (Rasmussen, Williams 2006, eq. 2.25, 2.26, 2.30)."""
    gram = matrix(SEEN, SEEN) + 0.03 * np.eye(12)
    between = matrix(SEEN, WANTED)
    inverse = np.linalg.inv(gram)
    mean, variance = posterior(DRIFT, SEEN, VALUES, WANTED)
    np.testing.assert_allclose(mean, between.T @ inverse @ VALUES, rtol=1e-9)
    np.testing.assert_allclose(variance, np.diag(matrix(WANTED, WANTED) - between.T @ inverse @ between), rtol=1e-9)
    expected = -0.5 * (VALUES @ inverse @ VALUES + np.log(np.linalg.det(gram)) + 12 * np.log(2 * np.pi))
    assert log_likelihood(DRIFT, SEEN, VALUES) == pytest.approx(expected, rel=1e-9)


def test_before_any_observation_it_is_the_prior() -> None:
    empty = (np.zeros((0, 2)), np.zeros(0))
    mean, variance = posterior(DRIFT, empty, np.zeros(0), WANTED)
    assert mean.tolist() == [0.0] * 5
    assert variance.tolist() == [1.0] * 5


def test_what_is_long_ago_says_less() -> None:
    point = SEEN[0][:1]
    late = [posterior(DRIFT, (point, np.array([1.0])), np.ones(1), (point, np.array([t]))) for t in (1.0, 5.0, 50.0)]
    means, variances = [float(mean[0]) for mean, _ in late], [float(variance[0]) for _, variance in late]
    assert means == sorted(means, reverse=True)
    assert variances == sorted(variances)


def test_fitting_finds_what_matters() -> None:
    """40 values of one input among two: the other's length becomes the longest that is allowed, or near it."""
    x = RANDOM.uniform(size=(40, 2))
    drift = fitted((x, np.ones(40)), np.sin(6 * x[:, 0]))
    assert drift.lengths[1] > 5 * drift.lengths[0]
    assert log_likelihood(drift, (x, np.ones(40)), np.sin(6 * x[:, 0])) > log_likelihood(
        Drift((1.0, 1.0), 0.1, 0.05), (x, np.ones(40)), np.sin(6 * x[:, 0])
    )


def test_points_of_a_batch_keep_apart_and_those_being_tried_are_left_alone() -> None:
    grid = np.linspace(0, 1, 101)[:, None]
    times = np.full(101, 2.0)
    seen = (np.array([[0.2], [0.8]]), np.ones(2))
    values = np.array([0.0, 0.0])
    bound = UpperConfidence(Drift((0.15,), 0.1, 0.01), seen, values)
    bound.beta = 4.0
    first, second, third = (bound.pick(grid, times) for _ in range(3))
    assert min(abs(first - second), abs(second - third), abs(first - third)) >= 15
    again = UpperConfidence(Drift((0.15,), 0.1, 0.01), seen, values)
    again.beta = 4.0
    again.try_out(grid[first : first + 1], times[:1])
    assert again.pick(grid, times) == second
