"""The contract of a recurrence engine: the time loop of a simple recurrent cell, for a pack of rows.

Promises that every engine keeps (tests/contract/test_engines.py checks all of them for every engine):
    - row p of a result is a function of row p of the arguments, to the bit on one CPU type;
    - a step before a row's own start (t < T - lengths[p]) changes nothing: state, gradients, x and deltas are
      what a pack of T = lengths[p] would give (right-aligned);
    - non-finite values stay in their row;
    - nothing is kept between calls but scratch memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace


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


@runtime_checkable
class Engine(Protocol):
    """Forward, backward and tangent loops.

    Attributes:
        name: ``reference``, ``cpu`` or ``gpu``.
        tile: rows that are best trained together (cache-sized); None = the whole pack at once.
        regularised: whether its loop takes `LoopWeights.masks`, and the gain of layer norm.
    """

    name: str
    tile: int | None
    regularised: bool

    def refuses(self, activation: Activation, dtype: torch.dtype) -> str | None:
        """Why this engine cannot run such a loop (then `reference` does, and the run says so), or None."""
        ...

    def forward(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> Record:
        """All states of the inputs (or of pre-activations [P, T, B, H] where `weights.w_in` is None)."""
        ...

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """Backpropagation through time.

        Args:
            record: what `forward` returned.
            direct: dC/dh_t without later steps.
            activation: as in `forward`.
            keep: whether the trace is wanted; without it an engine may skip writing deltas and x.
        """
        ...

    def tangent(
        self, trace: Trace, step: Float[Tensor, "P R A"], horizon: Int64[Tensor, " P"], activation: Activation
    ) -> Tangent:
        """delta_{T-h} and its change under `w_rec + step`, f' and delta_T frozen.

        Args:
            trace: of this mini-batch; only delta_T = trace.delta[:, -1] and the slopes matter (a per-step task's
                earlier errors do not enter).
            step: candidate change of w_rec.
            horizon: look-back h; 0 <= h <= lengths - 1, and 0 gives delta_T and no change.

        The recursion is rescaled by exact powers of two per row and step so that max|delta| stays in [1/2, 1).
        """
        ...

    def outer(
        self,
        left: Float[Tensor, "P T B K"],
        right: Float[Tensor, "P T B M"],
        weight: Float[Tensor, "P T B"] | None = None,
    ) -> Float[Tensor, "P K M"]:
        """sum_{t,b} weight[p,t,b] * left[p,t,b,:] (x) right[p,t,b,:]."""
        ...

    def square_norms(self, x: Float[Tensor, "P T B H"]) -> Float[Tensor, "P T B"]:
        """Squared 2-norm over the last axis."""
        ...

    def matmul(self, left: Float[Tensor, "P M K"], right: Float[Tensor, "P K N"]) -> Float[Tensor, "P M N"]:
        """The products of matrices, row by row."""
        ...


@runtime_checkable
class LastStepEngine(Engine, Protocol):
    """An engine for which it costs less to show the last step alone: what is between is no state of the loop."""

    def forward_last(
        self,
        inputs: Float[Tensor, "P T B I"],
        weights: LoopWeights,
        activation: Activation,
        lengths: Int64[Tensor, "P ..."],
    ) -> Record:
        """As `forward`, where nobody looks at more than `h[:, -1]`; the record's h may hold nothing else.

        `backward` then takes errors of that alone, and keeps no trace.
        """
        ...


@runtime_checkable
class TermEngine(Engine, Protocol):
    """An engine whose backward loop takes a term along: deltas and x are used while they are in the cache."""

    def takes(self, term: BackwardTerm) -> bool:
        """Whether the loop can take this term along."""
        ...

    def backward_with(
        self,
        record: Record,
        direct: Direct,
        activation: Activation,
        term: BackwardTerm,
        rows: Bool[Tensor, " P"],
        *,
        keep: bool,
    ) -> tuple[LoopGradients, Trace | None, TermResult]:
        """`backward`, the same to the bit, with the term of the rows in `rows`; that of others is 0."""
        ...


@dataclass(frozen=True)
class StepRule:
    """Which candidate steps sampling uses, see `controllers.sampling.Sampling`.

    Attributes:
        upwards: whether a vanishing gradient wants dS > 0, else dS < 0.
        relative: whether r0 bounds |dS| / S, else |dS|.
        mean_of_logs: Q is the mean over the batch of logarithms, else of the means' ratio.
    """

    upwards: bool
    relative: bool
    mean_of_logs: bool


@dataclass(frozen=True)
class Bounds:
    """Sampling's limits, row by row.

    Attributes:
        q_min, q_max, r0: [P].
    """

    q_min: Float[Tensor, " P"]
    q_max: Float[Tensor, " P"]
    r0: Float[Tensor, " P"]


@dataclass
class Judgement:
    """What sampling says of a mini-batch's step.

    Attributes:
        q, log_change: Q and log10 |dS|. size: squared norm of the scaled delta_{T-h}.
        used: whether the rule takes the step, and Q is known. degenerate: whether it is not.
    """

    q: Float64[Tensor, " P"]
    log_change: Float64[Tensor, " P"]
    size: Float64[Tensor, " P"]
    used: Bool[Tensor, " P"]
    degenerate: Bool[Tensor, " P"]


@runtime_checkable
class JudgingEngine(Engine, Protocol):
    """An engine that judges steps in one launch, where a hundred small operations would cost more than a loop."""

    def judge(self, last: Float[Tensor, "P B H"], tangent: Tangent, bounds: Bounds, rule: StepRule) -> Judgement:
        """What sampling says, of delta_T and what the tangent recursion made of it."""
        ...


@runtime_checkable
class StepEngine(Engine, Protocol):
    """An engine whose loop has no product with a recurrent matrix that could be looked at by itself."""

    def immediate(self, trace: Trace, coefficient: Float[Tensor, "P T B"]) -> Float[Tensor, "P 1 N"]:
        """sum_{t,b} coefficient <x_t, dx_t/dparameters> [P, 1, N], with s_{t-1} and g_t constant in x_t = J_t^T g_t."""
        ...


def driven(x: Float[Tensor, "P T B K"], weights: LoopWeights, engine: Engine) -> Float[Tensor, "P T B D"]:
    """Drives of a layer that sees x; x itself where its loop takes inputs as they are."""
    if weights.w_in is None:
        return x
    drive = engine.matmul(x.flatten(1, 2), weights.w_in).unflatten(1, x.shape[1:3])
    if weights.bias is None:
        return drive
    # in place where nothing is recorded: drives are fresh, and as large as a record's states
    return drive + weights.bias[:, None, None] if drive.requires_grad else drive.add_(weights.bias[:, None, None])


def into_inputs(
    g: Float[Tensor, "P T B D"], x: Float[Tensor, "P T B K"], weights: LoopWeights, engine: Engine
) -> tuple[LoopGradients, Float[Tensor, "P T B K"]]:
    """Gradients of an input path from those of the drives: of its weights (that of W_rec is 0), and of x."""
    nothing = LoopGradients(torch.zeros_like(weights.w_rec))
    if weights.w_in is None:
        return nothing, g
    bias = None
    if weights.bias is not None:  # a product with ones: engines have those in place, where others copy g
        bias = engine.outer(g.new_ones(*g.shape[:3], 1), g)[:, 0]
    back = engine.matmul(g.flatten(1, 2), weights.w_in.transpose(1, 2).contiguous()).unflatten(1, g.shape[1:3])
    return replace(nothing, w_in=engine.outer(x, g), bias=bias), back.contiguous()
