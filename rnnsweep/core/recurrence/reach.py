"""Which entries of a step's derivatives can be other than 0, whatever the weights and states are.

Shapes: see `core.types` and `recurrence.local`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.cells import ProductCell
from rnnsweep.core.recurrence.local import DRIVE, RECURRENT, START, LocalSteps, Source, StepPull, pull_cell

_PROBES = 4
_SEED = 1


@dataclass(frozen=True)
class Reach:
    """Structure of one step.

    Attributes:
        own: from which entry of s_{t-1} [second] to which of s_t [first], without the recurrent matrix.
        columns: from which column of a source [second] to which entry of s_t [first].
    """

    own: Bool[Tensor, "S S"]
    columns: Mapping[str, Bool[Tensor, "S C"]]

    def of_sources(self, sources: Sequence[Source]) -> Bool[Tensor, "S N"]:
        """Which entries of the state each parameter reaches within its own step; h_0 reaches itself."""
        size = len(self.own)
        parts: list[Tensor] = []
        for source in sources:
            eye = torch.eye(size, source.columns, dtype=torch.bool, device=self.own.device)
            reached = eye if source.name == START else self.columns[source.name]
            parts.append(reached.repeat_interleave(source.lines, 1))
        return torch.cat(parts, 1)

    def of_states(self, w_rec: Float[Tensor, "P R A"]) -> Bool[Tensor, "P S S"]:
        """Which entries of s_{t-1} [last] each of s_t depends on; an entry of W that is 0 leads nowhere."""
        size, rows = len(self.own), len(w_rec)
        through = self.columns[RECURRENT].to(w_rec.dtype)[None].expand(rows, -1, -1)
        if not w_rec.shape[-1]:
            return self.own[None].expand(rows, -1, -1)
        # Counts of ways: sums of ones, exact in any order.
        ways = numerics.matmul(through, (w_rec != 0).to(w_rec.dtype).transpose(1, 2))
        return self.own | (torch.nn.functional.pad(ways, (0, size - ways.shape[-1])) > 0)


@dataclass(frozen=True)
class _Loop:
    """What a step's structure depends on."""

    cell: ProductCell | None
    activation: Activation
    size: int
    leaky: bool
    vectors: tuple[tuple[str, tuple[int, ...]], ...]
    device: torch.device


def reach_of(steps: LocalSteps) -> Reach:
    """The structure of a loop's steps, on its device; the same object for the same loop."""
    w = steps.record.weights
    named = dict(w.cell) if w.act_bias is None else {"act_bias": w.act_bias}
    vectors = tuple((name, tuple(value.shape[1:])) for name, value in named.items())
    return _reach(_Loop(steps.cell, steps.activation, steps.size, w.leak is not None, vectors, w.w_rec.device))


@lru_cache(maxsize=16)
def _reach(loop: _Loop) -> Reach:
    if loop.cell is None:
        eye = torch.eye(loop.size, dtype=torch.float64, device=loop.device)
        # f' is a number, or of pairs whether they were swapped: both cases together.
        bent = sum((loop.activation.pullback(torch.full_like(eye, on), eye) for on in (0.0, 1.0)), 0 * eye) > 0
        columns = dict.fromkeys((RECURRENT, DRIVE), bent) | dict.fromkeys((name for name, _ in loop.vectors), eye > 0)
        return Reach((eye > 0) & loop.leaky, columns)
    pulled = _probed(loop.cell, loop.vectors)
    columns = {name: value.abs().sum((0, 1)).to(loop.device) > 0 for name, value in pulled.columns.items()}
    return Reach(pulled.own.abs().sum((0, 1)).to(loop.device) > 0, columns)


def _probed(cell: ProductCell, own: tuple[tuple[str, tuple[int, ...]], ...]) -> StepPull:
    """Jacobians at points in general position; each with its negative, so that what is cut at 0 is open in one."""
    generator = torch.Generator().manual_seed(_SEED)
    half = [
        torch.randn(1, _PROBES, width, generator=generator, dtype=torch.float64)
        for width in (cell.product, cell.drive, cell.state)
    ]
    a, d, s = (torch.cat((x, -x), 1) for x in half)
    # Constants such as step sizes and gains: between .5 and 1.5.
    values = {name: 0.5 + torch.rand(1, *shape, generator=generator, dtype=torch.float64) for name, shape in own}
    kept = cell.forward(a, d, s, {n: v[:, None, :] if v.ndim == 2 else v for n, v in values.items()})[1]
    eye = torch.eye(cell.state, dtype=torch.float64).expand(1, 2 * _PROBES, -1, -1)
    return pull_cell(cell, (kept, d, s), values, eye)
