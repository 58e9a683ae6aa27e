"""A trained table of vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.embedding import TABLE, Embedding
from rnnsweep.unit import NOT_NEGATIVE, Range


@dataclass(frozen=True)
class LearnedEmbedding(Embedding):
    """Each symbol has a trained vector: x_t is line c_t of ``embedding`` [V, E].

    Symbols come as codes, so that no one-hot vector is ever made. For tasks whose inputs are symbols (`Task.tokens`).

    Attributes:
        size: E.
        sigma: first values are drawn from N(0, sigma^2); 1 as in `torch.nn.Embedding`. Per row, >= 0.
        tied: ``w_out`` is the table's transpose, as is usual in language models: the task's outputs are its symbols,
            and E is what the read-out sees.

    Numerics:
        See `core.embedding.look_up`. The gradient of a tied table is the sum of both its uses.

    References:
        Bengio, Ducharme, Vincent, Jauvin (2003), *A neural probabilistic language model*; tied: Press, Wolf (2017),
        Inan, Khosravi, Socher (2017).
    """

    rows: ClassVar[Mapping[str, Range]] = {"sigma": NOT_NEGATIVE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "size": Range(1, 8192, integer=True),
        "tied": (True, False),
    }

    size: int = 32  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleMethodOverride] - see `Embedding`: fields or properties
    sigma: float = 1.0
    tied: bool = False  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleMethodOverride]

    def initial(self, n_inputs: int, keys: Int64[Tensor, " P"]) -> dict[str, Float64[Tensor, "P ..."]]:
        """N(0, sigma^2); the same pattern whatever sigma is."""
        drawn = rng.normals(keys, n_inputs * self.size, rng.stream_of(TABLE)).unflatten(1, (n_inputs, self.size))
        return {TABLE: drawn * self.sigma}
