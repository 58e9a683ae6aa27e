"""The rate network of neuroscience: no biases, a constant first state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.families.base import Values, readout_parameters
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.types import LoopWeights, ParameterSpec
from rnnsweep.unit import Range


@dataclass(frozen=True)
class Rate(Srn):
    """Leaky simple network without biases, which starts from a state that is not 0.

        a_t = h_{t-1} W_rec + u_t W_in        h_t = (1 - leak) h_{t-1} + leak f(a_t)        h_0 = (h0, ..., h0)

    Without inputs nothing else sets it going: from h_0 = 0 the state, and every gradient of W_rec, would stay 0.

    Attributes:
        hidden, activation: as `Srn`; modReLU keeps its own bias.
        leak: 1 / tau, per row, 0 < leak <= 1.
        output_bias: whether the read-out has a bias.
        h0: first state of every unit, per row, not trained.

    Numerics:
        As `Srn`; every engine runs it.

    References:
        Murray (2019), *Local online learning in recurrent networks with random feedback*, eq. 1-2, and the published
        notebook: tau 10, h0 0.1.
    """

    leak: float = 0.1
    output_bias: bool = False
    h0: float = 0.1

    rows: ClassVar[Mapping[str, Range]] = {**Srn.rows, "h0": Range(-math.inf, math.inf, open_low=True, open_high=True)}

    @property
    def restarts(self) -> bool:
        """A sequence begins at `h0`, which no carried state is."""
        return True

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_rec, w_in, (act_bias), w_out, (b_out)."""
        loop = (spec for spec in super().parameters(n_inputs, n_outputs) if spec.name in ("w_rec", "w_in", "act_bias"))
        return (*loop, *readout_parameters(self.hidden, n_outputs, self.output_bias))

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The raw parameters, and `h0` for every unit."""
        w_rec, w_in = values["w_rec"], values["w_in"]
        h0 = hypers["h0"][:, None].expand(-1, self.hidden).contiguous()  # P H
        leak = hypers["leak"] if self.leaky else None
        return LoopWeights(w_rec, w_in, act_bias=values.get("act_bias"), h0=h0, leak=leak)
