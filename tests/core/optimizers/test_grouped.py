"""Each group moves as under its own optimiser alone; a family without groups as under the main one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rnnsweep.core import optimizers
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.scurnn import Scurnn
from rnnsweep.core.optimizers import grouped
from rnnsweep.core.optimizers.adagrad import Adagrad
from rnnsweep.core.optimizers.adam import Adam
from rnnsweep.core.optimizers.grouped import Grouped
from rnnsweep.core.optimizers.rmsprop import RmsProp
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.pack import Pack
from rnnsweep.core.training import train_rung
from rnnsweep.core.types import ParameterLayout
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup

LAYOUT = ParameterLayout(Scurnn(hidden=4).parameters(3, 2))
GROUPS = {"skew": {"a_skew", "a_symmetric"}, "phase": {"theta"}}


def run(optimizer, hypers: dict[str, float], layout: ParameterLayout) -> dict[str, torch.Tensor]:
    """Parameters after five steps on random gradients."""
    generator = torch.Generator().manual_seed(0)
    hypers = optimizer.row_values() | hypers
    params = torch.zeros(2, layout.size, dtype=torch.float64)
    slots = {name: torch.zeros_like(params) for name in optimizer.slots}
    columns = {name: torch.full((2, 1), value, dtype=torch.float64) for name, value in hypers.items()}
    placed = optimizer.placed(columns, layout)
    for taken in range(5):
        gradient = torch.randn(2, layout.size, dtype=torch.float64, generator=generator)
        step, new = optimizer.propose(gradient, slots, placed, torch.full((2, 1), float(taken), dtype=torch.float64))
        slots |= new
        params = params + step
    return layout.view(params)


def defaults(unit, **changes: float) -> dict[str, float]:
    return {name: float(getattr(unit, name)) for name in unit.rows} | changes


def test_each_group_moves_as_under_its_own_optimiser():
    ours = run(Grouped(), {"lr": 0.01, "lr_skew": 0.002, "lr_phase": 0.3, "weight_decay": 0.0}, LAYOUT)
    adam = run(Adam(), defaults(Adam(), lr=0.01), LAYOUT)
    rmsprop = run(RmsProp(), defaults(RmsProp(), lr=0.002), LAYOUT)
    adagrad = run(Adagrad(), defaults(Adagrad(), lr=0.3), LAYOUT)
    for name, value in ours.items():
        want = rmsprop if name in GROUPS["skew"] else adagrad if name in GROUPS["phase"] else adam
        assert torch.equal(value, want[name]), name


def test_groups_with_the_same_kind_share_state_without_mixing():
    ours = run(Grouped(skew="adam", phase="adam"), {"lr": 0.01, "lr_skew": 0.002, "lr_phase": 0.3}, LAYOUT)
    for rate, names in ((0.002, GROUPS["skew"]), (0.3, GROUPS["phase"])):
        alone = run(Adam(), defaults(Adam(), lr=rate), LAYOUT)
        assert all(torch.equal(ours[name], alone[name]) for name in names)


def test_a_family_without_groups_trains_as_with_the_main_optimiser():
    grouped = Setup(family=Lstm(hidden=5), optimizer=Grouped()).pack([0], optimizer__lr=0.01)
    adam = Setup(family=Lstm(hidden=5), optimizer=Adam()).pack([0], optimizer__lr=0.01)
    for pack in (grouped, adam):
        train_rung(pack, 4, 1)
    assert torch.equal(grouped.params, adam.params)


def test_settings_of_a_group_are_those_of_its_optimiser():
    skew = {"alpha": 0.6, "momentum": 0.7, "initial": 1.0}
    settings = {"main": {"beta1": 0.5, "epsilon": 1e-3}, "skew": skew, "phase": {"initial": 0.1}}
    ours = run(Grouped(settings=settings), {}, LAYOUT)
    adam = run(Adam(), {"lr": 0.001, "beta1": 0.5, "epsilon": 1e-3}, LAYOUT)
    rmsprop = run(RmsProp(), {"lr": 0.0001} | skew, LAYOUT)
    adagrad = run(Adagrad(), {"lr": 0.001, "initial": 0.1}, LAYOUT)
    for name, value in ours.items():
        want = rmsprop if name in GROUPS["skew"] else adagrad if name in GROUPS["phase"] else adam
        assert torch.equal(value, want[name]), name


def test_tensorflows_rmsprop_has_epsilon_under_the_root():
    settings = {"skew": {"alpha": 0.9, "initial": 1.0, "epsilon": 1e-3}}
    ours = run(Grouped(skew="rmsprop_inside", settings=settings), {}, LAYOUT)
    alone = run(RmsProp(epsilon_inside=True), {"lr": 0.0001} | settings["skew"], LAYOUT)
    assert all(torch.equal(ours[name], alone[name]) for name in GROUPS["skew"])
    outside = run(RmsProp(), {"lr": 0.0001} | settings["skew"], LAYOUT)
    assert not any(torch.equal(ours[name], outside[name]) for name in GROUPS["skew"])


def test_nesterov_looks_ahead():
    settings = {"main": {"momentum": 0.9}}
    ours = run(
        Grouped(main="nesterov", settings=settings), {"lr": 0.1}, ParameterLayout(Lstm(hidden=2).parameters(3, 2))
    )
    sgd = run(Sgd(nesterov=True), {"lr": 0.1, "momentum": 0.9}, ParameterLayout(Lstm(hidden=2).parameters(3, 2)))
    assert all(torch.equal(value, sgd[name]) for name, value in ours.items())


def test_rows_of_a_pack_may_differ_in_settings():
    def trained(*momenta: float) -> torch.Tensor:
        setup, key = Setup(family=Scurnn(hidden=4), optimizer=Grouped(main="sgd")), "optimizer.settings.main.momentum"
        pack = Pack(setup.program())
        members = [replace(setup.member(0), hypers=setup.hypers() | {key: momentum}) for momentum in momenta]
        pack.join([(member, setup.state(pack.program, 0)) for member in members])
        train_rung(pack, 3, 1)
        return pack.params

    both, first, second = trained(0.0, 0.9), trained(0.0), trained(0.9)
    assert torch.equal(both, torch.cat((first, second)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("kind", "settings", "key", "allowed"),
    [
        (
            "adam",
            {"main": {"momentum": 0.9}},
            "main.momentum",
            "null, one of beta1, beta2, epsilon, or optimizer.main=",
        ),
        ("sgd", {"main": {"beta1": 0.9}}, "main.beta1", "optimizer.main=adam"),
        ("sgd", {"main": {"momentum": 1.0}}, "main.momentum", "a number >= 0 and < 1"),
        ("sgd", {"main": {"nesterov": True}}, "main.nesterov", "momentum"),
        ("sgd", {"rest": {}}, "rest", "skew"),
    ],
)
def test_settings_that_an_optimiser_lacks_are_refused(kind, settings, key, allowed):
    with pytest.raises(ConfigError) as caught:
        Grouped(main=kind, settings=settings)
    assert caught.value.key == f"optimizer.settings.{key}"
    assert allowed in str(caught.value)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_decay_leaves_the_groups_alone(decay):
    hypers = {"lr": 0.01, "lr_skew": 0.002, "lr_phase": 0.3, "weight_decay": decay}
    unit = Grouped()
    hypers = unit.row_values() | hypers
    columns = {name: torch.full((2, 1), value, dtype=torch.float64) for name, value in hypers.items()}
    params = torch.ones(2, LAYOUT.size, dtype=torch.float64)
    step = LAYOUT.view(unit.decay(torch.zeros_like(params), params, unit.placed(columns, LAYOUT)))
    moved = {name for name, value in step.items() if bool((value != 0).any())}
    assert moved == (set(step) - GROUPS["skew"] - GROUPS["phase"] if decay else set())


def test_an_optimizer_offers_itself_for_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One module in the package, and no edit elsewhere; a subclass is offered only if it says so itself."""
    (tmp_path / "halving.py").write_text(
        "from rnnsweep.core.optimizers.sgd import Sgd\n\n"
        'class Halving(Sgd):\n    inner = {"halving": {"lr": 0.5}}\n\n'
        "class Silent(Sgd):\n    pass\n"
    )
    before = grouped.offered()
    assert [*before] == ["adagrad", "adam", "rmsprop", "rmsprop_inside", "sgd", "nesterov"]
    assert before["nesterov"] == Sgd(nesterov=True)
    monkeypatch.setattr(optimizers, "__path__", [*optimizers.__path__, str(tmp_path)])
    found = grouped.offered()
    monkeypatch.delitem(sys.modules, f"{optimizers.__name__}.halving")
    assert found.keys() - before.keys() == {"halving"}
    assert found["halving"].row_values()["lr"] == 0.5
