"""Shapes and records that the training core passes around.

Shape legend, for the whole of `core`:
    P rows of a pack · T time steps (T_max) · B mini-batch · H hidden units · I inputs · O outputs ·
    N entries of a row's flat parameter vector. P always leads: a row's slab is contiguous.
Sequences are right-aligned: all end at T_max; row p's own steps are t >= T_max - lengths[p].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum

import torch
from jaxtyping import Float
from torch import Tensor


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


@dataclass
class Batch:
    """One mini-batch per row.

    Attributes:
        inputs: [P, T, B, I], floating point; steps before a row's own start are zero.
        targets: int64 classes [P, B] or [P, T, B], or values [P, B, O] or [P, T, B, O].
        lengths: int64 [P]; 1 <= lengths <= T.
        mask: [P, T], or [P, T, B] where sequences differ, 0/1 in the floating type: steps that count in the loss of a
            per-step task; None = last step only, or every own step of a per-step task.
        state: [P, B, S] whole state that the sequences go on from, a constant; None: they begin as the family says.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor
    mask: Tensor | None = None
    state: Tensor | None = None

    def with_initial_state(self, weights: LoopWeights) -> LoopWeights:
        """The loop's weights with the state that the sequences go on from."""
        return weights if self.state is None else replace(weights, h0=self.state)


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
        cell: a cell's own parameters, vectors [P, K] or matrices [P, M, N]; empty for the simple cell.
    """

    w_rec: Tensor
    w_in: Tensor | None = None
    bias: Tensor | None = None
    act_bias: Tensor | None = None
    h0: Tensor | None = None
    leak: Tensor | None = None
    cell: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class Record:
    """What a forward loop leaves behind.

    Attributes:
        inputs: [P, T, B, I], as given.
        h: [P, T + 1, B, H]; index 0 is h_0; a step before a row's start repeats the state before it.
        slope: [P, T, B, H], f'(a_t) (for OPLU: 1 where the pair was swapped), or None where
            `OutputSlope.slope_from_output` gives it from h (and leak is None).
        weights, lengths: as given.
    """

    inputs: Tensor
    h: Tensor
    slope: Tensor | None
    weights: LoopWeights
    lengths: Tensor


@dataclass
class Direct:
    """dC/dh_t without later steps: either of the last step only, or of every step.

    Attributes:
        last: [P, B, H], or None.
        steps: [P, T, B, H], or None; exactly one of the two is given. Before a row's own start it must be 0.
    """

    last: Tensor | None = None
    steps: Tensor | None = None


@dataclass
class Trace:
    """The gradient record of one backward loop (docs/maths.md#gradient-record); index t - 1 holds step t = 1..T.

    Attributes:
        record: the forward record.
        direct: the direct part.
        delta: [P, T, B, H], dC/da_t; exactly 0 before a row's own start.
        x: [P, T, B, H], what step t hands back to h_{t-1}: delta_t w_rec^T + (1 - leak) g_t;
            before a row's own start x_t = g_t.
    """

    record: Record
    direct: Direct
    delta: Tensor
    x: Tensor

    def totals(self) -> Tensor:
        """g_t = dC/dh_t for t = 1..T, [P, T, B, H]: x_{t+1} plus the direct part of step t."""
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
        w_rec: [P, H, H]; w_in: [P, I, H]; bias, act_bias: [P, H]; h0: [P, H] (summed over the batch).
        inputs: [P, T, B, H] gradient of pre-activations given as inputs (w_in None): the deltas themselves.
        cell: of `LoopWeights.cell`, same keys and shapes.
    """

    w_rec: Tensor
    w_in: Tensor | None = None
    bias: Tensor | None = None
    act_bias: Tensor | None = None
    h0: Tensor | None = None
    inputs: Tensor | None = None
    cell: Mapping[str, Tensor] = field(default_factory=dict)


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

    delta: Tensor
    ddelta: Tensor
    exponent: Tensor
