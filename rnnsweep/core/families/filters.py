"""Filters over time of what a loop is fed: momentum and its variants act on the input path only.

    z_t = u_t W_in + b (0 before a row's own start)
    v_t = mu_t v_{t-1} + s z_t        m_t = beta m_{t-1} + (1 - beta) z_t^2

All of it is independent of the state, so it runs before the loop, over all steps, and hands back by a reversed scan:
by an engine that runs filters (`recurrence.filtering`), or else by the operations here, which are also its oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.families.base import Feed, Values
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.filtering import EPSILON, DriveFilter, FilterEngine, FilterGradients
from rnnsweep.core.sequence_lengths import own_steps, per_sequence


@dataclass(frozen=True)
class Momentum:
    """v_t = mu_t v_{t-1} + s z_t.

    Attributes:
        decay: mu, [P, T, 1, 1].
        scale: s, [P, 1, 1, 1].
    """

    decay: Tensor
    scale: Tensor

    def forward(self, z: Float[Tensor, "P T B G"]) -> Float[Tensor, "P T B G"]:
        """v [P, T, B, G]."""
        return scan(self.scale * z, self.decay)

    def pullback(self, z: Float[Tensor, "P T B G"], g: Float[Tensor, "P T B G"]) -> Float[Tensor, "P T B G"]:
        """dC/dz of dC/dv."""
        del z
        return self.scale * reversed_scan(g, self.decay)


@dataclass(frozen=True)
class Adaptive:
    """v_t / sqrt(m_t + 1e-16).

    Attributes:
        momentum: of v. beta: decay of m, [P, T, 1, 1].

    Numerics:
        m = v = 0, as before a row's start, gives 0 and gradient 0 / 1e-8.
    """

    momentum: Momentum
    beta: Tensor

    def forward(self, z: Float[Tensor, "P T B G"]) -> Float[Tensor, "P T B G"]:
        """The adapted drive [P, T, B, G]."""
        return self.momentum.forward(z) / (self._square(z) + EPSILON).sqrt()

    def pullback(self, z: Float[Tensor, "P T B G"], g: Float[Tensor, "P T B G"]) -> Float[Tensor, "P T B G"]:
        """dC/dz."""
        # Scanned again, not kept: two tensors as large as the drives less to hold.
        v, below = self.momentum.forward(z), self._square(z) + EPSILON
        dv = g / below.sqrt()
        # d(v below^-1/2)/dm = -v below^-3/2 / 2; dv already carries one of the roots.
        dm = reversed_scan(-0.5 * dv * v / below, self.beta)
        # z acts twice: through v, and through its square in m.
        return self.momentum.pullback(z, dv) + 2 * (1 - self.beta) * z * dm

    def _square(self, z: Tensor) -> Tensor:
        return scan((1 - self.beta) * z * z, self.beta)


Filter = Momentum | Adaptive


def scan(x: Float[Tensor, "P T B G"], decay: Float[Tensor, "P T S 1"]) -> Float[Tensor, "P T B G"]:
    """y_t = decay_t y_{t-1} + x_t, y_0 = 0."""
    outputs = [x[:, 0]]
    for t in range(1, x.shape[1]):
        outputs.append(decay[:, t] * outputs[-1] + x[:, t])
    return torch.stack(outputs, 1)  # P T B G


def reversed_scan(g: Float[Tensor, "P T B G"], decay: Float[Tensor, "P T S 1"]) -> Float[Tensor, "P T B G"]:
    """The transpose of `scan`: y_t = decay_{t+1} y_{t+1} + g_t."""
    outputs = [g[:, -1]]
    for t in range(g.shape[1] - 2, -1, -1):
        # Step t enters y_{t+1} by the decay of step t + 1.
        outputs.append(decay[:, t + 1] * outputs[-1] + g[:, t])
    return torch.stack(outputs[::-1], 1)


def constant(value: Float[Tensor, " P"], T: int) -> Float[Tensor, "P T 1 1"]:
    """A per-row value [P] at every step, [P, T, 1, 1]."""
    return value[:, None, None, None].expand(-1, T, 1, 1)  # a view: T costs no memory


def restarting(period: Float[Tensor, " P"], lengths: Int64[Tensor, "P ..."], T: int) -> Float[Tensor, "P T S 1"]:
    """kappa_t = (k - 1) / (k + 2) with k = 1..period again and again from a sequence's own start, [P, T, S, 1].

    Example:
        >>> restarting(torch.tensor([3.0]), torch.tensor([5]), 6).flatten().tolist()
        [0.4..., 0.0, 0.25, 0.4..., 0.0, 0.25]
    """
    k = restart_index(period, lengths, T)
    return ((k - 1) / (k + 2))[..., None]


def restart_index(period: Float[Tensor, " P"], lengths: Int64[Tensor, "P ..."], T: int) -> Float[Tensor, "P T S"]:
    """k [P, T, S], in the floating type of `period`."""
    # P T S, negative before the start
    own = torch.arange(T, device=lengths.device)[None, :, None] - (T - per_sequence(lengths))[:, None, :]
    # `remainder`, not `fmod`: its sign is the period's, so k stays in 1..period before the start too.
    # Rounded: per-row hyperparameters are floating point.
    return torch.remainder(own, period.round().to(torch.int64)[:, None, None]).to(period.dtype) + 1


def filtered_feed(
    values: Values, inputs: Float[Tensor, "P T B I"], lengths: Int64[Tensor, "P ..."], filter_: Filter, engine: Engine
) -> Feed:
    """Drives of the loop: the filtered input path, plus ``b_rec`` unfiltered, with its pull-back to what is there.

    The engine runs the filter where it can; it leaves no graph, so that a network that is differentiated by autograd
    goes through the operations of this module.
    """
    recorded = torch.is_grad_enabled() and (inputs.requires_grad or values["w_in"].requires_grad)
    if isinstance(engine, FilterEngine) and not recorded and type(filter_) in (Momentum, Adaptive):
        return _engines_feed(values, inputs, lengths, filter_, engine)
    return _own_feed(values, inputs, lengths, filter_)


def _engines_feed(values: Values, inputs: Tensor, lengths: Tensor, filter_: Filter, engine: FilterEngine) -> Feed:
    momentum = filter_ if isinstance(filter_, Momentum) else filter_.momentum
    beta = None
    if isinstance(filter_, Adaptive):
        beta = filter_.beta[..., 0].expand_as(momentum.decay[..., 0])
    rates = DriveFilter(
        values["w_in"], values.get("b"), values.get("b_rec"), momentum.decay[..., 0], momentum.scale.flatten(), beta
    )
    record = engine.filtered(inputs, rates, lengths)

    def pullback(gradient: Tensor | None) -> dict[str, Tensor]:
        assert gradient is not None
        return _named(engine.filtered_back(record, gradient, further=False))

    def both(gradient: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
        assert gradient is not None
        found = engine.filtered_back(record, gradient, further=True)
        assert found.inputs is not None
        return _named(found), found.inputs

    return Feed(record.drives, pullback, lambda gradient: both(gradient)[1], both)


def _named(found: FilterGradients) -> dict[str, Tensor]:
    parts = {"w_in": found.w_in, "b": found.bias, "b_rec": found.after}
    return {name: part for name, part in parts.items() if part is not None}


def _own_feed(values: Values, inputs: Tensor, lengths: Tensor, filter_: Filter) -> Feed:
    T = inputs.shape[1]
    z = numerics.matmul(inputs.flatten(1, 2), values["w_in"]).unflatten(1, inputs.shape[1:3])
    if "b" in values:
        z = z + values["b"][:, None, None, :]
    # The bias, too, is 0 before a sequence's start: its filter must begin at zero.
    started = _started(lengths, T)
    z = started(z)

    def unfiltered(gradient: Tensor) -> Float[Tensor, "P TB G"]:
        return started(filter_.pullback(z, gradient)).flatten(1, 2)

    def pullback(gradient: Tensor | None) -> dict[str, Tensor]:
        assert gradient is not None
        dz = unfiltered(gradient)
        found = {"w_in": numerics.matmul(inputs.flatten(1, 2).transpose(1, 2), dz)}
        if "b" in values:
            found["b"] = numerics.row_sum(dz)
        if "b_rec" in values:  # the gradient of idle steps is 0
            found["b_rec"] = numerics.row_sum(gradient.flatten(1, 2))
        return found

    def back(gradient: Tensor) -> Tensor:
        turned = values["w_in"].transpose(1, 2)
        return numerics.matmul(unfiltered(gradient), turned).unflatten(1, inputs.shape[1:3])

    drives = filter_.forward(z)
    # In place: drives are fresh, and as large as a record's states.
    return Feed(drives.add_(values["b_rec"][:, None, None, :]) if "b_rec" in values else drives, pullback, back)


def _started(lengths: Tensor, T: int) -> Callable[[Tensor], Tensor]:
    """What puts 0 before a sequence's own start; where all are known to begin at once it is nothing."""
    if numerics.known_all(lengths == T):
        return lambda x: x
    own = own_steps(lengths, T)[..., None]
    # Selected, not multiplied: 0 * inf would be NaN.
    return lambda x: torch.where(own, x, torch.zeros_like(x))
