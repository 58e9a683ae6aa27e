"""The linear read-out."""

from __future__ import annotations

from dataclasses import dataclass

from rnnsweep.core.readout import Readout


@dataclass(frozen=True)
class Linear(Readout):
    """y = h W_out + b_out of the last state, or of every state.

    Numerics:
        See `core.readout.read_out`.
    """
