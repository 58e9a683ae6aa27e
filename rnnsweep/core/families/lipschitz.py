"""Lipschitz recurrent network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.recurrence.continuous import EulerCell
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import NOT_NEGATIVE, SHARE, Range


@dataclass(frozen=True)
class Lipschitz(CellFamily):
    """Forward Euler of h' = h A + tanh(h W + u W_in + b), with A and W between symmetric and skew.

        A = (1 - beta) (M + M^T) + beta (M - M^T) - gamma I        W likewise, with a beta and gamma of its own

    Attributes:
        hidden: H, number of units.
        step: Euler's step size, per row, >= 0.
        beta_a, beta_w: 0.5 is M + ..., 1 is skew; per row, 0..1.
        gamma_a, gamma_w: damping, per row, >= 0.

    Numerics:
        A and W are one matrix [H, 2H] of the loop. Gradients in closed form.

    References:
        Erichson, Azencot, Queiruga, Hodgkinson, Mahoney (2021), eq. 4 and 7; defaults of their pixel tasks.
        Ours differs: M is drawn by the init; their code draws it with standard deviation 0.1 / H
        (``init=normal``, `sigma_rec` 0.002 at 50 units) and the other weights by Glorot's rule.
    """

    step: float = 0.03
    beta_a: float = 0.75
    beta_w: float = 0.75
    gamma_a: float = 0.001
    gamma_w: float = 0.001

    rows: ClassVar[Mapping[str, Range]] = {
        "step": NOT_NEGATIVE,
        "beta_a": SHARE,
        "beta_w": SHARE,
        "gamma_a": NOT_NEGATIVE,
        "gamma_w": NOT_NEGATIVE,
    }

    @property
    def cell(self) -> EulerCell:
        """Euler's step."""
        return EulerCell(self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """m_a, m_w [H, H], w_in, b, w_out, b_out."""
        H = self.hidden
        return (
            ParameterSpec("m_a", (H, H), "recurrent"),
            ParameterSpec("m_w", (H, H), "recurrent"),
            ParameterSpec("w_in", (n_inputs, H), "input"),
            ParameterSpec("b", (H,), "bias"),
            *readout_parameters(H, n_outputs),
        )

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """[A, W] side by side."""
        eye = torch.eye(self.hidden, dtype=values["m_a"].dtype, device=values["m_a"].device)
        # - gamma I moves all eigenvalues to the left: that damps.
        parts = [_mixed(values[f"m_{n}"], hypers[f"beta_{n}"]) - _wide(hypers[f"gamma_{n}"]) * eye for n in "aw"]
        own = {"step": hypers["step"][:, None]}  # P 1
        # [A, W] is P H 2H: one product with h serves both.
        return LoopWeights(torch.cat(parts, 2), values["w_in"], values["b"], cell=own)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Through M -> M + (1 - 2 beta) M^T, whose transpose has the same form."""
        del values
        named = gradients.parts()
        halves = named.pop("w_rec").split(self.hidden, 2)  # 2 x P H H
        return named | {f"m_{n}": _mixed(half, hypers[f"beta_{n}"]) for n, half in zip("aw", halves, strict=True)}

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The change of [A, W]."""
        del values
        # gamma I is a constant and has no change.
        return torch.cat([_mixed(step[f"m_{n}"], hypers[f"beta_{n}"]) for n in "aw"], 2)


def _mixed(m: Tensor, beta: Tensor) -> Tensor:
    """(1 - beta) (M + M^T) + beta (M - M^T)."""
    # The coefficient of M is (1 - beta) + beta = 1.
    return m + (1 - 2 * _wide(beta)) * m.transpose(1, 2)


def _wide(x: Tensor) -> Tensor:
    return x[:, None, None]
