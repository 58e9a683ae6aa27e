"""Weights & Biases: a run per trial, written when the trial has ended.

Nothing is sent but what the sweep's config says: reports of errors to the makers of the library are off.
"""

import os

for _name, _value in {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}.items():
    os.environ.setdefault(_name, _value)
