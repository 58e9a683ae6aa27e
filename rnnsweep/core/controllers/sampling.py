"""Sampling-based gradient regularisation: refuse mini-batches that would worsen a bad gradient norm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.controllers.base import Context, Gate
from rnnsweep.core.controllers.layers import ALL, LAST, PATH, Layers, as_layers, check_layers, chosen
from rnnsweep.core.controllers.path_tangent import path_tangent
from rnnsweep.core.loops import BackwardPass, LoopRun, loops_of, run
from rnnsweep.core.readout import read_out
from rnnsweep.core.recurrence.base import Bounds, Engine, Judgement, JudgingEngine, StepRule, Tangent
from rnnsweep.core.sequence_lengths import shared_lengths
from rnnsweep.core.types import Capability, Direct, LoopGradients, Trace
from rnnsweep.errors import ConfigError
from rnnsweep.unit import ANY, POSITIVE, Metric, Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family, Values
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import ParameterSpec

_LOG10_2 = math.log10(2.0)


@dataclass(frozen=True)
class Sampling(Gate):
    """Use a mini-batch only if Q is in range, or if its step moves the early gradient norm the right way.

        Q = log10(|delta_T| / |delta_{T-h}|)        S = |delta_{T-h}|^2 / 2        dS = <delta_{T-h}, d delta_{T-h}>

        q_min <= Q <= q_max: use · Q > q_max (vanishing): use iff dS > 0 · Q < q_min (exploding): use iff dS < 0

    In a network with layers this is asked of each chosen layer's loop, from what reached its last step: all must
    agree. On the *path* delta is that of all layers together, and errors also go down from layer to layer
    (`path_tangent`).

    dS is the first-order change under the *full* candidate step, momentum and learning rate included. A refused
    mini-batch changes neither weights nor optimiser state, but counts as an update.

    Attributes:
        q_min, q_max: safe range of Q per row; q_min < q_max; infinite ends bound nothing. The paper: [-1, 1].
        r0: per row, refuse if |dS| > r0; inf bounds nothing. A row is off where all three are infinite; r0 alone limits
            the size of steps, whatever Q is.
        r0_relative: compare |dS| / S with r0 instead (ours).
        direction: ``corrected``, or ``as_printed``: the two conditions swapped, as in the printed algorithm 1.
        horizon: look-back h; null = T - 1.
        layers: ``last``, ``all``, ``path``, or numbers, counted from 1 at the inputs.
        q_reduce: ``ratio_of_means`` (over the batch, of per-sample norms) or ``mean_of_logs``.

    Numerics:
        delta and its tangent are carried with exact powers of two, so that Q = 32 is seen in float32. A first delta of
        exactly 0 or non-finite, or a dS that is NaN, is refused and counted as degenerate. Q and dS in float64 once the
        loops are done.

    References:
        Chernodub, Nowicki (2016), eq. 16, algorithm 1; ours differs: direction, r0 off (docs/maths.md#sampling).
    """

    q_min: float = -math.inf
    q_max: float = math.inf
    r0: float = math.inf
    r0_relative: bool = False
    direction: str = "corrected"
    horizon: int | None = None
    q_reduce: str = "ratio_of_means"
    layers: Layers = LAST

    metrics: ClassVar[Mapping[str, Metric]] = {
        "sampling/q": Metric(
            "mean of Q, the log10 ratio of the first and last delta norms", "Q (log10)", by_layer=True
        ),
        "sampling/ds_log10": Metric("mean of log10 |dS|", "dS (log10)", by_layer=True),
        "sampling/ds_realised": Metric("mean realised relative change of S where the batch was used", by_layer=True),
        "sampling/admitted": Metric("share of mini-batches that were used", "admitted updates (share)", drawn=True),
        "sampling/degenerate": Metric("mini-batches of the rung whose first delta was 0 or non-finite"),
    }
    needs_trace: ClassVar[bool] = True
    rows: ClassVar[Mapping[str, Range]] = {"q_min": ANY, "q_max": ANY, "r0": POSITIVE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "r0_relative": (True, False),
        "direction": ("corrected", "as_printed"),
        "horizon": Range(1, integer=True, optional=True),
        "q_reduce": ("ratio_of_means", "mean_of_logs"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "layers", as_layers(self.layers))
        if not self.q_min < self.q_max:
            raise ConfigError(
                f"the safe range is empty: q_min={self.q_min!r}",
                key="controllers.sampling.q_max",
                value=self.q_max,
                allowed="q_min < q_max",
            )

    @property
    def requires(self) -> frozenset[Capability]:
        """The tangent recursion."""
        return frozenset({Capability.TANGENT})

    def check_with(self, family: Family, task: Task, specs: Sequence[ParameterSpec]) -> None:
        """See `Controller.check_with`."""
        del task, specs
        check_layers(self.layers, f"{self.unit_key}.layers", family)
        other = family.residual or any(part.leaky or part.cell is not None or part.feeds for part in family.parts)
        if self.layers == PATH and other:
            problem = f"the path goes through plain loops, which those of the family {family.unit_name} are not"
            raise ConfigError(problem, key=f"{self.unit_key}.layers", value=PATH, allowed=f"{LAST}, {ALL}, or srn")

    def unread(self) -> Mapping[str, str]:
        """What only a finite bound reads; r0 has no direction."""
        if math.isinf(self.r0):
            return {"r0_relative": f"{self.unit_key}.r0=inf"}
        if math.isinf(self.q_min) and math.isinf(self.q_max):
            return {"direction": "q_min and q_max are infinite"}
        return {}

    def active(self, hypers: Mapping[str, Float[Tensor, " P"]]) -> Bool[Tensor, " P"]:
        """Rows with a finite bound."""
        return torch.isfinite(torch.stack((hypers["q_min"], hypers["q_max"], hypers["r0"]))).any(0)

    def admit(self, context: Context, step: Float[Tensor, "P N"]) -> Bool[Tensor, " P"]:
        """See `Gate.admit`."""
        on = self.active(context.hypers)
        paths = self._paths(context.passes, context.layout.view(step), on)
        used, lost, tally = torch.ones_like(on), torch.zeros_like(on), context.tally
        several = len(context.passes) > 1 and self.layers != PATH
        for label, last, tangent in paths:
            judged = self.judged(context.engine, context.hypers, last, tangent)
            context.notes[f"s_exponent.{label}"], context.notes[f"s_size.{label}"] = tangent.exponent, judged.size
            used &= judged.used
            lost = lost | judged.degenerate
            for key in _keys(label, several=several, last=label == paths[-1][0]):
                tally.mean(f"sampling/q{key}", judged.q, on & ~judged.degenerate)
                tally.mean(f"sampling/ds_log10{key}", judged.log_change, on & numerics.finite(judged.log_change))
        tally.mean("sampling/admitted", used | ~on)
        tally.count("sampling/degenerate", lost & on)
        return used | ~on

    def judged(
        self, engine: Engine, hypers: Mapping[str, Float[Tensor, " P"]], last: Float[Tensor, "P B H"], tangent: Tangent
    ) -> Judgement:
        """What to say of delta_T and what the recursion made of it: by the engine where it does, else here."""
        if isinstance(engine, JudgingEngine):
            rule = StepRule(self.direction == "corrected", self.r0_relative, self.q_reduce == "mean_of_logs")
            return engine.judge(last, tangent, Bounds(hypers["q_min"], hypers["q_max"], hypers["r0"]), rule)
        q, sign, log_ds, relative = self.measures(last, tangent)
        # Nothing can be said of a first delta that is 0 or not finite, nor of a dS that is no number: refused, not
        # guessed.
        degenerate = ~torch.isfinite(q) | torch.isnan(log_ds)
        used = self._rule(hypers, q, sign, relative if self.r0_relative else log_ds) & ~degenerate
        return Judgement(q, log_ds, _size(tangent), used, degenerate)

    def observe(self, context: Context, moved: Float[Tensor, "P N"], accepted: Bool[Tensor, " P"]) -> None:
        """Log by which factor S really changed on this mini-batch, minus one; at a rung's end only: it costs a run.

        Theorem 1 holds to first order only: where this departs from dS / S, its prediction stops holding.
        """
        if context.ending is None:
            return
        on = accepted & self.active(context.hypers) & context.ending
        if not bool(on.any()):
            return
        values, batch = context.layout.view(moved), context.batch
        found = run(loops_of(context.wires, values, context.family_hypers), batch)
        seen = found.see(context.readout, values, per_step=context.task.per_step)
        out = read_out(context.task, values, seen.states, batch, context.engine)
        assert out.direct is not None
        passes: list[BackwardPass] = []

        def through(loop: LoopRun, direct: Direct) -> LoopGradients:
            gradients, trace = loop.backward(direct, keep=True)
            passes.insert(0, BackwardPass(loop.loop, trace))
            return gradients

        found.backward(seen.pullback(out.direct)[0], through)
        # With a step of 0 the recursion only carries delta, with its powers of two.
        still = {name: torch.zeros_like(value) for name, value in values.items()}
        paths = self._paths(passes, still, on)
        several = len(passes) > 1 and self.layers != PATH
        for label, _, after in paths:
            before, size_before = context.notes[f"s_exponent.{label}"], context.notes[f"s_size.{label}"]
            # S is a square: twice the difference of the exponents.
            ratio = (_size(after) / size_before) * torch.exp2(2 * (after.exponent - before).double())
            for key in _keys(label, several=several, last=label == paths[-1][0]):
                context.tally.mean(f"sampling/ds_realised{key}", ratio - 1, on & torch.isfinite(ratio))

    def _paths(
        self, passes: Sequence[BackwardPass], step: Values, on: Bool[Tensor, " P"]
    ) -> list[tuple[str, Float[Tensor, "P B H"], Tangent]]:
        """What is looked at: its label, delta_T, and delta_{T-h} with its change, of the rows that are switched on."""
        if self.layers == PATH:
            tangent, last = path_tangent(passes, step, self._back(passes[-1], on))
            return [(PATH, last, tangent)]
        found: list[tuple[str, Tensor, Tangent]] = []
        # of a layer with two the one that reads forward last: what has no number says is its
        order = sorted(chosen(self.layers, passes), key=lambda one: (one.loop.place.layer, not one.loop.place.reverse))
        for one in order:
            trace, loop = one.trace, one.loop
            assert trace is not None
            change = loop.recurrent_step(step)
            tangent = loop.engine.tangent(trace, change, self._back(one, on), loop.activation)
            found.append((loop.place.label, trace.delta[:, -1], tangent))
        return found

    def _back(self, one: BackwardPass, on: Bool[Tensor, " P"]) -> Int64[Tensor, " P"]:
        """h per row; 0 of rows that are switched off, which cost nothing so."""
        assert one.trace is not None
        back = self.look_back(one.trace)
        return torch.where(on, back, torch.zeros_like(back))

    def look_back(self, trace: Trace) -> Int64[Tensor, " P"]:
        """h per row, int64 [P]."""
        # Not beyond a sequence's own first step: all are looked back at over the same number of steps.
        longest = shared_lengths(trace.record.lengths) - 1
        return longest if self.horizon is None else torch.clamp(longest, max=self.horizon)

    def measures(
        self, last: Float[Tensor, "P B H"], tangent: Tangent
    ) -> tuple[Float64[Tensor, " P"], Float64[Tensor, " P"], Float64[Tensor, " P"], Float64[Tensor, " P"]]:
        """Q, sign of dS, log10 |dS| and log10(|dS| / S), float64 [P], of delta_T and what the recursion made of it."""
        last, first, dfirst = (v.double() for v in (last, tangent.delta, tangent.ddelta))
        power = numerics.exponent_of(last.abs().flatten(1).amax(1))
        # Before squaring: in float64 too a delta of 1e-170 has a square of 0.
        last = numerics.scale_by_power(last, -power[:, None, None])
        above, below = (last * last).sum(-1).sqrt(), (first * first).sum(-1).sqrt()  # P B
        # What the scaling took out of the ratio, as a power of ten.
        shift = (power - tangent.exponent).double() * _LOG10_2
        if self.q_reduce == "ratio_of_means":
            q = (above.mean(1) / below.mean(1)).log10() + shift
        else:
            q = (above / below).log10().mean(1) + shift
        ds, s = (first * dfirst).flatten(1).sum(1), 0.5 * (first * first).flatten(1).sum(1)
        # dS is a product of two deltas: both were scaled, hence twice.
        log_ds = ds.abs().log10() + 2 * tangent.exponent.double() * _LOG10_2
        return q, torch.sign(ds), log_ds, (ds.abs() / s).log10()

    def _rule(self, hypers: Mapping[str, Tensor], q: Tensor, sign: Tensor, size: Tensor) -> Tensor:
        q_min, q_max, r0 = (hypers[name].double() for name in ("q_min", "q_max", "r0"))
        up = 1.0 if self.direction == "corrected" else -1.0
        in_range = (q >= q_min) & (q <= q_max)
        helps = ((q > q_max) & (up * sign > 0)) | ((q < q_min) & (up * sign < 0))
        # In logarithms, as |dS| itself may lie outside of float64.
        return (in_range | helps) & ~(size > r0.log10())


def _size(tangent: Tangent) -> Tensor:
    """Squared norm of the scaled delta, float64 [P]."""
    delta = tangent.delta.double().flatten(1)
    return (delta * delta).sum(1)


def _keys(label: str, *, several: bool, last: bool) -> list[str]:
    """Ends of the metrics' keys: the layer's where there are several, and none for the last of those that count."""
    return [f".{label}"] * several + [""] * last
