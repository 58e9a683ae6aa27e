"""Where trained rows end without input: the states of their attractors and their largest exponent, per row.

Against a searched key this is the bifurcation diagram of a sweep: what training has made of the dynamics, value by
value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.analyses.lyapunov import largest_exponent
from rnnsweep.core.analyses.trained_rows import SweepAnalysis, Tables, TrainedRows, long_table, row_axis
from rnnsweep.core.state_map import StateMap
from rnnsweep.errors import ConfigError
from rnnsweep.unit import POSITIVE, Range


@dataclass(frozen=True)
class BifurcationDiagram(SweepAnalysis):
    """Run from the last states of the shown sequences under a constant input, forget the transient, and look.

    Attributes:
        drive: the constant input: ``zero``, or the ``mean`` over the shown sequences.
        observe: what of a state is shown: ``output``, the first of the read-out; ``rms``, root mean square of the
            whole state.
        transient: steps that are forgotten. samples: states that are kept after them.
        steps: over which the exponent is taken, after a quarter as many in which its direction settles.
        longest_period: cycles up to this length are told from what never repeats.
        tolerance: two states are the same that are closer than tolerance (1 + |h|).

    Numerics:
        float64. An approach that is slower than the transient is long looks aperiodic; its exponent is near 0 then.

    References:
        Pascanu, Mikolov, Bengio (2013), section 2.2; Strogatz (1994), section 10.2, for the diagram.
    """

    drive: str = "zero"
    observe: str = "output"
    transient: int = 500
    samples: int = 64
    steps: int = 300
    longest_period: int = 16
    tolerance: float = 1e-5

    fixed: ClassVar[Mapping[str, Any]] = {
        "sequences": Range(1, 10000, integer=True),
        "drive": ("zero", "mean"),
        "observe": ("output", "rms"),
        "transient": Range(0, 10**7, integer=True),
        "samples": Range(2, 10**6, integer=True),
        "steps": Range(1, 10**7, integer=True),
        "longest_period": Range(1, 10**5, integer=True),
        "tolerance": POSITIVE,
    }

    def check_rows(self, rows: TrainedRows) -> None:
        """An output must be one of a single state."""
        if self.observe == "output" and not rows.reads_states:
            problem = f"the read-out {rows.program.readout.unit_name} looks back over all steps"
            raise ConfigError(problem, key=f"{self.unit_key}.observe", value="output", allowed="rms")

    def entries(self, rows: TrainedRows) -> int:
        """The samples."""
        return self.sequences * rows.loop.size * (self.samples + rows.program.task.max_length)

    def measure(self, rows: TrainedRows) -> Tables:
        """``samples`` of each start's attractor; ``summary``: its period (0: none found) and largest exponent."""
        step, inputs = rows.loop, rows.batch(self.sequences).inputs
        constant = inputs.mean((1, 2), keepdim=True) if self.drive == "mean" else torch.zeros_like(inputs[:, :1, :1])
        with torch.no_grad():
            start = step.states(step.drives(inputs))[:, -1]
            drive = step.drives(constant)[:, 0].expand(-1, start.shape[1], -1)
            settled = after(step, start, drive, self.transient)
        exponent = largest_exponent(step, drive, settled, self.steps, self.steps // 4)
        states = kept_states(step, settled, drive, self.samples)  # P N B S
        seen = torch.stack([self._observed(rows, states[:, n]) for n in range(self.samples)], 1)  # P N B
        P, N, B = seen.shape
        period = periods(states, self.longest_period, self.tolerance)
        samples = long_table(
            row=row_axis(P, 3), start=np.arange(B)[None, None], sample=np.arange(N)[None, :, None], value=seen
        )
        summary = long_table(row=row_axis(P, 2), start=np.arange(B)[None], period=period, exponent=exponent)
        return {"samples": samples, "summary": summary}

    def _observed(self, rows: TrainedRows, states: Tensor) -> Tensor:
        if self.observe == "rms":
            return states.square().mean(-1).sqrt()
        with torch.no_grad():
            return rows.outputs(states)[..., 0]


def after(
    step: StateMap, start: Float[Tensor, "P B S"], drive: Float[Tensor, "P B D"], steps: int
) -> Float[Tensor, "P B S"]:
    """The states so many steps later."""
    state = start
    with torch.no_grad():
        for _ in range(steps):
            state = step(state, drive)
    return state


def kept_states(
    step: StateMap, start: Float[Tensor, "P B S"], drive: Float[Tensor, "P B D"], count: int
) -> Float[Tensor, "P N B S"]:
    """The next `count` states."""
    states = [after(step, start, drive, 1)]
    for _ in range(count - 1):
        states.append(after(step, states[-1], drive, 1))
    return torch.stack(states, 1)


def periods(states: Float[Tensor, "P N B S"], longest: int, tolerance: float) -> Int64[Tensor, "P B"]:
    """The least p <= longest with s_{n+p} = s_n for all n that are there; 0: none, or the states are not finite."""
    found = torch.zeros(states.shape[0], states.shape[2], dtype=torch.int64)
    size = 1 + states.norm(dim=-1).amax(1)  # P B
    for p in range(min(longest, states.shape[1] // 2), 0, -1):
        apart = (states[:, p:] - states[:, :-p]).norm(dim=-1).amax(1)
        found = torch.where(apart <= tolerance * size, p, found)
    return found
