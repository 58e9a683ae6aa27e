"""Row independence and interruption, for every family, controller, optimiser and CPU engine that exists.

Units are found through their yamls in rnnsweep/conf, so that a later unit joins this suite by existing.
"""

from __future__ import annotations

import importlib
import math
import re
from typing import Any

import pytest
import torch
import yaml

from rnnsweep.adapters.hydra.ranges import dimension
from rnnsweep.adapters.hydra.search import packaged_configs
from rnnsweep.core.checkpoint import CheckpointStore
from rnnsweep.core.controllers.clip import GlobalNormClip
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.families.srn_feedback import SrnFeedback
from rnnsweep.core.learners.hessian_free import HessianFree
from rnnsweep.core.metrics.names import METRICS
from rnnsweep.core.pack import Pack
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.memorization import Memorization
from rnnsweep.core.tasks.periodic_output import PeriodicOutput
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import train_rung
from rnnsweep.core.types import Capability, RowStatus
from tests.kit.networks import Setup, assert_same_row

CONF, _ = packaged_configs()
RUNG = 2


def found(folder: str) -> list[tuple[str, type, dict]]:
    """(name, class, yaml) of every unit of one kind."""
    units = []
    for path in sorted((CONF / folder).glob("*.yaml")):
        block = yaml.safe_load(path.read_text())
        module, _, name = block["_target_"].rpartition(".")
        units.append((path.stem, getattr(importlib.import_module(module), name), block))
    return units


def values_of(block: dict, field: str) -> list[float]:
    """Two values of a per-row field that switch the unit on: from its default search range."""
    dim = dimension(field, block["_search_"][field], "test")
    if dim.choices:
        numbers = [float(choice) for choice in dim.choices if math.isfinite(float(choice)) and float(choice) != 0]
        return [numbers[0], numbers[-1]]
    return [float(dim.low), float(dim.high)]


def family_cases(name: str, cls: type, block: dict) -> list[tuple[str, Setup, dict[str, list[float]]]]:
    """Every activation; leaky; families beyond the simple one with Omega, and with their own hyperparameters mixed."""
    if name == "srn":
        cases = [(f"{name}-{act}", Setup(family=cls(10, act)), {}) for act in cls.fixed["activation"]]
        return [*cases, (f"{name}-leaky", Setup(family=cls(hidden=10, leak=0.5)), {"family__leak": [0.3, 0.9]})]
    fields = {f"family__{f}": values_of(block, f) for f in cls.rows if f in block.get("_search_", {})}
    controllers = {"clip": GlobalNormClip()}
    if Capability.RECURRENT in cls.capabilities:
        controllers["omega"] = Omega()
        fields["controllers__omega__weight"] = [2.0, 0.0]
    forms = [(name, {}), *((f"{name}-{'-'.join(form)}", form) for form in FORMS.get(name, ()))]
    return [(label, Setup(family=cls(hidden=10, **form), controllers=controllers), fields) for label, form in forms]


FORMS: dict[str, tuple[dict[str, Any], ...]] = {
    "antisymmetric": ({"gated": True},),
    "linoss": ({"scheme": "im"},),
    "slstm": ({"heads": 5, "forget_gate": "exp"},),
    "mlstm": ({"heads": 5, "forget_gate": "exp"},),
}
"""Further forms of a family that are other tensor programs."""


LEARNERS = {
    "hessian_free": {"learner": HessianFree(iterations=2)},
    "teacher_forcing": {"family": SrnFeedback(hidden=10), "task": PeriodicOutput(length=12)},
}
"""What a learning rule needs that the default companions do not have, or to be quick."""


def unit_cases() -> list[tuple[str, Setup, dict[str, list[float]]]]:
    """Every unit by itself beside default companions: (label, setup, per-row values to mix in a pack)."""
    cases = []
    for name, cls, block in found("family"):
        cases += family_cases(name, cls, block)
    for name, cls, block in found("optimizer"):
        fields = {f"optimizer__{f}": values_of(block, f) for f in cls.rows if f in block.get("_search_", {})}
        cases.append((name, Setup(optimizer=cls()), fields))
    for name, cls, block in found("learner"):
        fields = {f"learner__{f}": values_of(block, f) for f in cls.rows if f in block.get("_search_", {})}
        cases.append((f"learner-{name}", Setup(**{"learner": cls(), **LEARNERS.get(name, {})}), fields))
    for name, cls, block in found("controllers"):
        fields = {f"controllers__{name}__{f}": values_of(block, f) for f in cls.rows if f in block.get("_search_", {})}
        if name == "sampling":
            fields = {"controllers__sampling__q_min": [-1.0, -0.2], "controllers__sampling__q_max": [0.3, 1.0]}
        cases.append((name, Setup(controllers={name: cls()}), fields))
    random_length = Setup(task=TemporalOrder(length=(10, 16)), controllers={n: c() for n, c, _ in found("controllers")})
    everything = {"controllers__omega__weight": [2.0, 0.0], "controllers__sampling__q_max": [0.4, 1.0]}
    cases.append(("everything", random_length, everything))
    cases.append(("regression", Setup(task=Adding(length=12), batch=7), {}))
    for name, cls, _ in found("readout"):
        cases.append((name, Setup(family=Srn(hidden=10), readout=cls(), task=TemporalOrder(length=(10, 16))), {}))
        cases.append(
            (f"{name}-every-step", Setup(family=Srn(hidden=10), readout=cls(), task=Memorization(length=4)), {})
        )
    return cases


CASES = unit_cases()
WIDE = 9


def mixed(fields: dict[str, list[float]], index: int) -> dict[str, float]:
    """Row `index` takes the first, second, first, ... value of every field."""
    return {key: values[index % 2] for key, values in fields.items()}


def with_engine(setup: Setup, engine: str, dtype: torch.dtype) -> Setup:
    return Setup(**{**setup.__dict__, "engine": engine, "dtype": dtype})


def wide_pack(setup: Setup, fields: dict[str, list[float]], rows: int = WIDE) -> Pack:
    program = setup.program()
    pack = Pack(program)
    pack.join([(setup.member(i, **mixed(fields, i)), setup.state(program, i)) for i in range(rows)])
    return pack


def lone_pack(setup: Setup, fields: dict[str, list[float]], index: int) -> Pack:
    program = setup.program()
    pack = Pack(program)
    pack.join([(setup.member(index, **mixed(fields, index)), setup.state(program, index))])
    return pack


ENGINES = [("reference", torch.float64), ("cpu", torch.float64), ("cpu", torch.float32), ("reference", torch.float32)]
ENGINES_OF_CELLS = [("reference", torch.float64), ("reference", torch.float32)]


def engines_of(setup: Setup) -> list[tuple[str, torch.dtype]]:
    cell = setup.family.cell
    return ENGINES if cell is None or "cpu" in vars(type(cell)).get("fused", {}) else ENGINES_OF_CELLS


FAMILIES = {label for found_one in found("family") for label, *_ in family_cases(*found_one)}


def chosen(index: int, label: str, engines: list[tuple[str, torch.dtype]]) -> set[tuple[str, torch.dtype]]:
    """Every unit as users train, in float32 on the fastest engine, and in float64 on the reference.

    A fused loop is compiled once per element type, so a family has the other one too; every fifth unit has all four.
    """
    rest = engines if index % 5 == 0 else engines[:2] if label in FAMILIES else engines[:1]
    return {engines[-2] if len(engines) == 4 else engines[-1], *rest}


ALL = [
    pytest.param(with_engine(setup, engine, dtype), fields, id=f"{label}-{engine}-{str(dtype)[6:]}", marks=marks)
    for index, (label, setup, fields) in enumerate(CASES)
    for engines in [engines_of(setup)]
    for engine, dtype in engines
    for quick in [pytest.mark.slow if dtype == torch.float64 else ()]
    for marks in [quick if (engine, dtype) in chosen(index, label, engines) else pytest.mark.study]
]


@pytest.mark.parametrize(("setup", "fields"), ALL)
def test_a_row_is_the_same_alone_late_moved_and_interrupted(setup, fields, tmp_path):
    """Alone = in a pack = joining a running pack late = moved by its checkpoint, metrics included, bit for bit."""
    row = 4
    lone = lone_pack(setup, fields, row)
    curves = [train_rung(lone, RUNG, 1)[0] for _ in range(3)]
    units = (setup.family, setup.task, setup.learner, setup.optimizer, setup.readout, *setup.controllers.values())
    declared = {key for unit in units for key in unit.metrics}
    layers = r"\.[1-9]$" if setup.family.nested else r"$^"  # each layer's own
    assert {re.sub(layers, "", key) for curve in curves for key in curve} <= {*METRICS, *declared}, (
        "what is reported is declared"
    )
    want = lone.row(0)

    pack = wide_pack(setup, fields)
    packed = [train_rung(pack, RUNG, 1)[row] for _ in range(3)]
    assert packed == curves
    assert_same_row(pack.row(row), want)

    late = wide_pack(setup, fields, rows=3)
    train_rung(late, RUNG, 1)
    late.join([(setup.member(row, **mixed(fields, row)), setup.state(late.program, row))])
    moved_curve = [train_rung(late, RUNG, 1)[3]]
    store = CheckpointStore(str(tmp_path))
    store.save(store.folder(0, row, "a"), late.row(3), {})
    saved = store.newest([store.folder(0, row, "a")])
    assert saved is not None
    assert_same_row(saved.state, late.row(3))
    other = wide_pack(setup, fields, rows=2)
    other.join([(setup.member(row, **mixed(fields, row)), saved.state)])
    moved_curve += [train_rung(other, RUNG, 1)[2] for _ in range(2)]
    assert moved_curve == curves
    assert_same_row(other.row(2), want)


@pytest.mark.parametrize(("setup", "fields"), ALL)
def test_permuting_rows_permutes_results_and_a_broken_row_harms_nobody(setup, fields):
    pack = wide_pack(setup, fields, rows=5)
    program = setup.program()
    shuffled = Pack(program)
    order = [3, 0, 4, 1, 2]
    shuffled.join([(setup.member(i, **mixed(fields, i)), setup.state(program, i)) for i in order])
    broken = setup.state(program, 9)
    next(iter(broken.params.values())).fill_(math.nan)
    shuffled.join([(setup.member(9, **mixed(fields, 9)), broken)])
    plain, mix = train_rung(pack, RUNG, 1), train_rung(shuffled, RUNG, 1)
    assert shuffled.status.tolist()[5] == RowStatus.DIVERGED
    for place, row in enumerate(order):
        assert mix[place] == plain[row]
        assert_same_row(shuffled.row(place), pack.row(row))


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_a_pack_of_64_equals_its_rows(engine):
    setup = with_engine(Setup(), engine, torch.float32)
    pack = wide_pack(setup, {}, rows=64)
    results = train_rung(pack, RUNG, 1)
    for row in (0, 17, 63):
        lone = lone_pack(setup, {}, row)
        assert train_rung(lone, RUNG, 1)[0] == results[row]
        assert_same_row(lone.row(0), pack.row(row))


def test_rung_length_and_evaluation_do_not_change_training():
    setup = Setup()
    packs = [setup.pack([0, 1]) for _ in range(3)]
    for every, (rung, evaluate) in zip(packs, ((2, 1), (6, 1), (3, 99)), strict=True):
        while int(every.step[0]) < 12:
            train_rung(every, rung, evaluate)
    more = Setup(eval_size=64).pack([0, 1])
    while int(more.step[0]) < 12:
        train_rung(more, 4, 1)
    for pack in (*packs[1:], more):
        assert torch.equal(pack.params, packs[0].params)


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_reports_do_not_depend_on_what_neighbours_have_switched_on_or_left_to_train(engine):
    """A row without controllers, whose budget ends within a rung, among rows with controllers and more to do."""
    setup = with_engine(Setup(controllers={n: c() for n, c, _ in found("controllers")}), engine, torch.float64)
    off = {"controllers__omega__weight": 0.0, "controllers__sampling__q_max": math.inf}
    on = {"controllers__omega__weight": 2.0, "controllers__sampling__q_max": 0.4}
    program = setup.program()
    alone, among = Pack(program), Pack(program)
    alone.join([(setup.member(0, 2 * RUNG - 1, **off), setup.state(program, 0))])
    among.join([(setup.member(i, 9 * RUNG, **on), setup.state(program, i)) for i in (1, 2)])
    among.join([(setup.member(0, 2 * RUNG - 1, **off), setup.state(program, 0))])
    curves = [train_rung(alone, RUNG, 1)[0] for _ in range(2)]
    assert [train_rung(among, RUNG, 1)[2] for _ in range(2)] == curves
    assert "omega/value" not in curves[0]
    assert "state/saturation" in curves[1]
    assert_same_row(among.row(2), alone.row(0))
