"""Names of all metrics. Imports nothing, so that configs and reports can read it without torch."""

from __future__ import annotations

METRICS: dict[str, str] = {
    "train/loss": "mean training loss over the rung's updates",
    "valid/loss": "loss on fresh evaluation sequences",
    "valid/error": "share of evaluation sequences that are wrong, 0..1",
    "valid/bits_per_character": "loss on the evaluation text, in bits instead of nats (char_lm)",
    "grad/norm": "mean 2-norm of the joint gradient before clipping (finite ones)",
    "grad/norm_clipped": "mean 2-norm of the joint gradient after the transforms",
    "clip/share": "share of updates that were clipped",
    "grad/nonfinite": "updates of the rung with a non-finite gradient",
    "omega/value": "mean of the regulariser Omega",
    "omega/active": "mean share of (step, sample) pairs that Omega counts",
    "sampling/q": "mean of Q, the log10 ratio of the first and last delta norms",
    "sampling/ds_log10": "mean of log10 |dS|",
    "sampling/ds_realised": "mean realised relative change of S where the batch was used",
    "sampling/admitted": "share of mini-batches that were used",
    "sampling/degenerate": "mini-batches of the rung whose first delta was 0 or non-finite",
    "weights/rho": "spectral radius of the recurrent matrix",
    "weights/sigma_max": "largest singular value of the recurrent matrix",
    "weights/tied": "steps taken so far with equal leading eigenvalues, through which no gradient goes (enrnn)",
    "state/saturation": "share of units (of gated cells: of all gates and nonlinearities) and steps with |f'| < 0.1",
    "state/lyapunov_max": "largest Lyapunov exponent along the sequence, nats per step",
    "solved_at": "first update whose evaluation had less than 1 % errors",
    "objective": "the trial's objective",
}
METRIC_KEYS: tuple[str, ...] = tuple(METRICS)

TASK_METRICS: tuple[str, ...] = ("valid/bits_per_character",)
"""Those that only some tasks report (`Task.derived`)."""

WORKER_METRICS: tuple[str, ...] = tuple(key for key in METRICS if key not in ("objective", "solved_at"))
"""What a worker reports for every row at every rung (solved_at travels beside the metrics)."""
