"""What an init says about a gate's bias is what acts on the gate, at every step, whatever lies on the input path."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rnnsweep.core import families as package
from rnnsweep.core import rng
from rnnsweep.core.families.base import Family
from rnnsweep.core.families.filtered_lstm import FilteredLstm
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.mlstm import Mlstm
from rnnsweep.core.families.slstm import Slstm
from rnnsweep.core.inits.chrono import Chrono
from rnnsweep.core.pack import RowSnapshot
from rnnsweep.core.recurrence.exponential_gates import MatrixMemoryCell, ScalarMemoryCell
from rnnsweep.core.recurrence.reference import ReferenceEngine
from tests.kit.networks import Setup
from tests.kit.units import concrete

H, STEPS = 6, 9
KEYS = torch.tensor([rng.key(7, 0, "init")])
KEPT = [unit for unit in concrete(package, Family) if any("keep" in spec.gates for spec in unit().parameters(1, 1))]
FORGETFUL = [unit for unit in KEPT if issubclass(unit, Lstm)]


def engines(family: Family) -> list[str]:
    return ["reference", "cpu"] if "cpu" in vars(type(family.cell)).get("fused", {}) else ["reference"]


def kept(family: Family, values: dict[str, torch.Tensor], engine: str, inputs: float = 0.0) -> torch.Tensor:
    """Share of its memory [STEPS, H] that each unit keeps at each step: weights 0, so that h and the candidate are 0.

    The memory c (the GRU's h) starts at 1; with nothing written to it c_t / c_{t-1} is the gate, whatever the cell.
    Of exponential gates the state has c e^-m, and a normaliser that says that something is there.
    """
    setup = Setup(family=family, engine=engine)
    program = setup.program()
    params = {
        spec.name: values[spec.name][0] if spec.role == "bias" and spec.name in values else torch.zeros(spec.shape)
        for spec in program.layout.specs
    }
    pack = setup.pack([])
    pack.join([(setup.member(0), RowSnapshot({name: value.double() for name, value in params.items()}))])
    row = program.layout.view(pack.params)
    hypers = {name: pack.hypers[f"family.{name}"] for name in family.rows}
    batch, lengths = torch.full((1, STEPS, 2, 6), inputs, dtype=torch.float64), torch.tensor([STEPS])
    cell = family.cell
    assert cell is not None
    first = H if cell.state > H else 0  # c follows h where there is one
    start = torch.zeros(1, cell.state, dtype=torch.float64)
    start[:, first : first + H] = 1
    stabilised = isinstance(cell, ScalarMemoryCell | MatrixMemoryCell)
    if stabilised:
        start[:, 2 * H : 3 * H] = 1
    weights = replace(family.weights(row, hypers), h0=start)
    feed = family.feed(row, hypers, batch, lengths, ReferenceEngine())
    record = program.engine.forward(feed.inputs, weights, program.activation, lengths)
    record = record.whole()
    memory = record.h[0, :, 0, first : first + H]
    if stabilised:
        memory = memory * record.h[0, :, 0, -H:].exp()
    return memory[1:] / memory[:-1]


def test_all_families_with_a_forget_bias_are_here():
    names = {unit.__name__ for unit in FORGETFUL}
    assert names >= {"Lstm", "MomentumLstm", "AdamLstm", "RmspropLstm", "NesterovLstm", "NesterovLstmDiff"}


@pytest.mark.parametrize("value", [-4.0, 1.0, 2.5])
@pytest.mark.parametrize("unit", FORGETFUL)
def test_the_forget_gate_is_the_sigmoid_of_its_bias_at_every_step(unit, value):
    family = unit(hidden=H, forget_bias=value)
    want = torch.full((STEPS, H), value, dtype=torch.float64).sigmoid()
    for engine in engines(family):
        found = kept(family, family.initial({}, (), KEYS), engine)
        torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("unit", KEPT)
def test_chrono_spreads_the_time_constants_that_it_says(unit):
    """1 / (1 - gate) would be U(2, longest): the gate is the sigmoid of log U(1, longest - 1)."""
    family = unit(hidden=H, heads=H) if hasattr(unit, "heads") else unit(hidden=H)  # a gate for each unit
    specs = family.parameters(6, 4)
    drawn = Chrono().draw(specs, KEYS, {"longest": torch.tensor([40.0], dtype=torch.float64)}, 1.0)
    drawn |= family.initial(drawn, specs, KEYS)
    (gates,) = (spec for spec in specs if spec.gates)
    keep = gates.gates.index("keep")
    want = drawn[gates.name][0, keep * H : (keep + 1) * H].sigmoid()
    assert 0.5 <= float(want.min()) < float(want.max()) <= 1 - 1 / 40
    for engine in engines(family):
        found = kept(family, drawn, engine)
        torch.testing.assert_close(found, want.expand(STEPS, H), rtol=1e-12, atol=1e-12)


FILTERED = [
    # The filtered path's own forget bias 1 at step t, with the other at 0.
    ("MomentumLstm", {"mu": 0.5, "s": 0.6}, [0.6 * (1 - 0.5**t) / 0.5 for t in range(1, STEPS + 1)]),
    ("RmspropLstm", {"s": 0.6, "beta": 0.9}, [0.6 / (1 - 0.9**t) ** 0.5 for t in range(1, STEPS + 1)]),
    ("NesterovLstm", {"s": 0.6, "restart": 1}, [0.6] * STEPS),
    ("NesterovLstmDiff", {"s": 0.6, "restart": 3}, [-0.6] * STEPS),
]


@pytest.mark.parametrize(("name", "own", "drives"), FILTERED)
def test_the_other_bias_goes_through_the_filter(name, own, drives):
    unit = next(unit for unit in FORGETFUL if unit.__name__ == name)
    family = unit(hidden=H, forget_bias=0.5, forget_bias_in=1.0, **own)
    want = (0.5 + torch.tensor(drives, dtype=torch.float64)).sigmoid()[:, None].expand(STEPS, H)
    found = kept(family, family.initial({}, (), KEYS), "reference")
    torch.testing.assert_close(found, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("unit", [unit for unit in FORGETFUL if issubclass(unit, FilteredLstm)])
def test_an_init_of_gate_biases_is_left_alone(unit):
    assert unit(hidden=2).initial({"b_rec": torch.ones(1, 8)}, (), KEYS) == {}


@pytest.mark.parametrize("unit", [Slstm, Mlstm])
def test_an_exponential_forget_gate_has_no_time_constant_for_an_init_to_spread(unit):
    assert any(spec.remembers for spec in unit().parameters(6, 4))
    assert not any(spec.remembers for spec in unit(forget_gate="exp").parameters(6, 4))


@pytest.mark.parametrize(("unit", "name"), [(Slstm, "b"), (Mlstm, "b_gates")])
def test_the_forget_bias_of_exponential_gates_is_the_forget_gates(unit, name):
    family = unit(hidden=H, heads=H, forget_bias=-1.5)
    for engine in engines(family):
        found = kept(family, family.initial({}, (), KEYS), engine)
        want = torch.full((STEPS, H), -1.5, dtype=torch.float64).sigmoid()
        torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)
    assert family.initial({name: torch.ones(1, 4 * H)}, (), KEYS) == {}
