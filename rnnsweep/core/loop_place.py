"""Where a time loop stands in its network, and what its parameters are called there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_REVERSE = "_reverse"


@dataclass(frozen=True)
class LoopPlace:
    """Where a loop stands in its network, and what its parameters are called there.

    Attributes:
        layer: counted from 1, at the inputs. layers: how many there are.
        reverse: whether it reads sequences from their end; None: no loop of the network does.
    """

    layer: int = 1
    layers: int = 1
    reverse: bool | None = None

    @property
    def main(self) -> bool:
        """Whether it is the one whose parameters have the plain names."""
        return self.layer == self.layers and not self.reverse

    @property
    def label(self) -> str:
        """The end of its metrics' keys: ``2``, ``2_reverse``."""
        return f"{self.layer}{_REVERSE}" if self.reverse else str(self.layer)

    def own(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The loop's part of what is named as in the network, by the names that it has within the loop."""
        # torch.export follows this line by line, and knows no := within a comprehension
        mine = [(self.plain(name), value) for name, value in values.items()]
        return {plain: value for plain, value in mine if plain is not None}

    def named(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """What is named as within the loop, by the names that it has in the network."""
        return {self.name(name): value for name, value in parts.items()}

    def name(self, plain: str) -> str:
        """A parameter's name in the network; in the last layer it is what it would be without the others."""
        end = "" if self.layer == self.layers else f"_l{self.layer}"
        return f"{plain}{end}{_REVERSE}" if self.reverse else f"{plain}{end}"

    def plain(self, name: str) -> str | None:
        """A parameter's name within the loop; None of another loop's."""
        if self.reverse is not None:
            if name.endswith(_REVERSE) != self.reverse:
                return None
            name = name.removesuffix(_REVERSE)
        ends = {number: f"_l{number}" for number in range(1, self.layers)}
        mine = next((number for number, end in ends.items() if name.endswith(end)), self.layers)
        return name.removesuffix(ends.get(self.layer, "")) if mine == self.layer else None
