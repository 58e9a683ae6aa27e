"""Sequences of a row with lengths of their own, on every engine: each is what it is alone, sums are over sequences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from rnnsweep.core.recurrence.base import Engine, NormRatio, TermEngine
from rnnsweep.core.sequence_lengths import own_steps
from rnnsweep.core.types import Direct
from tests.contract import test_described_engines as described
from tests.contract import test_engines as simple
from tests.contract import test_gated_engines as gated

F64 = torch.float64
LOOPS = ("h", "delta", "x", "g")
Case = simple.Case | gated.Case | described.Case


def differing(case: Case, seed: int = 0) -> Case:
    """The case with a length for every sequence, 1 and T among them; nothing is given before a sequence's start."""
    rng = torch.Generator().manual_seed(seed)
    case.lengths = torch.randint(1, case.T + 1, (case.P, case.B), generator=rng)
    case.lengths[0, 0], case.lengths[0, -1], case.lengths[1:] = case.T, 1, case.lengths[1:].clamp(max=case.T - 1)
    own = own_steps(case.lengths, case.T)[..., None]
    case.inputs = torch.where(own, case.inputs, torch.zeros_like(case.inputs))
    if case.direct.steps is not None:
        case.direct = Direct(steps=torch.where(own, case.direct.steps, torch.zeros_like(case.direct.steps)))
    return case


def alone(case: Case, p: int, b: int) -> Case:
    """Sequence b of row p, its own steps only, as a pack of one row and one sequence."""
    one = case.rows(slice(p, p + 1))
    length = int(case.lengths[p, b])
    steps, place = slice(case.T - length, None), slice(b, b + 1)
    one.P, one.T, one.B = 1, length, 1
    one.inputs, one.lengths = one.inputs[:, steps, place].contiguous(), torch.tensor([length])
    last, given = one.direct.last, one.direct.steps
    one.direct = Direct(
        None if last is None else last[:, place].contiguous(),
        None if given is None else given[:, steps, place].contiguous(),
    )
    return one


def results(case: Case, engine: Engine) -> dict[str, torch.Tensor]:
    return case.run(engine)[-1]


def check(case: Case, engine: Engine, same: Callable[[torch.Tensor, torch.Tensor, str], None]) -> None:
    """All of it against every sequence alone; `same` compares what the loops write, sums agree to rounding."""
    found = results(case, engine)
    total: dict[str, list[torch.Tensor]] = {}
    for p in range(case.P):
        for b in range(case.B):
            true, start = results(alone(case, p, b), engine), case.T - int(case.lengths[p, b])
            for name in LOOPS:
                same(found[name][p, start:, b], true[name][0, :, 0], name)
            assert (found["h"][p, : start + 1, b] == found["h"][p, 0, b]).all(), "states before a start"
            assert (found["delta"][p, :start, b] == 0).all(), "errors before a start"
            assert (found["x"][p, :start, b] == found["x"][p, start, b]).all(), "what reaches the first state"
            for name in set(true) - {*LOOPS, "inputs"}:
                total.setdefault(name, [torch.zeros_like(found[name][q]) for q in range(case.P)])
                total[name][p] = total[name][p] + true[name][0]
    for name, rows in total.items():
        simple.assert_close(found[name], torch.stack(rows), 1e-12, name)
    if "inputs" in found:
        idle = ~own_steps(case.lengths, case.T)
        assert (found["inputs"][idle] == 0).all(), "gradients of drives before a start"


def to_the_bit(mine: torch.Tensor, true: torch.Tensor, what: str) -> None:
    assert torch.equal(mine, true), what


def to_rounding(mine: torch.Tensor, true: torch.Tensor, what: str) -> None:
    simple.assert_close(mine, true, 1e-12, what)


def engine_of(name: str) -> tuple[Engine, Callable[..., None]]:
    """An engine of the simple cell, and how equal its loops are: products of the fused one do not depend on B."""
    return simple.usable(name), to_the_bit if name == "cpu" else to_rounding


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize(
    ("name", "leak", "driven"),
    [("tanh", 0, 1), ("tanh", 1, 0), ("modrelu", 1, 1), ("relu", 0, 1), ("oplu", 0, 0)],
)
def test_simple_cells(engine: str, name: str, leak: int, driven: int, steps: bool) -> None:
    found, same = engine_of(engine)
    case = simple.Case(name, (3, 9, 5, 6, 2), leak=bool(leak), steps=steps, driven=bool(driven), seed=1)
    check(differing(case), found, same)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("driven", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gated_cells(engine: str, cell: str, driven: bool, steps: bool) -> None:
    case = differing(gated.Case(cell, (3, 9, 5, 6, 2), steps=steps, driven=driven, wide=steps, seed=1))
    check(case, gated.build(engine, case), to_the_bit if engine == "cpu" else to_rounding)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("kind", list(described.KINDS))
@pytest.mark.parametrize("driven", [False, True])
@pytest.mark.parametrize("steps", [False, True])
def test_described_cells(engine: str, kind: str, driven: bool, steps: bool) -> None:
    case = differing(described.Case(kind, (2, 7, 3, 12, 2), steps=steps, driven=driven))
    check(case, described.build(engine, case), to_the_bit if engine == "cpu" else to_rounding)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_equal_lengths_per_sequence_are_a_length_per_row(engine: str) -> None:
    found, _ = engine_of(engine)
    case = simple.Case("tanh", (3, 7, 4, 6, 2), leak=True, steps=True)
    rows = results(case, found)
    case.lengths = case.lengths[:, None].expand(-1, case.B).contiguous()
    each = results(case, found)
    assert all(torch.equal(rows[name], each[name]) for name in rows)


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize(("squared", "mean"), [(True, False), (False, True)])
def test_a_term_taken_along_counts_own_steps_only(squared: bool, mean: bool, steps: bool) -> None:
    """Value times divisor and count of samples are sums over the sequences alone."""
    engine, _ = engine_of("cpu")
    assert isinstance(engine, TermEngine)
    case = differing(simple.Case("tanh", (3, 9, 5, 6, 2), steps=steps, seed=2))

    def term(one: simple.Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        record = engine.forward(one.inputs, one.weights, one.act, one.lengths)
        wanted = NormRatio(squared, mean, 1e-30)
        rows = torch.ones(len(one.lengths), dtype=torch.bool)
        _, _, found = engine.backward_with(record, one.direct, one.act, wanted, rows, keep=False)
        return found.value, found.share, found.w_rec

    value, share, w_rec = term(case)
    for p in range(case.P):
        parts = [term(alone(case, p, b)) for b in range(case.B)]
        lengths = case.lengths[p].double()
        counts = torch.stack([part[1][0] for part in parts]) * lengths
        simple.assert_close(share[p], counts.sum() / lengths.sum(), 1e-12, "share")
        # alone the divisor is the count of active samples where the mean is taken, else 1
        each = counts if mean else torch.ones_like(counts)
        divisor = counts.sum() if mean else torch.tensor(float(case.B), dtype=F64)
        simple.assert_close(
            value[p], sum(part[0][0] * n for part, n in zip(parts, each, strict=True)) / divisor, 1e-12, "value"
        )
        true = sum(part[2][0] * n for part, n in zip(parts, each, strict=True)) / divisor
        simple.assert_close(w_rec[p], true, 1e-12, "w_rec")


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_rows_with_sequences_of_their_own_are_strangers(engine: str) -> None:
    found, _ = engine_of(engine)
    case = differing(simple.Case("tanh", (4, 9, 5, 6, 2), leak=True, steps=True, dtype=torch.float32))
    whole = results(case, found)
    for p in range(case.P):
        row = results(case.rows(slice(p, p + 1)), found)
        assert all(torch.equal(row[name][0], whole[name][p]) for name in whole)


def test_lengths_of_another_shape_are_refused() -> None:
    engine, _ = engine_of("cpu")
    case = simple.Case("tanh")
    for wrong in (torch.ones(case.P, case.B + 1, dtype=torch.int64), torch.zeros(case.P, case.B, dtype=torch.int64)):
        with pytest.raises(ValueError, match="lengths"):
            engine.forward(case.inputs, case.weights, case.act, wrong)
