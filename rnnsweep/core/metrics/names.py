"""Metrics that every row has, whatever its units; units declare their own (`Unit.metrics`). Needs no torch."""

from __future__ import annotations

from rnnsweep.unit import Metric

METRICS: dict[str, Metric] = {
    "train/loss": Metric("mean training loss over the rung's updates", "training loss"),
    "valid/error": Metric("share of evaluation sequences that are wrong, 0..1", "validation error", drawn=True),
    "valid/loss": Metric("loss on fresh evaluation sequences", "validation loss", drawn=True),
    "grad/norm": Metric("mean 2-norm of the joint gradient before clipping (finite ones)", "gradient norm", drawn=True),
    "grad/norm_clipped": Metric(
        "mean 2-norm of the joint gradient after the transforms", "gradient norm after clipping"
    ),
    "grad/nonfinite": Metric("updates of the rung with a non-finite gradient"),
    "weights/rho": Metric("spectral radius of the recurrent matrix", "spectral radius ρ(W)", drawn=True, by_layer=True),
    "weights/sigma_max": Metric(
        "largest singular value of the recurrent matrix", "largest singular value of W", by_layer=True
    ),
    "state/saturation": Metric(
        "share of units (of gated cells: of all gates and nonlinearities) and steps with |f'| < 0.1",
        "saturated units (share)",
        drawn=True,
        by_layer=True,
    ),
    "state/lyapunov_max": Metric(
        "largest Lyapunov exponent along the sequence, nats per step", "largest Lyapunov exponent", by_layer=True
    ),
    "solved_at": Metric("first update whose evaluation had less than 1 % errors", "updates to solve"),
    "objective": Metric("the trial's objective"),
}
METRIC_KEYS: tuple[str, ...] = tuple(METRICS)

WORKER_METRICS: tuple[str, ...] = tuple(key for key in METRICS if key not in ("objective", "solved_at"))
"""What a worker reports for every row at every rung (solved_at travels beside the metrics)."""
