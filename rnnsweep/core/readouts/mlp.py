"""Hidden layers between the states and the linear map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.activations import ACTIVATIONS, OutputSlope
from rnnsweep.core.numerics import matmul, row_sum
from rnnsweep.core.readout import Readout, Seen, Values
from rnnsweep.core.types import Capability, Direct, ParameterSpec
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range, as_declared

_WIDTH = Range(1, 8192, integer=True)
_FUNCTIONS = tuple(name for name, f in ACTIVATIONS.items() if isinstance(f, OutputSlope) and name != "identity")


@dataclass(frozen=True)
class Mlp(Readout):
    """The linear map is applied to hidden layers over the last state, or over every state.

        z_0 = h, z_i = f(z_{i-1} W_i + b_i), y = z_n W_out + b_out

    Attributes:
        hidden: units of the hidden layer, or a list with those of each.
        activation: f.

    Raises:
        ConfigError: widths out of range.

    Numerics:
        Weights are drawn as the init draws ``w_out``, biases begin at 0. Products and sums row by row.

    References:
        `torch.nn.Sequential` of `torch.nn.Linear` and activations; deep output: Pascanu, Gulcehre, Cho, Bengio (2014),
        *How to construct deep recurrent neural networks*, section 3.3.
    """

    hidden: int | Iterable[int] = 64
    activation: str = "relu"

    # rules that send errors of single steps back through the loop find them in what `see` hands back
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.RECURRENT, Capability.TANGENT, Capability.LOCAL}
    )
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"activation": _FUNCTIONS}

    def __post_init__(self) -> None:
        given = self.hidden
        if isinstance(given, Iterable) and not isinstance(given, str):
            object.__setattr__(self, "hidden", tuple(given))  # yaml gives a list, which no set could hold
        super().__post_init__()

    def check(self) -> None:
        """See `Raises`."""
        super().check()
        given = self.hidden if isinstance(self.hidden, tuple) else (self.hidden,)
        if not given or not all(map(_WIDTH.accepts, given)):
            allowed = f"{_WIDTH.words()}, or a list of such"
            shown = list(given) if isinstance(self.hidden, tuple) else self.hidden
            raise ConfigError("out of range", key="readout.hidden", value=shown, allowed=allowed)
        whole = tuple(as_declared(one, _WIDTH) for one in given)
        object.__setattr__(self, "hidden", whole if isinstance(self.hidden, tuple) else whole[0])

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return (self.hidden,) if isinstance(self.hidden, int) else tuple(self.hidden)

    @property
    def entries(self) -> int:
        """Values of the hidden layers, and their gradients."""
        return 2 * sum(self.widths)

    def width(self, width: int) -> int:
        """Units of the last one."""
        del width
        return self.widths[-1]

    def parameters(self, width: int) -> tuple[ParameterSpec, ...]:
        """w_mlp1 [H, n_1], b_mlp1 [n_1], w_mlp2 [n_1, n_2], ..."""
        sizes = enumerate(pairwise((width, *self.widths)), 1)
        pairs = (
            (
                ParameterSpec(f"w_mlp{layer}", (before, after), "output", into=f"mlp{layer}"),
                ParameterSpec(f"b_mlp{layer}", (after,), "bias", into=f"mlp{layer}"),
            )
            for layer, (before, after) in sizes
        )
        return tuple(spec for pair in pairs for spec in pair)

    def see(
        self, values: Values, states: Float[Tensor, "P steps B H"], lengths: Int64[Tensor, "P ..."], per_step: bool
    ) -> Seen:
        """See `Readout.see`."""
        del lengths
        # with a target at every step also over h_0, which nobody reads, so that steps need no copy
        read = states if per_step else states[:, -1:]
        f, z = ACTIVATIONS[self.activation], [read.flatten(1, 2)]  # P M H
        assert isinstance(f, OutputSlope)
        for layer in range(1, len(self.widths) + 1):
            bias = values[f"b_mlp{layer}"][:, None, :]
            z.append(f.value(matmul(z[-1], values[f"w_mlp{layer}"]) + bias))

        def pullback(direct: Direct) -> tuple[Direct, dict[str, Tensor]]:
            B = states.shape[2]
            given = direct.last if direct.steps is None else direct.steps.flatten(1, 2)
            assert given is not None
            g, first, named = given, (0 if direct.steps is None else B), dict[str, Tensor]()
            for layer in range(len(self.widths), 0, -1):
                g = f.pullback(f.slope_from_output(z[layer][:, first:]), g)
                named[f"w_mlp{layer}"] = matmul(z[layer - 1][:, first:].transpose(1, 2), g)
                named[f"b_mlp{layer}"] = row_sum(g)
                g = matmul(g, values[f"w_mlp{layer}"].transpose(1, 2))
            return Direct(last=g) if direct.steps is None else Direct(steps=g.unflatten(1, (-1, B))), named

        return Seen(z[-1].unflatten(1, read.shape[1:3]), pullback)
