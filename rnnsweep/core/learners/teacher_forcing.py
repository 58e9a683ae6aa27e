"""Teacher forcing: targets in place of what the network itself would carry on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Shaped
from torch import Tensor

from rnnsweep.core import numerics, rng
from rnnsweep.core.families.base import OutputFeedback
from rnnsweep.core.learners.base import Learner, LoopProgram
from rnnsweep.core.loops import Learned
from rnnsweep.core.readout import read_out
from rnnsweep.core.recurrence.unrolled import Unrolled, spread
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.state_map import LoopMap, jacobian, spectral_norms
from rnnsweep.core.types import Batch, LoopGradients, LoopWeights, Wanted, merged
from rnnsweep.errors import ConfigError
from rnnsweep.unit import POSITIVE, SHARE, Range

if TYPE_CHECKING:
    from rnnsweep.core.families.base import Family
    from rnnsweep.core.tasks.base import Task


@dataclass(frozen=True)
class TeacherForcing(Learner):
    """Backpropagation through a loop that is given the targets of the step before, each with probability p.

    Output feedback (``units: null``, ``family=srn_feedback``): the fed-back output y_{t-1} is replaced by its target.
    Doya's form (``units: [...]``, any family): the named units of h_{t-1} are replaced by the targets, one unit per
    output in their order. One draw per sequence and step decides. Evaluation always runs free.

    Attributes:
        p: probability of the target at the first update, per row, 0..1; 0 is plain backpropagation.
        schedule: of p over updates t = 0, 1, ...: ``constant``; ``linear``: p max(0, 1 - t / span);
            ``inverse_sigmoid``: p span / (span + exp(t / span)).
        alpha: how much of the target comes in where it does, per row, 0..1; the rest is the network's own value:
            (1 - alpha) z + alpha d, *generalised* teacher forcing. 1 is the target alone.
        estimate: updates from one estimate of `alpha` to the next, >= 0; 0: it stays as given. Then `alpha` is what it
            starts from, and is raised to each estimate above it at once, else falls towards it by 1 - `decay`:
            max(0, 1 - 1/N) with N the largest geometric mean over a sequence's steps of the spectral norms of the
            loop's Jacobians, where states have their targets in the named units. Then no product of the Jacobians that
            errors pass through, each times 1 - alpha, grows.
        decay: share of alpha that stays at an estimate below it, per row, 0..1.
        span: updates, per row, > 0.
        units: indices into the visible state, or null.

    Raises:
        ConfigError: the task has no target at every step; units and outputs do not match; without units, another
            family than srn_feedback, targets that are no values, or estimates; a family that filters its inputs with
            estimates.

    Numerics:
        Step by step in differentiable torch operations on every device (no fused engine, no gradient record). Through a
        replaced entry the Jacobian is exactly 0, through a mixed one 1 - alpha. Steps that the mask leaves out are
        never forced. Draws depend on the row's key and update only. Estimates cost a backward pass over S copies of
        the states per step, and ten products of S x S per state; they are never of a sequence's first step.

    References:
        Doya (1993); Williams, Zipser (1989); schedules: Bengio et al. (2015), section 2.4; `alpha`: Doya (1992) and
        Hess, Monfared, Brenner, Durstewitz (2023), *Generalized teacher forcing for learning chaotic dynamics*,
        equation 6 and its estimate by `product_upper_bound`, every 5 updates, decay .999 from alpha = 1 in the authors'
        settings. Ours differs: they estimate before an update, from the data alone, as their states are all forced; we
        behind it, at the states that it passed, for the updates to come.
    """

    p: float = 1.0
    alpha: float = field(default=1.0, kw_only=True)
    schedule: str = "constant"
    span: float = 1000.0
    estimate: int = field(default=0, kw_only=True)
    decay: float = field(default=0.999, kw_only=True)
    units: tuple[int, ...] | None = None

    traces: ClassVar[bool] = False
    rows: ClassVar[Mapping[str, Range]] = {"p": SHARE, "alpha": SHARE, "span": POSITIVE, "decay": SHARE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "schedule": ("constant", "linear", "inverse_sigmoid"),
        "estimate": Range(0, 10**9, integer=True),
    }

    def unread(self) -> Mapping[str, str]:
        """The time that a constant p does not take; how an alpha falls that stays."""
        unread = {"span": "learner.schedule=constant"} if self.schedule == "constant" else {}
        return unread if self.estimate else {**unread, "decay": "learner.estimate=0"}

    def slot_shapes(self, program: LoopProgram) -> dict[str, tuple[int, ...]]:
        """How far alpha is below what it started from, where it is estimated."""
        del program
        return {"fallen": ()} if self.estimate else {}

    def check_with(self, family: Family, task: Task) -> None:
        """See `Raises`."""
        if family.bidirectional or (family.residual and family.layers > 1):
            problem = "sets states of one loop, and the read-out sees several"
            allowed = "learner=bptt, or family.residual=false and family.bidirectional=false"
            raise ConfigError(problem, key="learner", value=self.unit_name, allowed=allowed)
        if not task.per_step:
            problem = "needs a target at every step"
            raise ConfigError(problem, key="learner", value=self.unit_name, allowed="learner=bptt")
        if self.estimate and (self.units is None or family.feeds):
            allowed = "0, or units and a family that does not filter its inputs"
            raise ConfigError(
                "alpha has no estimate here", key="learner.estimate", value=self.estimate, allowed=allowed
            )
        if self.units is not None:
            self._check_units(self.units, family, task)
        elif not isinstance(family, OutputFeedback):
            raise ConfigError(
                "no outputs are fed back", key="learner.units", value="null", allowed="units, or family=srn_feedback"
            )
        elif not task.loss.values:
            allowed = "a task of squared errors, or units"
            raise ConfigError("outputs that are no values cannot be replaced", key="learner", allowed=allowed)

    def _check_units(self, units: tuple[int, ...], family: Family, task: Task) -> None:
        width = next(spec.shape[0] for spec in family.parameters(task.n_inputs, task.n_outputs) if spec.name == "w_out")
        whole = all(isinstance(unit, int) and 0 <= unit < width for unit in units)
        if not whole or len(set(units)) != len(units) or len(units) != task.n_outputs:
            allowed = f"{task.n_outputs} different units of 0..{width - 1}, one per output"
            raise ConfigError("units and outputs do not match", key="learner.units", value=units, allowed=allowed)

    def probability(self, own: Mapping[str, Shaped[Tensor, "P ..."]]) -> Float64[Tensor, " P"]:
        """p of each row's present update, float64 [P]."""
        t, span, p = own["step"].double(), own["span"].double(), own["p"].double()
        if self.schedule == "linear":
            return p * (1 - t / span).clamp_min(0)
        if self.schedule == "inverse_sigmoid":
            return p * span / (span + torch.exp(t / span))  # exp may overflow: p is 0 then, as it should be
        return p

    def learn(
        self,
        program: LoopProgram,
        params: Float[Tensor, "P N"],
        family_hypers: Mapping[str, Float[Tensor, " P"]],
        batch: Batch,
        want: Wanted,
        own: Mapping[str, Shaped[Tensor, "P ..."]] | None = None,
    ) -> Learned:
        """See `Learner.learn`."""
        del want
        assert own is not None
        values, family = program.layout.view(params), program.family
        feed = family.feed(values, family_hypers, batch.inputs, batch.lengths, program.engine)
        alpha = own["alpha"] - own["fallen"] if self.estimate else own["alpha"]
        given = _Given(feed.inputs, batch, self.forced(batch, own), alpha)
        run = _units if self.units is not None else _outputs
        # Updates run without autograd; here the loop itself is a graph.
        with torch.enable_grad():
            states, pull = run(self, program, values, family_hypers, given)
        # The read-out's gradients are in closed form: its part needs no graph.
        visible = family.visible(states.detach())
        seen = program.readout.see(values, visible, batch.lengths, True)
        out = read_out(program.task, values, seen.states, batch, program.engine)
        assert out.direct is not None
        direct, named = seen.pullback(out.direct)
        assert direct.steps is not None
        # The loss touches the visible entries only; the rest of a state has no direct part.
        whole = torch.zeros_like(states[:, 1:])
        whole[..., : direct.steps.shape[-1]] = direct.steps
        drives, own_loop = pull(whole)
        named = merged(named, own_loop, feed.pullback(drives), out.gradients)
        found = Learned(out.loss, program.layout.gathered(named, params))
        # after so many updates, for those to come
        due = (own["step"] + 1) % max(1, self.estimate) == 0
        if not self.estimate or numerics.known_all(~due):
            return found
        aimed = _estimated(self, LoopMap(family, values, family_hypers), given, states.detach())
        fallen = own["alpha"] - torch.where(aimed > alpha, aimed, own["decay"] * alpha + (1 - own["decay"]) * aimed)
        return replace(found, slots={"fallen": torch.where(due, fallen.to(alpha.dtype), own["fallen"])})

    def forced(self, batch: Batch, own: Mapping[str, Shaped[Tensor, "P ..."]]) -> Bool[Tensor, "P T B"]:
        """Whether the target of step index t replaces what is carried on, bool [P, T, B]."""
        T, B = batch.inputs.shape[1:3]
        # As fresh training sequences are numbered: no draw is used by two of them.
        ids = own["step"][:, None] * B + torch.arange(B, device=own["step"].device)
        # float64 whatever the pack computes in: the same steps are forced.
        draws = rng.Draws(own["key"], ids, own["step"], torch.float64)
        drawn = draws.uniforms(T, rng.stream_of("teacher forcing")).transpose(1, 2)  # P B T -> P T B
        forced = (drawn < self.probability(own)[:, None, None]) & own_steps(batch.lengths, T)
        if batch.mask is None:
            return forced
        return forced & ((batch.mask if batch.mask.ndim == 3 else batch.mask[:, :, None]) > 0)


@dataclass
class _Given:
    """What a forced loop is given: drives or inputs, the mini-batch, where targets replace, and by how much."""

    inputs: Tensor
    batch: Batch
    forced: Tensor
    alpha: Tensor

    def mixed(self, own: Tensor, target: Tensor) -> Tensor:
        """(1 - alpha) own + alpha target [P, B, K]; the target itself, to the bit, where alpha is 1."""
        alpha = self.alpha.to(own.dtype)[:, None, None]
        # selected where alpha is 1: a product with 0 would let a non-finite own value through
        return torch.where(alpha == 1, target, (1 - alpha) * own + alpha * target)

    def targets(self, outputs: int) -> Tensor:
        """[P, T, B, O]; classes as one-hot vectors."""
        batch_targets = self.batch.targets
        if batch_targets.is_floating_point():
            return batch_targets.to(self.inputs.dtype)
        hot = self.inputs.new_zeros(*batch_targets.shape, outputs)
        return hot.scatter_(-1, batch_targets[..., None], 1.0)


def _estimated(rule: TeacherForcing, step: LoopMap, given: _Given, states: Tensor) -> Float[Tensor, " P"]:
    """max(0, 1 - 1/N) of states [P, T + 1, B, S] as they passed; alpha as it is where that is not finite."""
    assert rule.units is not None
    T, targets, drives = states.shape[1] - 1, given.targets(len(rule.units)), step.drives(given.inputs)
    units = torch.tensor(rule.units, device=states.device)
    own = own_steps(given.batch.lengths, T)
    total, count = states.new_zeros(states.shape[0], states.shape[2]), states.new_zeros(states.shape[0], 1)
    for t in range(1, T):
        at = states[:, t].index_copy(2, units, targets[:, t - 1])
        norms = spectral_norms(jacobian(step, at, drives[:, t]).flatten(0, 1)).unflatten(0, at.shape[:2])
        # a target is in a state where the step before it was one of the sequence
        here = own[:, t - 1].expand_as(total)
        total = total + torch.where(here, norms.log(), torch.zeros_like(norms))
        count = count + here
    largest = (total / count.clamp_min(1)).exp().amax(1)
    aimed = (1 - 1 / largest).clamp_min(0)
    return torch.where((count > 0).any(1) & numerics.finite(aimed), aimed, given.alpha.to(aimed.dtype))


def _unroll(program: LoopProgram, weights: LoopWeights, given: _Given) -> Unrolled:
    return Unrolled(weights, given.inputs, program.activation, program.family.cell, given.batch.lengths)


def _units(
    rule: TeacherForcing, program: LoopProgram, values: Mapping[str, Tensor], hypers: Mapping[str, Tensor], given
):
    """All states [P, T + 1, B, S] with named units replaced on their way to the next step, and the pull-back."""
    family = program.family
    loop = _unroll(program, family.weights(values, hypers), given)
    state, targets = loop.start(), given.targets(program.task.n_outputs)
    unit_indices = torch.tensor(rule.units, device=state.device)
    named = torch.zeros(state.shape[-1], dtype=torch.bool, device=state.device).index_fill_(0, unit_indices, True)
    states = [state]
    for t in range(loop.steps):
        # The first step has no step before it whose target could stand in.
        if t:
            replacement = torch.zeros_like(state).index_copy_(2, unit_indices, targets[:, t - 1])
            # `torch.where` cuts the graph at replaced entries: the Jacobian there is exactly 0.
            state = torch.where(given.forced[:, t - 1, :, None] & named, given.mixed(state, replacement), state)
        state, _ = loop.step(t, state)
        states.append(state)
    stacked = torch.stack(states, 1)  # P T+1 B S

    def pull(direct: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        loop_gradients = loop.gradients([stacked[:, 1:]], [direct])
        return loop_gradients.inputs, family.pullback(values, hypers, loop_gradients)

    return stacked, pull


def _outputs(
    rule: TeacherForcing, program: LoopProgram, values: Mapping[str, Tensor], hypers: Mapping[str, Tensor], given
):
    """All states of the network whose fed-back outputs are replaced, and the pull-back."""
    del rule
    family = program.family
    assert isinstance(family, OutputFeedback)  # `check_with` has seen to it
    loop = _unroll(program, family.open_weights(values, hypers), given)
    # Leaves beside the loop's own: the outputs run through them between the steps.
    live = {n: values[n].detach().clone().requires_grad_() for n in ("w_fb", "w_out", "b_out") if n in values}
    state, targets = loop.start(), given.targets(program.task.n_outputs)
    # Spread by a product: autograd would sum a broadcast in an order of its own.
    bias = spread(live["b_out"], loop.batch) if "b_out" in live else 0.0
    states = [state]
    for t in range(loop.steps):
        own = numerics.matmul(state, live["w_out"]) + bias
        # y_0 is the output of h_0: there is no target for it.
        forced = given.forced[:, t - 1, :, None]
        back = torch.where(forced, given.mixed(own, targets[:, t - 1]), own) if t else own
        state, _ = loop.step(t, state, numerics.matmul(back, live["w_fb"]))
        states.append(state)
    stacked = torch.stack(states, 1)

    def pull(direct: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        # The graph is walked twice, for the loop's leaves and for these: it is kept in between.
        loop_gradients: LoopGradients = loop.gradients([stacked[:, 1:]], [direct], again=True)
        parts = torch.autograd.grad(stacked[:, 1:], list(live.values()), direct)
        return loop_gradients.inputs, merged(
            family.open_pullback(values, hypers, loop_gradients), dict(zip(live, parts, strict=True))
        )

    return stacked, pull
