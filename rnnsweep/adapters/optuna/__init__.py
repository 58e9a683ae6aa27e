"""Optuna: samplers, pruners, importance and the mirror database for optuna-dashboard.

A sampler or pruner is one file with one frozen dataclass whose fields are its yaml keys. Each decision is a pure
function of (sweep seed, trial number, history), so a resumed sweep goes on as if nothing had happened.
"""

import os

os.environ.setdefault("OPTUNA_DISABLE_TELEMETRY", "true")
