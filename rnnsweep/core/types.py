"""Shapes, flat parameters and records that the training core passes around.

Shape legend, for the whole of `core`:
    P rows of a pack · T time steps (T_max) · B mini-batch · H hidden units · I inputs · O outputs ·
    N entries of a row's flat parameter vector. P always leads: a row's slab is contiguous.
Sequences are right-aligned: all end at T_max; own steps are t >= T_max - length (`core.sequence_lengths`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64, Num
from torch import Tensor

if TYPE_CHECKING:
    from rnnsweep.core.dropout_masks import MaskDraws


class RowStatus(IntEnum):
    """What became of a row; kept as an int8 vector [P]: failure is a value, never an exception."""

    ACTIVE = 0
    DONE = 1
    SOLVED = 2
    DIVERGED = 3


class Capability(Enum):
    """What a family's loop has, and controllers may need; the value completes "needs ..."."""

    TANGENT = "the tangent recursion of a simple cell"
    RECURRENT = "a trained recurrent matrix"
    SIMPLE = "a loop of simple cells"
    GRAPH = "a loop whose errors can be differentiated"
    LOCAL = "derivatives of single steps"


_ALIGN = 16
"""Parameters begin at multiples of this many entries: 64 bytes of float32."""


@dataclass(frozen=True)
class ParameterSpec:
    """One named parameter of a row.

    Attributes:
        name: e.g. ``w_rec``; the key in checkpoints.
        shape: without the leading P; weights are ``[from, to]``.
        role: ``input``, ``recurrent``, ``output`` (weights), ``bias``, or a role of the family's own.
        group: parameter group for optimisers with several rates.
        gates: of a gate bias: what each of its equal blocks does: ``keep`` the state, ``write`` into it, or other.
        into: the units that the columns of an input or recurrent weight, or the entries of a bias, lead into. What
            leads into the same units are their incoming weights together.
        first: place of the first column's unit among them.
    """

    name: str
    shape: tuple[int, ...]
    role: str
    group: str = "main"
    gates: tuple[str, ...] = ()
    into: str = "loop"
    first: int = 0

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def remembers(self) -> bool:
        """Whether one of its gates keeps or writes the state."""
        return not {"keep", "write"}.isdisjoint(self.gates)


class ParameterLayout:
    """Where each parameter lies in a row's slab: a pack's parameters are one flat matrix [P, N].

    Attributes:
        specs: in order.
        size: N, entries per row, padding included. Padding is zero and stays zero.
    """

    def __init__(self, specs: Sequence[ParameterSpec]) -> None:
        self.specs = tuple(specs)
        self.offsets: dict[str, int] = {}
        offset = 0
        for spec in self.specs:
            self.offsets[spec.name] = offset
            # Each begins on a cache line: no two parameters share a vector, whatever their shapes.
            offset += -(-spec.size // _ALIGN) * _ALIGN
        self.size = offset

    def spec(self, name: str) -> ParameterSpec:
        """One parameter's specification; KeyError where there is none."""
        try:
            return next(spec for spec in self.specs if spec.name == name)
        except StopIteration:
            raise KeyError(name) from None

    def view(self, flat: Float[Tensor, "P N"]) -> dict[str, Float[Tensor, "P ..."]]:
        """Views [P, *shape] by name."""
        return {spec.name: self.part(flat, spec) for spec in self.specs}

    def part(self, flat: Float[Tensor, "P N"], spec: ParameterSpec) -> Float[Tensor, "P ..."]:
        """One parameter's view."""
        start = self.offsets[spec.name]
        return flat[:, start : start + spec.size].view(len(flat), *spec.shape)

    def flatten(self, values: Mapping[str, Float[Tensor, "P ..."]], out: Float[Tensor, "P N"]) -> Float[Tensor, "P N"]:
        """Copy named tensors [P, *shape] into flat ones; names that are absent stay as they are."""
        for spec in self.specs:
            if spec.name in values:
                start = self.offsets[spec.name]
                out[:, start : start + spec.size] = values[spec.name].flatten(1)  # P size
        return out

    def mask(self, names: Sequence[str], device: torch.device | str = "cpu") -> Bool[Tensor, " N"]:
        """Which entries belong to the named parameters."""
        mask = torch.zeros(self.size, dtype=torch.bool, device=device)
        for name in names:
            mask[self.offsets[name] : self.offsets[name] + self.spec(name).size].fill_(True)
        return mask


def merged(*parts: Mapping[str, Float[Tensor, "P ..."]]) -> dict[str, Float[Tensor, "P ..."]]:
    """Gradients by name; where several parts have one (a read-out that is also fed back), their sum."""
    total: dict[str, Tensor] = {}
    for part in parts:
        for name, value in part.items():
            # not `+=`: the parts are not ours to change
            total[name] = total[name] + value if name in total else value
    return total


@dataclass
class Batch:
    """One mini-batch per row.

    Attributes:
        inputs: steps before a sequence's own start are zero. Or, where `Draws.tokens` asks for them, codes of symbols,
            int64 [P, T, B]; -1 before a sequence's own start.
        targets: int64 classes [P, B] or [P, T, B], or values [P, B, O] or [P, T, B, O].
        lengths: own steps, 1 <= lengths <= T: [P], or [P, B] where sequences of a row differ.
        mask: [P, T], or [P, T, B] where sequences differ, 0/1: steps that count in the loss of a per-step task; None =
            last step only, or every own step of a per-step task.
        state: whole state that the sequences go on from, a constant; None: they begin as the family says.
        weights: how much each sequence counts in the loss, 1 on average; None: all alike. Errors and scores ignore it.
        masks: what dropout's masks are made from; None in evaluation, where nothing is dropped.
    """

    inputs: Float[Tensor, "P T B I"] | Int64[Tensor, "P T B"]
    targets: Num[Tensor, "P ..."]
    lengths: Int64[Tensor, "P ..."]
    mask: Float[Tensor, "P T ..."] | None = None
    state: Float[Tensor, "P B S"] | None = None
    weights: Float[Tensor, "P B"] | None = None
    masks: MaskDraws | None = None

    @classmethod
    def of(cls, inputs: Float[Tensor, "P T B I"], lengths: Int64[Tensor, "P ..."]) -> Batch:
        """Sequences that are not scored."""
        return cls(inputs, inputs.new_zeros(len(inputs), 0), lengths)

    @property
    def differs(self) -> bool:
        """Whether the sequences of a row have lengths or masks of their own."""
        return self.lengths.ndim == 2 or (self.mask is not None and self.mask.ndim == 3)

    def with_initial_state(self, weights: LoopWeights) -> LoopWeights:
        """The loop's weights with the state that the sequences go on from."""
        return weights if self.state is None else replace(weights, h0=self.state)


@dataclass
class LoopMasks:
    """What a time loop multiplies with, a constant of one mini-batch.

        a_t = (recurrent * s_{t-1}[..., :R]) U        s_t = zone s_{t-1} + (1 - zone) step(a_t, ...)

    Attributes:
        recurrent: [P, B, R], the same at all steps; None: 1.
        zone: [P, T, B, S], in training 0 or 1, else the share that is expected; None: 0.
    """

    recurrent: Float[Tensor, "P B R"] | None = None
    zone: Float[Tensor, "P T B S"] | None = None

    def between(self, start: int, end: int) -> LoopMasks:
        """Those of steps start..end-1."""
        return self if self.zone is None else replace(self, zone=self.zone[:, start:end])


@dataclass
class LoopWeights:
    """What the time loop of a simple recurrent cell uses (after `family.weights`).

        a_t = h_{t-1} w_rec + u_t w_in + bias        h_t = (1 - leak) h_{t-1} + leak f(a_t)

    Attributes:
        w_rec: [P, H, H], ``W[from, to]``.
        w_in: [P, I, H], or None where the inputs already are pre-activations [P, T, B, H].
        bias: [P, H], or None.
        act_bias: [P, H] parameter of the activation (modReLU), or None.
        h0: [P, H] initial state, or None for zero; [P, B, S] whole states, one per sequence, where they are carried
            over (engine `reference` only; they are constants: the gradient for them means nothing).
        leak: [P], or None for 1.
        cell: a cell's own parameters, vectors [P, K] or matrices [P, M, N]; of the simple cell empty, or ``gain``
            and ``bias`` [P, H]: a_t is normalised over the units, times the gain, plus the bias (layer norm).
        masks: of the loop itself; None: none.
    """

    w_rec: Float[Tensor, "P R A"]
    w_in: Float[Tensor, "P I D"] | None = None
    bias: Float[Tensor, "P D"] | None = None
    act_bias: Float[Tensor, "P H"] | None = None
    h0: Float[Tensor, "P ... S"] | None = None
    leak: Float[Tensor, " P"] | None = None
    cell: Mapping[str, Float[Tensor, "P ..."]] = field(default_factory=dict[str, Tensor])
    masks: LoopMasks | None = None

    def without_inputs(self) -> LoopWeights:
        """The same loop, fed with drives."""
        return replace(self, w_in=None, bias=None)


@dataclass
class Record:
    """What a forward loop leaves behind.

    Attributes:
        inputs: [P, T, B, I], as given.
        h: [P, T + 1, B, H]; index 0 is h_0; a step before a sequence's start repeats the state before it.
        slope: [P, T, B, H], f'(a_t) (for OPLU: 1 where the pair was swapped), or None where
            `OutputSlope.slope_from_output` gives it from h (and leak is None).
        weights, lengths: as given.
    """

    inputs: Float[Tensor, "P T B I"]
    h: Float[Tensor, "P T1 B S"]
    slope: Float[Tensor, "P T B S"] | None
    weights: LoopWeights
    lengths: Int64[Tensor, "P ..."]


@dataclass
class Direct:
    """dC/dh_t without later steps: either of the last step only, or of every step.

    Attributes:
        last: [P, B, H], or None.
        steps: [P, T, B, H], or None; exactly one of the two is given. Before a sequence's own start it must be 0.
    """

    last: Float[Tensor, "P B S"] | None = None
    steps: Float[Tensor, "P T B S"] | None = None


@dataclass
class Trace:
    """The gradient record of one backward loop (docs/maths.md#gradient-record); index t - 1 holds step t = 1..T.

    Attributes:
        record: the forward record.
        direct: the direct part.
        delta: [P, T, B, H], dC/da_t; exactly 0 before a sequence's own start.
        x: [P, T, B, H], what step t hands back to h_{t-1}: delta_t w_rec^T + (1 - leak) g_t;
            before a sequence's own start x_t = g_t.
        cut: [P, T, 1 or B], steps whose error nobody receives, as backpropagation was cut before them: x is 0 there,
            and no ratio of it means anything; None where nothing was cut.
    """

    record: Record
    direct: Direct
    delta: Float[Tensor, "P T B A"]
    x: Float[Tensor, "P T B S"]
    cut: Bool[Tensor, "P T _"] | None = None

    def totals(self) -> Float[Tensor, "P T B S"]:
        """g_t = dC/dh_t for t = 1..T, [P, T, B, H]: x_{t+1} plus the direct part of step t."""
        # x of step t + 1 is what h_t gets from later: g is x, one step earlier, plus the direct part.
        g = torch.empty_like(self.x)
        g[:, :-1] = self.x[:, 1:]
        if self.direct.steps is not None:
            g[:, -1] = self.direct.steps[:, -1]
            g[:, :-1] += self.direct.steps[:, :-1]
        else:
            assert self.direct.last is not None
            g[:, -1] = self.direct.last
        return g


@dataclass
class LoopGradients:
    """Gradients of the loop's own parameters; None where the parameter is None.

    Attributes:
        w_rec: [P, H, H]; w_in: [P, I, H]; bias, act_bias: [P, H]; h0: [P, H] (summed over the batch), or
            [P, B, S] of carried states, which means nothing.
        inputs: [P, T, B, H] gradient of pre-activations given as inputs (w_in None): the deltas themselves.
        cell: of `LoopWeights.cell`, same keys and shapes.
    """

    w_rec: Float[Tensor, "P R A"]
    w_in: Float[Tensor, "P I D"] | None = None
    bias: Float[Tensor, "P D"] | None = None
    act_bias: Float[Tensor, "P H"] | None = None
    h0: Float[Tensor, "P ... S"] | None = None
    inputs: Float[Tensor, "P T B D"] | None = None
    cell: Mapping[str, Float[Tensor, "P ..."]] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True)
class BackwardTerm:
    """What a backward loop may take along: a term of the objective made of the errors that it has in cache anyway.

    A controller says which one it wants (`Controller.backward_term`), an engine whether its loop can (`takes`); where
    not, the controller forms the term from the trace. Terms are compared by value.
    """


@dataclass(frozen=True)
class NormRatio(BackwardTerm):
    """How much each step changes the norm of the error: sum over steps and samples of (|x_t|^k / |g_t|^k - 1)^2 / B.

    x_t and g_t are those of `Trace`; the gradient is the immediate one: of the trailing w_rec in x_t alone.

    Attributes:
        squared: k = 2, else 1.
        mean: whether the sum is divided by the share of samples that are active.
        bound: samples with a |g_t|^2 below it are inactive; > 0.
    """

    squared: bool
    mean: bool
    bound: float


@dataclass
class TermResult:
    """A `BackwardTerm` of one mini-batch.

    Attributes:
        value, share: the term without a weight, and the active share of the samples' own steps.
        w_rec: its gradient for the loop's recurrent matrix.
    """

    value: Float[Tensor, " P"]
    share: Float[Tensor, " P"]
    w_rec: Float[Tensor, "P R A"]


@dataclass
class Tangent:
    """delta_{T-h} and its first-order change, scaled (docs/maths.md#sampling).

    True values are `delta * 2**exponent` and `ddelta * 2**exponent`.

    Attributes:
        delta, ddelta: [P, B, H].
        exponent: int64 [P].
    """

    delta: Float[Tensor, "P B H"]
    ddelta: Float[Tensor, "P B H"]
    exponent: Int64[Tensor, " P"]


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a mini-batch besides gradients.

    Attributes:
        trace: the gradient record.
        term_rows: rows whose `Program.backward_term` the loop is to take along; None: of none. Only where
            the rule takes it.
    """

    trace: bool = False
    term_rows: Bool[Tensor, " P"] | None = None
