"""The gpu engine's filters beside `families.filters`' own operations and the CPU engine, and row by row to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest
import torch

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.families.filters import Adaptive, Momentum, constant, filtered_feed
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.filtering import DriveFilter, FilterEngine, FilterGradients, FilterRecord
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.sequence_lengths import own_steps

F64 = torch.float64
P = 3


Parts = TypeVar("Parts", DriveFilter, FilterGradients)


def each(parts: Parts, change: Callable[[torch.Tensor], torch.Tensor]) -> Parts:
    """The same with every tensor that is there changed."""
    changed: dict[str, Any] = {name: None if x is None else change(x) for name, x in vars(parts).items()}
    return replace(parts, **changed)


class Filters:
    """The engine's filters, with tensors of the CPU in and out."""

    def __init__(self, device: str) -> None:
        from rnnsweep.core.recurrence.gpu.engine import GpuEngine

        self.engine, self.device = GpuEngine(), device

    def run(self, drawn: Drawn, *, further: bool = True) -> tuple[FilterRecord, FilterGradients]:
        there = drawn.on(self.device)
        record = self.engine.filtered(there.inputs, there.filter, there.lengths)
        found = self.engine.filtered_back(record, there.g, further=further)
        return replace(record, drives=record.drives.cpu()), each(found, lambda x: x.cpu())


@pytest.fixture(scope="module")
def filters(triton_interpreter: str) -> Filters:
    return Filters(triton_interpreter)


@dataclass
class Drawn:
    """What a filter is given."""

    inputs: torch.Tensor
    filter: DriveFilter
    g: torch.Tensor
    lengths: torch.Tensor

    def on(self, device: str) -> Drawn:
        filter_ = each(self.filter, lambda x: x.to(device))
        return Drawn(self.inputs.to(device), filter_, self.g.to(device), self.lengths.to(device))

    def rows(self, rows: torch.Tensor) -> Drawn:
        return Drawn(self.inputs[rows], each(self.filter, lambda x: x[rows]), self.g[rows], self.lengths[rows])


@dataclass(frozen=True)
class Case:
    """Sizes and parts: T, B, G, I; lengths of `whole` packs, `rows` or `sequences`."""

    T: int = 5
    B: int = 3
    G: int = 21
    I: int = 3  # noqa: E741
    adaptive: bool = False
    biased: bool = True
    apart: bool = False
    padded: str = "whole"
    steady: bool = False

    def drawn(self, dtype: torch.dtype = F64) -> Drawn:
        # draws without a z near 0: divided by a root that may be EPSILON's, it shows how a processor rounds products
        rng = torch.Generator().manual_seed(self.T * self.G + self.B + 1000)

        def normal(*size: int) -> torch.Tensor:
            return torch.randn(*size, generator=rng, dtype=F64).to(dtype)

        def rate() -> torch.Tensor:
            if self.steady:
                return constant(torch.rand(P, generator=rng, dtype=F64).to(dtype), self.T)[..., 0]
            return torch.rand(P, self.T, self.B if self.apart else 1, generator=rng, dtype=F64).to(dtype)

        bias, after = (normal(P, self.G), normal(P, self.G)) if self.biased else (None, None)
        scale, beta = 0.3 + torch.rand(P, generator=rng, dtype=F64).to(dtype), rate() if self.adaptive else None
        lengths = {
            "whole": torch.full((P,), self.T),
            "rows": torch.tensor([self.T, 1, max(1, self.T - 2)]),
            "sequences": torch.randint(1, self.T + 1, (P, self.B), generator=rng),
        }[self.padded]
        own = own_steps(lengths, self.T)[..., None]
        return Drawn(
            normal(P, self.T, self.B, self.I) * own,
            DriveFilter(normal(P, self.I, self.G), bias, after, rate(), scale, beta),
            normal(P, self.T, self.B, self.G) * own,
            lengths,
        )


CASES = [
    Case(),
    Case(adaptive=True),
    Case(steady=True, adaptive=True, padded="rows"),
    Case(padded="rows", apart=True),
    Case(padded="sequences", biased=False),
    Case(padded="sequences", adaptive=True, apart=True),
    Case(T=1, B=1, G=1, I=1),
    Case(T=1, adaptive=True, padded="sequences"),
    Case(T=3, B=18, G=70, I=5),  # two blocks of entries, and sums over more sequences than at once
    Case(T=3, G=70, I=33, padded="sequences"),  # more inputs than the kernel takes
    Case(T=3, G=8, I=40, adaptive=True, biased=False),
]


def by_operations(drawn: Drawn) -> dict[str, torch.Tensor]:
    """Drives and gradients by the operations of `families.filters`."""
    f = drawn.filter
    filter_: Momentum | Adaptive = Momentum(f.decay[..., None], f.scale[:, None, None, None])
    if f.beta is not None:
        filter_ = Adaptive(filter_, f.beta[..., None])
    values = {"w_in": f.w_in} | ({} if f.bias is None else {"b": f.bias})
    values |= {} if f.after is None else {"b_rec": f.after}
    feed = filtered_feed(values, drawn.inputs, drawn.lengths, filter_, ReferenceEngine())
    names = {"b": "bias", "b_rec": "after"}
    found = {names.get(name, name): x for name, x in feed.pullback(drawn.g).items()}
    assert feed.back is not None
    return {"drives": feed.inputs, "inputs": feed.back(drawn.g), **found}


def named(record: FilterRecord, found: FilterGradients) -> dict[str, torch.Tensor]:
    return {"drives": record.drives} | {name: x for name, x in vars(found).items() if x is not None}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_filters_equal_the_operations_of_the_families(filters, case):
    drawn = case.drawn()
    mine, true = named(*filters.run(drawn)), by_operations(drawn)
    assert mine.keys() == true.keys()
    for name, value in mine.items():
        # rates below 1 and gradients of order 1: sums of at most 90 terms
        torch.testing.assert_close(value, true[name], rtol=1e-12, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("adaptive", [False, True])
def test_families_are_fed_by_the_engine(filters, adaptive):
    """A constant rate of a row, as families have it, lies in memory once; `both` gives what came in, too."""
    drawn = Case(steady=True, adaptive=adaptive, padded="rows").drawn().on(filters.device)
    f, device = drawn.filter, filters.device
    momentum = Momentum(constant(f.decay[:, 0, 0], 5), f.scale[:, None, None, None])
    filter_ = momentum if f.beta is None else Adaptive(momentum, constant(f.beta[:, 0, 0], 5))
    values = {"w_in": f.w_in, "b": f.bias, "b_rec": f.after}
    feeds = [
        filtered_feed(values, drawn.inputs, drawn.lengths, filter_, engine)
        for engine in (filters.engine, ReferenceEngine())
    ]
    assert feeds[0].both is not None
    torch.testing.assert_close(feeds[0].inputs, feeds[1].inputs, rtol=1e-12, atol=1e-12)
    mine, true = (feed.backward(drawn.g) for feed in feeds)
    torch.testing.assert_close(mine, true, rtol=1e-12, atol=1e-12)
    assert mine[0].keys() == values.keys()
    assert mine[1].device.type == torch.device(device).type


@pytest.mark.parametrize("case", CASES[:6], ids=str)
def test_filters_equal_the_cpu_engines(filters, case):
    cpu, drawn = CpuEngine(1), case.drawn()
    reason = cpu.refuses(ACTIVATIONS["tanh"], F64)
    if reason:
        pytest.skip(reason)
    record = cpu.filtered(drawn.inputs, drawn.filter, drawn.lengths)
    true = named(record, cpu.filtered_back(record, drawn.g, further=True))
    mine = named(*filters.run(drawn))
    assert mine.keys() == true.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, true[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", [Case(adaptive=True, padded="sequences", apart=True), Case(B=18)], ids=str)
def test_no_bit_of_a_row_depends_on_its_neighbours(filters, case):
    drawn, order = case.drawn(torch.float32), torch.tensor([2, 0, 1])
    together = named(*filters.run(drawn.rows(order), further=False))
    for place, row in enumerate(order.tolist()):
        alone = named(*filters.run(drawn.rows(torch.tensor([row])), further=False))
        assert alone.keys() == {"drives", "w_in", "bias", "after"}
        for name, value in alone.items():
            assert torch.equal(value[0], together[name][place]), name


@pytest.mark.parametrize("adaptive", [False, True])
def test_float32_is_as_exact_as_the_operations(filters, adaptive):
    """At most twice the error of the operations in float32, plus one ulp."""
    case = Case(T=30, adaptive=adaptive)
    exact, single = by_operations(case.drawn()), by_operations(case.drawn(torch.float32))
    mine = named(*filters.run(case.drawn(torch.float32)))
    for name, true in exact.items():
        size = true.abs().max()
        errors = [(found[name].double() - true).abs().max() / size for found in (mine, single)]
        assert errors[0] <= 2 * errors[1] + 1.2e-7, name


def test_what_is_not_finite_stays_in_its_entry(filters):
    drawn = Case(padded="rows").drawn()
    assert drawn.filter.bias is not None
    drawn.filter.bias[1, 4] = torch.inf
    mine = named(*filters.run(drawn, further=False))
    finite = torch.isfinite(mine["drives"])
    assert not finite[1, -1, :, 4].any()
    finite[1, -1, :, 4] = True  # of row 1 one step is its own
    assert finite.all()


def test_engines_say_that_they_run_filters(filters):
    assert isinstance(filters.engine, FilterEngine)


def test_what_is_refused(filters):
    drawn = Case().drawn()
    wide = replace(drawn.filter, decay=drawn.filter.decay.expand(P, 5, 2))
    with pytest.raises(ValueError, match="decay is given for 2 sequences"):
        filters.run(replace(drawn, filter=wide))
    with pytest.raises(ValueError, match=r"decay is \[3, 2, 1\]"):
        filters.run(replace(drawn, filter=replace(drawn.filter, decay=drawn.filter.decay[:, :2])))
    with pytest.raises(ValueError, match="w_in"):
        filters.run(replace(drawn, inputs=drawn.inputs[:2], lengths=drawn.lengths[:2]))
    with pytest.raises(TypeError, match="no fused loop"):
        filters.run(Case().drawn(torch.float16))
    there = Case(adaptive=True).drawn().on(filters.device)
    record = filters.engine.filtered(there.inputs, there.filter, there.lengths)
    with pytest.raises(ValueError, match="something kept"):
        filters.engine.filtered_back(replace(record, kept=None), there.g, further=False)
