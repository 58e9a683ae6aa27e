"""The loops of cuda/ over tensors: sources for the sizes at hand, memory, launches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.recurrence.gpu import compiling
from rnnsweep.core.recurrence.gpu import layout as layouts
from rnnsweep.core.recurrence.gpu.description import Description
from rnnsweep.core.recurrence.gpu.layout import MOST_WARPS, SHARED_BYTES, ProductLayout, items_for, items_of
from rnnsweep.core.recurrence.gpu.simple_step import SimpleStep
from rnnsweep.core.recurrence.gpu.source import program
from rnnsweep.core.types import Direct

_INNER_FUSED = 32
_UNROLL = 28
"""Turns of a product's loop that are written out."""
_SCHEDULERS = 4
"""Of a multiprocessor: a warp stays with one of them."""
_SUMMED = 128
"""Threads of a program that adds up samples."""


@dataclass(frozen=True)
class Sized:
    """A kernel's source and what it is launched with.

    Attributes:
        source: CUDA C++. items: samples per program. threads: per program. shared: bytes.
        scratch: entries per program of what shared memory does not hold.
        programs: that fit a multiprocessor at once.
    """

    source: str
    items: int
    threads: int
    shared: int
    scratch: int
    programs: int


@dataclass
class Errors:
    """What a backward loop leaves; sums over samples are [P, ..., U].

    Attributes:
        x: of x, [P, T, B, X]; behind it of what the cell's own matrix makes.
        back: of the state before each step, or None. down: of the trained parameters [P, parameters, U].
        h0: of the initial state [P, S], or None.
    """

    x: Float[Tensor, "P T B X"]
    back: Float[Tensor, "P T B S"] | None
    down: Float[Tensor, "P N U"]
    h0: Float[Tensor, "P S"] | None


def fuses_inputs(description: Description, inner: int) -> bool:
    """Whether u_t w_in is cheaper in the loop than as a product before it that writes and reads the drives."""
    return description.additive and inner <= _INNER_FUSED


@lru_cache(maxsize=256)
def forward_sized(
    description: Description, itemsize: int, items: int, fused: int, *, biased: bool, alike: bool = True
) -> Sized:
    """For so many samples per program and, where they join the product, so many inputs.

    `alike`: every program has all of its samples, and they begin with their row.
    """
    inner = description.read * description.units + fused + int(biased)
    layout = ProductLayout.of(inner, description.product * description.units, itemsize) if description.product else None
    extra = {"FUSED": fused, "BIASED": int(biased), "ALIKE": int(alike)}
    return _sized("forward", description, description.step(), layout, itemsize, items, extra)


@lru_cache(maxsize=256)
def backward_sized(
    description: Description, itemsize: int, items: int, *, steps: bool = False, alike: bool = True
) -> Sized:
    """As `forward_sized`; `steps`: for a loss of every step."""
    units = description.units
    sizes, extra = (description.product * units, description.read * units), {"STEPS": int(steps), "ALIKE": int(alike)}
    layout = ProductLayout.of(*sizes, itemsize) if description.product else None
    return _sized("backward", description, description.pull(), layout, itemsize, items, extra)


@lru_cache(maxsize=256)
def tangent_sized(description: Description, itemsize: int, B: int, *, known: bool = False) -> Sized:
    """Of a simple cell, for mini-batches of B; `known`: whether deltas of all steps are given."""
    units = description.units
    layout, items, lane = ProductLayout.of(units, units, itemsize), items_of(B), 16 // itemsize
    threads = _threads(layout, units, items)
    shared = itemsize * (2 * layout.rows * layout.width(items) + 2 * -(-items * units // lane) * lane + 32)
    matrices = 2 * layout.rows * layout.stride
    assert isinstance(description.formulas, SimpleStep)
    # Two products at once keep so many sums that a thread takes up to 160 registers.
    at_once = itemsize == 4 and threads <= 384
    extra = {"LEAKY": int(description.formulas.leaky), "AT_ONCE": int(at_once), "KNOWN": int(known)}
    functions = description.pull() + description.past()
    sizes = (itemsize, items, threads)
    return _finished(
        "tangent", description, functions, layout, sizes, (shared, matrices), extra, registers=256 if at_once else 128
    )


def _threads(layout: ProductLayout | None, units: int, items: int) -> int:
    """Of a program: at most eight samples per thread in the formulas, whose numbers are in registers."""
    return 32 * max(layout.warps if layout else 1, min(-(-units * items // (8 * 32)), MOST_WARPS))


def _warps_alone(least: int, entries: int) -> int:
    """Of a program that has a multiprocessor to itself: those with which the formulas are through first."""

    def spent(warps: int) -> int:
        return -(-entries // (32 * warps)) * -(-warps // _SCHEDULERS)

    return min(range(least, max(least, MOST_WARPS) + 1), key=spent)


def _sized(  # noqa: PLR0913
    name: str, description: Description, functions: str, layout: ProductLayout | None, itemsize: int, items: int,
    extra: dict[str, int],
) -> Sized:  # fmt: skip
    lane = 16 // itemsize
    threads = _threads(layout, description.units, items)
    entries, matrix = _entries(layout, items, lane)
    if description.second:
        inside = ProductLayout.of(description.units, description.units, itemsize)
        threads = max(threads, 32 * inside.warps)
        entries, matrix = (a + b for a, b in zip((entries, matrix), _entries(inside, items, lane), strict=True))
    if itemsize == 4 and 2 * itemsize * (entries + matrix) > SHARED_BYTES:
        threads = 32 * _warps_alone(threads // 32, description.units * items)
    memory = itemsize * max(entries, lane), matrix
    return _finished(name, description, functions, layout, (itemsize, items, threads), memory, extra)


def _entries(layout: ProductLayout | None, items: int, lane: int) -> tuple[int, int]:
    """Of vectors and results, and of the matrix."""
    if layout is None:
        return 0, 0
    return layout.rows * layout.width(items) + -(-items * layout.columns // lane) * lane, layout.rows * layout.stride


def _finished(  # noqa: PLR0913
    name: str, description: Description, functions: str, layout: ProductLayout | None, sizes: tuple[int, int, int],
    memory: tuple[int, int], extra: dict[str, int], *, registers: int = 128,
) -> Sized:  # fmt: skip
    (itemsize, items, threads), (shared, matrix) = sizes, memory
    lane, resident = 16 // itemsize, shared + matrix * itemsize <= SHARED_BYTES
    shared += matrix * itemsize if resident else 0
    # As many programs as fit a multiprocessor; a thread of float64 takes twice as many registers.
    programs = max(1, min(4, SHARED_BYTES // (shared + 1024), 65536 // registers * 4 // itemsize // threads))
    inside = ProductLayout.of(description.units, description.units, itemsize)
    # One or two samples at a time: whichever leaves fewer turns idle.
    slots = {each: -(-description.units * -(-items // each) // threads) * each for each in (2, 1)}
    constants = {
        **description.constants(), **extra, "TOGETHER": min(slots, key=lambda each: slots[each]), "UNROLL": _UNROLL,
        "MULTIPROCESSORS": layouts.MULTIPROCESSORS,
        "ITEMS": items, "THREADS": threads, "RESIDENT": int(resident), "PROGRAMS": programs,
        "WIDTH": layout.width(items) if layout else lane,
        "STRIDE": layout.stride if layout else lane, "COLUMNS": layout.tile if layout else lane,
        "SLICES": layout.slices if layout else 1,
        "SECOND_COLUMNS": inside.tile, "SECOND_SLICES": inside.slices, "SECOND_STRIDE": inside.stride,
        "SECOND_WIDTH": inside.width(items),
    }  # fmt: skip
    return Sized(
        program(name, itemsize, constants, functions), items, threads, shared, 0 if resident else matrix, programs
    )


class Loops:
    """Launches of one cell's loops.

    Tensors are without gaps, but for w_rec, w_in and bias, whose rows may lie apart; sizes were checked before.
    """

    def __init__(self, description: Description) -> None:
        self.description = description

    def forward(  # noqa: PLR0913
        self,
        inputs: Float[Tensor, "P T B I"],
        w_rec: Float[Tensor, "P R A"] | None,
        w_in: Float[Tensor, "P I A"] | None,
        bias: Float[Tensor, "P A"] | None,
        own: Float[Tensor, "P N U"],
        h0: Float[Tensor, "P _"] | None,
        lengths: Int64[Tensor, "P ..."],
        second: Float[Tensor, "P U U"] | None = None,
    ) -> tuple[Float[Tensor, "P T1 B S"], Float[Tensor, "P T B K"]]:
        """(States, what is kept); without w_in the inputs are drives."""
        P, T, B, I = inputs.shape  # noqa: E741
        f, U = self.description.formulas, self.description.units
        fused = 0 if w_in is None else I
        sized = _for_rows(
            lambda items, alike: forward_sized(
                self.description, inputs.element_size(), items, fused, biased=bias is not None, alike=alike
            ), P, B, lengths,
        )  # fmt: skip
        h, kept = inputs.new_empty(P, T + 1, B, f.states * U), inputs.new_empty(P, T, B, f.kept * U)
        tensors = (inputs, w_rec, w_in, bias, own, h0, second, lengths, h, kept, _scratch(sized, inputs, P, B))
        job = (*map(compiling.address, tensors), T, B, 0 if h0 is None else h0.shape[1], int(lengths.ndim == 2))
        job += (_row(w_rec), _row(w_in), _row(bias))
        self._launch("forward", sized, P, B, job, inputs.device)
        return h, kept

    def backward(  # noqa: PLR0913
        self,
        h: Float[Tensor, "P T1 B S"],
        kept: Float[Tensor, "P T B K"],
        direct: Direct,
        w_rec: Float[Tensor, "P R A"] | None,
        own: Float[Tensor, "P N U"],
        lengths: Int64[Tensor, "P ..."],
        second: Float[Tensor, "P U U"] | None = None,
        *,
        keep: bool,
        first: bool,
    ) -> Errors:
        """From the direct part of the states' errors; `first`: whether that of the initial state is wanted."""
        (P, T, B), (f, U) = (
            (h.shape[0], h.shape[1] - 1, h.shape[2]),
            (self.description.formulas, self.description.units),
        )
        steps = direct.steps is not None
        sized = _for_rows(
            lambda items, alike: backward_sized(self.description, h.element_size(), items, steps=steps, alike=alike),
            P, B, lengths,
        )  # fmt: skip
        given = direct.last if direct.steps is None else direct.steps
        assert given is not None
        blocks = f.inputs + bool(self.description.second)
        dx, back = h.new_empty(P, T, B, blocks * U), h.new_empty(P, T, B, f.states * U) if keep else None
        down = h.new_empty(P, B, len(f.trained), U)
        dh0 = h.new_empty(P, B, f.states * U) if first else None
        scratch = _scratch(sized, h, P, B)
        tensors = (h, kept, direct.last, direct.steps, w_rec, own, second, lengths, dx, back, down, dh0, scratch)
        job = (*map(compiling.address, tensors), T, B, given.shape[-1], int(lengths.ndim == 2), _row(w_rec))
        self._launch("backward", sized, P, B, job, h.device)
        return Errors(dx, back, sample_sums(down), None if dh0 is None else sample_sums(dh0))

    def tangent(  # noqa: PLR0913
        self,
        h: Float[Tensor, "P T1 B U"],
        kept: Float[Tensor, "P T B K"],
        deltas: Float[Tensor, "P T B U"],
        total: Float[Tensor, "P B U"],
        w_rec: Float[Tensor, "P U U"],
        step: Float[Tensor, "P U U"],
        own: Float[Tensor, "P N U"],
        horizon: Int64[Tensor, " P"],
        *,
        known: bool,
    ) -> tuple[Float[Tensor, "P B U"], Float[Tensor, "P B U"], Int64[Tensor, "P tiles"]]:
        """(delta, its change, exponents tile by tile).

        Args:
            h, kept: of the loop.
            deltas: of all steps, of which the last alone is read if not `known`.
            total: the last state's error.
            w_rec, step, own: the matrix, its change, and what the formulas read.
            horizon: steps.
            known: whether deltas are those that the recursion makes, but for their range; of plain steps only.
        """
        P, T, B = h.shape[0], h.shape[1] - 1, h.shape[2]
        plain = not (self.description.paired or "leak" in self.description.formulas.own)
        sized = tangent_sized(self.description, h.element_size(), B, known=known and plain)
        delta, change = torch.empty_like(total), torch.empty_like(total)
        exponents = torch.empty(P, -(-B // sized.items), dtype=torch.int64, device=h.device)
        scratch = _scratch(sized, h, P, B)
        tensors = (h, kept, deltas, total, w_rec, step, own, horizon, delta, change, scratch, exponents)
        job = (*map(compiling.address, tensors), T, B, _row(w_rec), _row(step))
        self._launch("tangent", sized, P, B, job, h.device)
        return delta, change, exponents

    def _launch(self, name: str, sized: Sized, P: int, B: int, job: tuple[int, ...], device: torch.device) -> None:
        launch = compiling.kernel(name, sized.source, device)
        launch((P, -(-B // sized.items)), sized.threads, sized.shared, job)


def _scratch(sized: Sized, like: Tensor, P: int, B: int) -> Tensor | None:
    """Memory for the programs' matrices, where shared memory does not hold them."""
    return like.new_empty(P * -(-B // sized.items) * sized.scratch) if sized.scratch else None


def _row(parameter: Tensor | None) -> int:
    """Entries from one row's parameter to the next's."""
    return 0 if parameter is None else parameter.stride(0)


def sample_sums(parts: Float[Tensor, "P B ..."]) -> Float[Tensor, "P ..."]:
    """Sums over samples, in their order in every pack."""
    P, B, entries = parts.shape[0], parts.shape[1], parts[0, 0].numel()
    total = parts.new_empty(P, *parts.shape[2:])
    if entries:
        source = program("sample_sums", parts.element_size(), {"THREADS": _SUMMED})
        job = (compiling.address(parts), compiling.address(total), B, entries)
        compiling.kernel("sample_sums", source, parts.device)((P, -(-entries // _SUMMED)), _SUMMED, 0, job)
    return total


def _for_rows(sized: Callable[[int, bool], Sized], P: int, B: int, lengths: Int64[Tensor, "P ..."]) -> Sized:
    """The loop whose programs fill the device best; which of them it is changes no sum."""
    most = items_of(B)
    items = items_for(P, B, most, sized(most, True).programs)
    return sized(items, lengths.ndim == 1 and B % items == 0)
