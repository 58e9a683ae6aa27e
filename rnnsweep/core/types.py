"""Shapes, flat parameters and records that the training core passes around.

Shape legend, for the whole of `core`:
    P rows of a pack · T time steps (T_max) · B mini-batch · H hidden units · I inputs · O outputs ·
    N entries of a row's flat parameter vector. P always leads: a row's slab is contiguous.
Sequences are right-aligned: all end at T_max; own steps are t >= T_max - length (`core.sequence_lengths`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64, Num
from torch import Tensor

from rnnsweep.core.kernels import kernels_for

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

READ_OUT = ("w_out", "b_out")
"""Parameters of the linear map to the outputs."""


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
        return flat.narrow(1, start, spec.size).view(flat.shape[0], *spec.shape)

    def flatten(self, values: Mapping[str, Float[Tensor, "P ..."]], out: Float[Tensor, "P N"]) -> Float[Tensor, "P N"]:
        """Copy named tensors [P, *shape] into flat ones; names that are absent stay as they are."""
        for spec in self.specs:
            if spec.name in values:
                start = self.offsets[spec.name]
                out[:, start : start + spec.size] = values[spec.name].flatten(1)  # P size
        return out

    def gathered(
        self, values: Mapping[str, Float[Tensor, "P ..."]], like: Float[Tensor, "P N"]
    ) -> Float[Tensor, "P N"]:
        """Named tensors [P, *shape] as new flat ones, shaped as `like`; 0 at names that are absent, and in padding."""
        present = [spec for spec in self.specs if spec.name in values]
        kernels = kernels_for("gathering", like.device)
        # it writes each part and what is behind it
        if kernels is None or not present or self.offsets[present[0].name]:
            return self.flatten(values, torch.zeros_like(like))
        parts = [(self.offsets[spec.name], values[spec.name]) for spec in present]
        return kernels.gather(parts, torch.empty_like(like))

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
        diagonals: w_rec is 0 but on its diagonal (1), or on those of its four quarters (2): `recurrence.diagonal`. What
            its gradient has elsewhere means nothing: an engine may leave out such products, and give 0 there. 0: any.
    """

    w_rec: Float[Tensor, "P R A"]
    w_in: Float[Tensor, "P I D"] | None = None
    bias: Float[Tensor, "P D"] | None = None
    act_bias: Float[Tensor, "P H"] | None = None
    h0: Float[Tensor, "P ... S"] | None = None
    leak: Float[Tensor, " P"] | None = None
    cell: Mapping[str, Float[Tensor, "P ..."]] = field(default_factory=dict[str, Tensor])
    masks: LoopMasks | None = None
    diagonals: int = 0

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

    def at(self, t: int) -> Float[Tensor, "P B S"]:
        """The whole state after t steps."""
        return self.h[:, t]

    def whole(self) -> Record:
        """With whole states of all steps in ``h``, where this one holds only what is shown of them."""
        return self

    def between(self, start: int, end: int) -> Record:
        """The record of steps start..end-1; a sequence that begins later keeps one (idle) step."""
        T = self.h.shape[1] - 1
        # At least 1 step per sequence; no error reaches one before its start, so that it adds 0.
        lengths = (self.lengths - (T - end)).clamp(1, end - start)
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _UNTIMED}
        # Contiguous: fused loops address plain memory.
        timed = {name: None if part is None else part[:, start:end].contiguous() for name, part in parts.items()}
        weights, masks = self.weights, self.weights.masks
        weights = weights if masks is None else replace(weights, masks=masks.between(start, end))
        h = self.h[:, start : end + 1].contiguous()
        return replace(self, **timed, h=h, weights=weights, lengths=lengths)


_UNTIMED = ("h", "weights", "lengths")
"""Parts of a record that are not cut like the rest: h has one step more, the others have no time axis."""


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
        inputs: [P, T, B, D] gradient of pre-activations given as inputs (w_in None): the deltas themselves. What has no
            gradient may be left out where it stands behind the rest.
        cell: of `LoopWeights.cell`, same keys and shapes.
    """

    w_rec: Float[Tensor, "P R A"]
    w_in: Float[Tensor, "P I D"] | None = None
    bias: Float[Tensor, "P D"] | None = None
    act_bias: Float[Tensor, "P H"] | None = None
    h0: Float[Tensor, "P ... S"] | None = None
    inputs: Float[Tensor, "P T B D"] | None = None
    cell: Mapping[str, Float[Tensor, "P ..."]] = field(default_factory=dict[str, Tensor])

    def parts(self) -> dict[str, Float[Tensor, "P ..."]]:
        """Those of the loop's plain parameters by their usual names; those that are None left out."""
        return {"w_rec": self.w_rec, **self.others()}

    def others(self) -> dict[str, Float[Tensor, "P ..."]]:
        """`parts` but w_rec."""
        named = {"w_in": self.w_in, "b": self.bias, "act_bias": self.act_bias, "h0": self.h0}
        # None: the loop has no such weight, or, as Omega does, only w_rec's gradient was handed in.
        return {name: value for name, value in named.items() if value is not None}


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


def given_part(direct: Direct) -> Float[Tensor, "P ... S"]:
    """Of the two parts the one that there is; `ValueError` for both or none."""
    if direct.last is not None and direct.steps is None:
        return direct.last
    if direct.steps is None or direct.last is not None:
        raise ValueError("one of the two direct parts must be given: last, or steps")
    return direct.steps


def direct_width(direct: Direct, most: int, least: int = 0) -> int:
    """Entries per sample of the part that is given.

    Raises:
        ValueError: both parts are given or none, or one with other than `least` to `most` entries.
    """
    width = given_part(direct).shape[-1]
    if width > most:
        raise ValueError(f"direct gradients have {width} entries; a state has {most}")
    if width < least:
        raise ValueError(f"direct gradients have {width} entries, not {least}")
    return width


def check_parts(record: Record, direct: Direct, name: str, derives_slope: bool) -> None:
    """Raise `ValueError` for parts of a record or of its direct gradients without which a loop would read nothing.

    Args:
        record, direct: what a backward loop goes over.
        name: the activation's. derives_slope: whether its f' is read from the state.
    """
    given_part(direct)
    if record.slope is None and not (derives_slope and record.weights.leak is None):
        raise ValueError(f"a record of {name} without slopes: another activation's, or another leak's?")
    if record.slope is None and record.weights.act_bias is not None:
        raise ValueError(f"{name} has no parameter act_bias")
