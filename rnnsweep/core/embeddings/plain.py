"""No embedding."""

from __future__ import annotations

from dataclasses import dataclass

from rnnsweep.core.embedding import Embedding


@dataclass(frozen=True)
class PlainInputs(Embedding):
    """Inputs as they come; symbols are one-hot vectors."""
