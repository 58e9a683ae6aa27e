"""The read-out: its contract, and the linear map with its loss and their gradients, row by row.

Shapes: see `core.types`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.kernels import kernels_for
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Batch, Capability, Direct, ParameterSpec
from rnnsweep.unit import Unit

if TYPE_CHECKING:
    from rnnsweep.core.recurrence.base import Engine
    from rnnsweep.core.tasks.base import Task


Values = Mapping[str, Float[Tensor, "P ..."]]


@dataclass(frozen=True)
class Seen:
    """What the linear map sees.

    Attributes:
        states: as `read_out` takes them: [P, T + 1, B, H], of which it reads the last or all but the first.
        pullback: from the direct part of what is seen to that of the states, and gradients of the read-out's own
            parameters.
    """

    states: Float[Tensor, "P steps B H"]
    pullback: Callable[[Direct], tuple[Direct, dict[str, Tensor]]] = lambda direct: (direct, {})


@dataclass(frozen=True)
class Readout(Unit):
    """Base of read-outs; the states themselves, unless a subclass looks further.

    Attributes:
        capabilities: what controllers may rely on.
        carries: whether what is seen at a step is a function of that step's state alone, so that it is the same when a
            sequence goes over from one mini-batch to the next.
    """

    unit_group: ClassVar[str] = "readout"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)
    carries: ClassVar[bool] = True

    @property
    def direct(self) -> bool:
        """Whether the linear map sees the states themselves."""
        return type(self).see is Readout.see

    def reads_last(self, task: Task) -> bool:
        """Whether nothing but what the last step shows is seen."""
        return self.direct and not task.per_step

    @property
    def entries(self) -> int:
        """Entries per step and sequence that it holds of its own."""
        return 0

    def width(self, width: int) -> int:
        """Entries that the linear map sees, for states of this width."""
        return width

    def parameters(self, width: int) -> tuple[ParameterSpec, ...]:
        """Parameters besides ``w_out`` and ``b_out``, for states of this width."""
        del width
        return ()

    def see(
        self, values: Values, states: Float[Tensor, "P steps B H"], lengths: Int64[Tensor, "P ..."], per_step: bool
    ) -> Seen:
        """What the linear map sees of the visible states [P, T + 1, B, H]."""
        del values, lengths, per_step
        return Seen(states)

    def look(
        self, values: Values, states: Float[Tensor, "P steps B H"], lengths: Int64[Tensor, "P ..."], per_step: bool
    ) -> Float[Tensor, "P seen B K"]:
        """`see` without the way back, for networks that are done with training; plain differentiable operations."""
        return self.see(values, states, lengths, per_step).states


@dataclass
class ReadOut:
    """Outputs, loss and gradients of one mini-batch.

    Attributes:
        outputs: [P, B, O] or, per step, [P, T, B, O].
        loss: [P].
        direct: dC/dh_t without later steps; None where gradients were not asked for.
        gradients: of ``w_out`` (and ``b_out``).
        errors: dC/d outputs, [P, M, O] with M = B or T B; None where gradients were not asked for.
    """

    outputs: Float[Tensor, "P ... O"]
    loss: Float[Tensor, " P"]
    direct: Direct | None
    gradients: dict[str, Tensor]
    errors: Float[Tensor, "P M O"] | None = None


def read_out(
    task: Task,
    values: Mapping[str, Float[Tensor, "P ..."]],
    states: Float[Tensor, "P steps B H"],
    batch: Batch,
    engine: Engine,
    *,
    gradients: bool = True,
) -> ReadOut:
    """Apply the read-out to the states and score it.

    Args:
        task: says whether every step or the last one is read, and the loss.
        values: parameters; ``w_out`` [P, H, O] and, where the family has it, ``b_out`` [P, O].
        states: [P, T + 1, B, H], h_0 first.
        batch: targets and mask.
        engine: whose products are used.
        gradients: False for evaluation.

    Numerics:
        Losses: see `core.losses`. Mean over the batch and, per step, over the steps that count; with a mask per
        sequence, over all steps that count in the mini-batch. A non-finite state gives a non-finite loss in its own row
        only.
    """
    P, B, T = states.shape[0], states.shape[2], states.shape[1] - 1
    kernels = kernels_for("read_outs", states.device) if gradients else None
    if kernels is not None and _reads_last(kernels, task, values, states, batch):
        found = kernels.read_last(task.loss, states[:, -1], values["w_out"], values.get("b_out"), batch.targets)
        parts = {"w_out": found.w_out} | ({} if found.b_out is None else {"b_out": found.b_out})
        return ReadOut(found.outputs, found.loss, Direct(last=found.h), parts, found.errors)
    h = states[:, 1:].flatten(1, 2) if task.per_step else states[:, -1]  # P M H
    y, bias = engine.matmul(h, values["w_out"]), values.get("b_out")
    weight = shares(task, batch, T, B, y)  # P M
    targets = batch.targets.flatten(1, 2) if task.per_step else batch.targets
    if kernels is not None and kernels.scores(task.loss, y.shape[-1]):
        y, loss, dy = kernels.score(task.loss, y, bias, targets, weight)
    else:
        # A product's columns are padded; a view of it would keep all of them as long as the outputs live.
        y = y.contiguous() if bias is None else y + bias[:, None, :]
        loss, dy = _score(task, y, targets, weight)
    outputs = y.unflatten(1, (T, B)) if task.per_step else y
    if not gradients:
        return ReadOut(outputs, loss, None, {})
    dh = engine.matmul(dy, values["w_out"].transpose(1, 2))
    direct = Direct(steps=dh.unflatten(1, (T, B))) if task.per_step else Direct(last=dh)
    parts = {"w_out": engine.matmul(h.transpose(1, 2), dy)}
    if bias is not None:
        parts["b_out"] = engine.matmul(dy.new_ones(P, 1, dy.shape[1]), dy)[:, 0]
    return ReadOut(outputs, loss, direct, parts, dy)


def _reads_last(
    kernels: ModuleType, task: Task, values: Values, states: Float[Tensor, "P steps B H"], batch: Batch
) -> bool:
    """Whether the last step is read, its sequences count alike, and a kernel makes all of it."""
    if task.per_step or batch.weights is not None:
        return False
    return kernels.takes(task.loss, *states.shape[2:], values["w_out"].shape[-1], states.element_size())


def loss(
    task: Task, values: Mapping[str, Float[Tensor, "P ..."]], states: Float[Tensor, "P T B H"], batch: Batch
) -> Float[Tensor, " P"]:
    """The same loss [P] by differentiable operations, row by row to the bit; states [P, T, B, H] without h_0."""
    T, B = states.shape[1], states.shape[2]
    h = states.flatten(1, 2) if task.per_step else states[:, -1]
    y = numerics.matmul(h, values["w_out"])
    y = y + values["b_out"][:, None, :] if "b_out" in values else y
    targets = batch.targets.flatten(1, 2) if task.per_step else batch.targets
    return _score(task, y, targets, shares(task, batch, T, B, y))[0]


def cost(task: Task, outputs: Float[Tensor, "P ... O"], batch: Batch) -> Float[Tensor, " P"]:
    """The loss [P] of outputs as `ReadOut` has them: [P, B, O], per step [P, T, B, O]."""
    T, B = batch.inputs.shape[1:3]
    y = outputs.flatten(1, 2) if task.per_step else outputs
    targets = batch.targets.flatten(1, 2) if task.per_step else batch.targets
    return _score(task, y, targets, shares(task, batch, T, B, y))[0]


def shares(task: Task, batch: Batch, T: int, B: int, y: Float[Tensor, "P M O"]) -> Float[Tensor, "P M"]:
    """Weight of every read-out [P, M]; sums to one per row, or on average where sequences have weights of their own."""
    even = _even_shares(task, batch, T, B, y)
    if batch.weights is None:
        return even
    weights = batch.weights.to(y.dtype)
    return even * (weights[:, None].expand(-1, T, -1).flatten(1) if task.per_step else weights)


def _even_shares(task: Task, batch: Batch, T: int, B: int, y: Float[Tensor, "P M O"]) -> Float[Tensor, "P M"]:
    if not task.per_step:
        return y.new_full((y.shape[0], B), 1 / B)
    counted = counted_steps(batch, T).to(y.dtype)  # P T S
    if batch.differs:
        return counted.flatten(1) / counted.flatten(1).sum(1, keepdim=True)
    share = counted / counted.sum(1, keepdim=True) / B
    return share.expand(-1, -1, B).flatten(1)


def counted_steps(batch: Batch, T: int) -> Shaped[Tensor, "P T S"]:
    """Which steps count in the loss of a per-step task, 0/1; S is 1 where they are the same for all sequences."""
    own = own_steps(batch.lengths, T)
    if batch.mask is None:
        return own
    mask = batch.mask if batch.mask.ndim == 3 else batch.mask[..., None]
    # A row's steps are within its mask, as ever; sequences may have one mask and lengths of their own.
    return mask * own if batch.lengths.ndim == 2 else mask


def _score(task: Task, y: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Loss [P] and dC/dy [P, M, O]."""
    each, slope = task.loss.score(y, targets)
    return (each * weight).sum(1), slope * weight[..., None]
