"""What a report shows beside the loss: spectra, saturation, Lyapunov exponent, delta profile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.recurrence.reference import slope_at
from rnnsweep.core.types import Record

if TYPE_CHECKING:
    from rnnsweep.core.controllers.base import Context
    from rnnsweep.core.training import Tile

SATURATED_BELOW = 0.1
"""|f'| below which a unit counts as saturated."""


def weights(tile: Tile) -> dict[str, Tensor]:
    """Spectral radius and largest singular value of the loop's recurrent matrix, float64 [P].

    Left out where that matrix is not square (gates) or there is none.

    Numerics:
        One LAPACK call per row and quantity, in float64, so that rows cannot mix. Non-finite matrices give NaN.
    """
    values = tile.program.layout.view(tile.params)
    matrices = tile.program.family.weights(values, tile.unit_hypers("family")).w_rec.double().cpu()
    if matrices.shape[1] != matrices.shape[2] or not matrices.shape[1]:
        return {}
    rho, sigma = torch.full((2, len(matrices)), math.nan, dtype=torch.float64)
    for index, matrix in enumerate(matrices):
        if bool(torch.isfinite(matrix).all()):
            rho[index] = torch.linalg.eigvals(matrix).abs().max()
            sigma[index] = torch.linalg.matrix_norm(matrix, 2)
    return {"weights/rho": rho, "weights/sigma_max": sigma}


def states(context: Context) -> dict[str, Tensor]:
    """Saturation share and largest Lyapunov exponent on the last training mini-batch, float64 [P].

    Left out for cells that are not the simple one.
    """
    assert context.trace is not None
    if context.family.cell is not None:
        return {}
    record, activation = context.trace.record, context.activation
    lengths = record.lengths
    T, B, H = record.h.shape[1] - 1, record.h.shape[2], record.h.shape[3]
    flat = torch.zeros(len(lengths), dtype=torch.float64, device=lengths.device)
    for t in range(T):
        own = t >= T - lengths
        low = (slope_at(record, activation, t).abs() < SATURATED_BELOW).flatten(1).sum(1)
        flat += torch.where(own, low, torch.zeros_like(low))
    share = flat / (lengths * B * H)
    return {"state/saturation": share, "state/lyapunov_max": lyapunov(record, context)}


def lyapunov(record: Record, context: Context) -> Tensor:
    """Mean growth rate of a perturbation that starts equal in all units, nats per step, float64 [P].

    Numerics:
        Renormalised at every step; a direction that dies out exactly gives -inf, which is not reported.

    References:
        Benettin et al. (1980); the first exponent of Vogt et al. (2022), averaged over the mini-batch.
    """
    w, activation = record.weights, context.activation
    T = record.h.shape[1] - 1
    v = torch.ones_like(record.h[:, 0]) / math.sqrt(record.h.shape[-1])
    total = torch.zeros(v.shape[:2], dtype=torch.float64, device=v.device)  # P B
    for t in range(T):
        own = (t >= T - record.lengths)[:, None]
        new = activation.pushforward(slope_at(record, activation, t), numerics.matmul(v, w.w_rec))
        if w.leak is not None:
            leak = w.leak[:, None, None]
            new = (1 - leak) * v + leak * new
        norm = new.double().square().sum(-1).sqrt()
        total += torch.where(own, norm.log(), torch.zeros_like(total))
        v = torch.where(own[..., None], (new.double() / norm[..., None]).to(v.dtype), v)
    return (total / record.lengths[:, None]).mean(1)


def profile(context: Context) -> Tensor:
    """log10 of the mini-batch mean of |delta_t| per step, float64 [P, T]; -inf where all deltas are 0.

    Cells without a recurrent matrix have no delta; |x_t|, what a step hands back, stands in.
    """
    assert context.trace is not None
    trace = context.trace
    return (trace.delta if trace.delta.shape[-1] else trace.x).double().square().sum(-1).sqrt().mean(2).log10()
