"""How well a generated trajectory reproduces a dynamical system: its geometry and its spectra.

Shapes: n true steps · m generated steps of each of B trajectories · N variables · P rows.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor


def bin_counts(points: Float[Tensor, "P n N"], edges: Float64[Tensor, "N 2"], bins: int) -> Int64[Tensor, "P cells"]:
    """Points of each row per cell of a grid with `bins` equal parts along each variable, int64 [P, bins**N].

    Args:
        points: those outside the grid, or not finite, are in no cell.
        edges: lowest and highest value of each variable; the highest belongs to the last part.
        bins: parts.

    Numerics:
        Whole numbers: the same in any order.
    """
    low, high = edges[:, 0], edges[:, 1]
    x = points.double()
    inside = ((x >= low) & (x <= high)).all(-1)
    # of points outside any cell will do: they weigh 0
    part = ((torch.where(inside[..., None], x, low) - low) / (high - low) * bins).long().clamp(0, bins - 1)
    cell = (part * bins ** torch.arange(points.shape[2], device=points.device)).sum(-1)  # P n
    counts = torch.zeros(len(points), bins ** points.shape[2], dtype=torch.int64, device=points.device)
    return counts.scatter_add_(1, cell, inside.long())


def state_space_divergence(
    true: Int64[Tensor, " cells"], generated: Int64[Tensor, "P cells"], smoothing: float
) -> Float64[Tensor, " P"]:
    """D_stsp: Kullback-Leibler divergence of the generated occupation of state space from the true one, nats >= 0.

    Args:
        true, generated: points per cell.
        smoothing: added to the share of each cell, before shares are divided by their sum; > 0.

    References:
        Koppe, Toutounji, Kirsch, Lis, Durstewitz (2019), equation 18; Brenner et al. (2022), appendix. Ours differs:
        points outside the true range are in no cell.

    Example:
        >>> counts = torch.tensor([[3, 1], [1, 1]])
        >>> [round(value, 4) for value in state_space_divergence(counts[0], counts, 1e-12).tolist()]
        [0.0, 0.1308]
    """
    p, q = _smoothed(true[None], smoothing), _smoothed(generated, smoothing)
    return (p * (p.log() - q.log())).sum(1)


def largest_divergence(true: Int64[Tensor, " cells"], smoothing: float) -> float:
    """What `state_space_divergence` cannot exceed: all points in one cell that the truth never visits."""
    p, cells = _smoothed(true[None], smoothing)[0], len(true)
    return float((p * p.log()).sum() - math.log(smoothing / (1 + smoothing * cells)))


def _smoothed(counts: Tensor, smoothing: float) -> Tensor:
    share = counts.double() / counts.sum(1, keepdim=True).clamp(min=1) + smoothing
    return share / share.sum(1, keepdim=True)


def power_spectrum(trajectories: np.ndarray, width: float) -> np.ndarray:
    """Mean power spectrum of each variable over trajectories [B, m, N], smoothed, with sum 1: float64 [m // 2 + 1, N].

    Args:
        trajectories: each variable's mean over its own trajectory is taken away.
        width: standard deviation of the Gaussian that smooths, in frequency steps; 0: none.

    Numerics:
        Spectra are formed one by one, so that they do not depend on what lies beside them. No power: 0 everywhere.
    """
    B, m, N = trajectories.shape
    kernel = _kernel(width, m // 2 + 1)
    spectra = np.zeros((m // 2 + 1, N))
    for variable in range(N):
        for b in range(B):
            own = np.ascontiguousarray(trajectories[b, :, variable], dtype=np.float64)
            moved = own - own.mean()
            # what stands still has no power; the rounding of its mean would be divided by itself and look like noise
            if np.abs(moved).max() > 1e-12 * np.abs(own).max():
                spectra[:, variable] += np.abs(np.fft.rfft(moved)) ** 2
        spectra[:, variable] = np.convolve(spectra[:, variable], kernel, mode="same")
    total = spectra.sum(0)
    return spectra / np.where(total > 0, total, 1.0)


def hellinger(first: np.ndarray, second: np.ndarray) -> float:
    """Hellinger distance of spectra [frequencies, N], averaged over variables, 0..1.

    References:
        Mikhaeil, Monfared, Durstewitz (2022); Hess, Monfared, Brenner, Durstewitz (2023).

    Example:
        >>> float(hellinger(np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]])))
        1.0
    """
    overlap = np.sqrt(first * second).sum(0)
    # rounding may take an overlap beyond 1
    return float(np.sqrt(np.clip(1 - overlap, 0, 1)).mean())


def spectrum_errors(true: np.ndarray, generated: Float[Tensor, "P m B N"], width: float) -> Float64[Tensor, " P"]:
    """Hellinger distance of each row's spectra from the true ones; 1 where something is not finite."""
    found = []
    for row in generated.double().cpu().numpy():
        finite = bool(np.isfinite(row).all())
        # beyond about 1e150 the square is no number
        sane = finite and float(np.abs(row).max(initial=0.0)) < 1e100
        found.append(hellinger(true, power_spectrum(row.transpose(1, 0, 2), width)) if sane else 1.0)
    return torch.tensor(found, dtype=torch.float64, device=generated.device)


def _kernel(width: float, most: int) -> np.ndarray:
    # no longer than a spectrum: `same` would give the longer one's length
    reach = min(int(4 * width), (most - 1) // 2)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 1e-300)) ** 2)
    return weights / weights.sum()
