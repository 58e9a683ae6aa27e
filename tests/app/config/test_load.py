"""Loading sweeps: composition, searched families, the user's directories, stores, and what `resume` may change."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rnnsweep.app.config.load import amend, from_json, list_sweeps, list_units, load, to_json
from rnnsweep.app.config.point import Variant, resolve_point, without_passwords
from rnnsweep.core.build import build_units, row_hypers, shape_key
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.space import Dimension


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RNNSWEEP_STORE", raising=False)
    monkeypatch.delenv("RNNSWEEP_CONFIG_DIR", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))


def quick(*overrides, **more):
    return load("quickstart", overrides, check_units=False, **more)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip())
    return path


def test_quickstart_searches_all_four_kinds():
    config = load("quickstart")
    assert {"controllers.clip.threshold", "controllers.omega.weight", "init.sigma"} < set(config.plan.space.keys)
    assert {"controllers.sampling.q_min", "controllers.sampling.q_max"} < set(config.plan.space.keys)
    weights = next(dim for dim in config.plan.space if dim.key == "controllers.omega.weight").choices
    assert 0 in weights, "some trials go without"
    assert config.plan.worst["valid/loss"] == pytest.approx(10 * math.log(4))  # temporal order: chance is ln 4
    assert config.plan.objectives[0].worst == 1.0
    assert config.plan.config == config.resolved


@pytest.mark.parametrize("name", [name for name, _, _ in list_sweeps()])
def test_every_packaged_sweep_loads_and_says_what_it_is(name):
    config = load(name)
    assert config.plan.name == name
    assert config.description
    for dimension in config.plan.space:
        beside = {key: values[0] for key, values in dimension.when.items()}
        point = {**beside, dimension.key: (dimension.choices or (dimension.low,))[0]}
        assert isinstance(resolve_point(config.variants, point), dict)


def test_settings_of_inner_optimisers_are_searched_where_they_exist(tmp_path):
    sweep = write(
        tmp_path / "mine.yaml",
        """
        defaults: [config, override /optimizer: grouped, _self_]
        space:
          optimizer.main: choice(adam, sgd)
          optimizer.settings.main.momentum: {search: "interval(0, 0.9)", when: {optimizer.main: [sgd]}}
        """,
    )
    config = load(str(sweep))
    assert config.plan.space.dimensions[1].when == {"optimizer.main": ("sgd",)}
    point = resolve_point(config.variants, {"optimizer.main": "sgd", "optimizer.settings.main.momentum": 0.7})
    units = build_units(point)
    assert row_hypers(units)["optimizer.settings.main.momentum"] == 0.7
    assert row_hypers(units)["optimizer.settings.skew.alpha"] == 0.99, "the inner optimiser's own default"
    near = resolve_point(config.variants, {"optimizer.main": "sgd", "optimizer.settings.main.momentum": 0.1})
    other = build_units(near)
    assert shape_key(point, units) == shape_key(near, other), "values are per row"


def test_a_config_survives_the_ledger_without_its_files():
    for config in (quick(), quick("init=choice(normal,glorot)", "init.gain=default")):
        assert from_json(json.loads(json.dumps(to_json(config)))) == config


def test_from_json_refuses_another_format():
    with pytest.raises(ConfigError, match="another version"):
        from_json({"version": 99})


def test_a_fixed_key_is_no_longer_searched():
    config = quick("init.sigma=0.2", "~space.controllers.omega.weight")
    assert "init.sigma" not in config.plan.space.keys
    assert "controllers.omega.weight" not in config.plan.space.keys
    assert config.resolved["init"]["sigma"] == 0.2


def test_the_whole_space_can_be_replaced_or_emptied():
    assert quick("space={}").plan.space.keys == ()
    config = quick("space={optimizer.lr: default, init.sigma: 'interval(0.1, 0.2)'}")
    assert config.plan.space.keys == ("optimizer.lr", "init.sigma")


def test_default_takes_the_units_own_range():
    for typed in ("optimizer.lr=default", "space.optimizer.lr=default"):
        assert quick(typed).plan.space.dimensions[-1] == Dimension("optimizer.lr", "float", 1e-4, 0.1, log=True)


def test_controllers_come_and_go_with_what_is_said_about_them():
    config = quick("~controllers.omega", "+controllers=l2", "controllers.l2.weight=default")
    assert list(config.resolved["controllers"]) == ["clip", "sampling", "l2"]
    assert "controllers.omega.weight" not in config.plan.space.keys
    assert "controllers.l2.weight" in config.plan.space.keys
    assert list(quick("controllers=[clip]").resolved["controllers"]) == ["clip"]


def test_searched_families_compose_once_each():
    config = load("quickstart", ["init=choice(normal,glorot)", "init.gain=tag(log,interval(0.5,2))"])
    assert [dict(variant.groups) for variant in config.variants] == [{"init": "normal"}, {"init": "glorot"}]
    by_key = {dim.key: dim for dim in config.plan.space}
    assert by_key["init"].choices == ("normal", "glorot")
    assert by_key["init.sigma"].when == {"init": ("normal",)}
    assert by_key["init.gain"].when == {"init": ("glorot",)}
    assert list(by_key).index("init") < list(by_key).index("init.sigma"), "parents come first"
    point = resolve_point(config.variants, {"init": "glorot", "init.gain": 1.5})
    assert point["init"]["_target_"] == "rnnsweep.core.inits.glorot.Glorot"
    assert point["init"]["gain"] == 1.5


def test_conditions_on_what_is_not_searched_are_settled():
    space = "space={init.sigma: {low: 0.1, high: 1, when: {init: [%s]}}}"
    assert quick(space % "glorot").plan.space.keys == ()
    assert quick(space % "normal").plan.space.dimensions == (Dimension("init.sigma", "float", 0.1, 1.0),)
    with pytest.raises(ConfigError, match="unknown key in a condition"):
        quick("space={init.sigma: {low: 0.1, high: 1, when: {inti: [normal]}}}")
    one = "init.sigma: {low: 1, high: 2, when: {optimizer.lr: [1]}}"
    two = "optimizer.lr: {low: 1, high: 2, when: {init.sigma: [1]}}"
    with pytest.raises(ConfigError, match="circle"):
        quick(f"space={{{one}, {two}}}")


def test_stores_default_below_the_root(tmp_path, monkeypatch):
    assert quick().store.root == tmp_path / "mlruns"
    monkeypatch.setenv("RNNSWEEP_STORE", "elsewhere")
    assert quick().store.ledger == f"sqlite:///{tmp_path}/elsewhere/ledger.db"
    store = quick("store.optuna=none", "store.mlflow='http://127.0.0.1:5000'", store=Path("mine")).store
    assert store.root == tmp_path / "mine"
    assert (store.optuna, store.artifacts, store.checkpoints) == (None, None, f"{tmp_path}/mine/checkpoints")


def test_several_objectives_and_enqueued_points():
    objectives = "objective=[{metric: valid/error}, {metric: solved_at, goal: minimize, reduce: median}]"
    config = quick(objectives, "sampler.enqueue=[{init.sigma: 0.1}]")
    assert [objective.worst for objective in config.plan.objectives] == [1.0, 6000.0]
    assert config.plan.enqueue == ({"init.sigma": 0.1},)
    assert "enqueue" not in config.sampler
    with pytest.raises(ConfigError, match="not searched"):
        quick("sampler.enqueue=[{optimizer.lr: 0.1}]")
    with pytest.raises(ConfigError, match=r"sampler\.enqueue\.0"):
        load("quickstart", ["sampler.enqueue=[{init.sigma: -1}]"])


def test_resume_may_change_the_budget_only():
    config = amend(quick(), ["budget.trials=48", "budget.updates=8000"])
    assert (config.plan.budget.trials, config.plan.worst["solved_at"]) == (48, 8000.0)
    assert from_json(to_json(config)) == config
    with pytest.raises(ConfigError, match="cannot be changed on resume"):
        amend(quick(), ["optimizer.lr=1"])
    with pytest.raises(ConfigError, match=r"budget\.trials=0: out of range"):
        amend(quick(), ["budget.trials=0"])


def test_the_users_directories_shadow_and_extend(tmp_path, monkeypatch):
    write(tmp_path / "mine/controllers/noisy.yaml", """
        _target_: mine_package.Noisy
        weight: 0.0 # share of noise
        _search_: {weight: "interval(0, 1)"}
        """)  # fmt: skip
    write(tmp_path / "mine/optimizer/sgd.yaml", "_target_: rnnsweep.core.optimizers.sgd.Sgd\nlr: 0.5\n")
    write(tmp_path / "mine/sweeps/digits.yaml", "# Mine.\ndefaults: [quickstart]\nspace: {optimizer.lr: null}\n")
    write(tmp_path / "mine_package.py", """
        from dataclasses import dataclass
        from rnnsweep.core.controllers.l2 import L2

        @dataclass(frozen=True)
        class Noisy(L2):
            pass
        """)  # fmt: skip
    monkeypatch.setenv("RNNSWEEP_CONFIG_DIR", str(tmp_path / "mine"))
    config = load("digits", ["+controllers=noisy", "controllers.noisy.weight=default"])
    assert config.source == str(tmp_path / "mine/sweeps/digits.yaml")
    assert config.description == "Mine."
    assert config.resolved["optimizer"]["lr"] == 0.01, "the inherited sweep's own value wins over the unit's"
    assert config.resolved["controllers"]["noisy"]["weight"] == 0.0
    assert "controllers.noisy.weight" in config.plan.space.keys
    assert config.cluster.py_paths == (str(tmp_path / "mine"), str(tmp_path))
    assert "noisy" in list_units()["controllers"]
    with pytest.raises(ConfigError) as caught:
        load("digits", ["+controllers=noisy", "controllers.noisy.weight=interval(-1,1)"])
    assert "controllers.noisy.weight=-1.0" in str(caught.value)


def test_a_units_own_file_is_named_where_it_is_wrong(tmp_path):
    file = write(
        tmp_path / "conf/optimizer/mine.yaml", "_target_: rnnsweep.core.optimizers.sgd.Sgd\nlr: 0.1\nmomentum: 2\n"
    )
    with pytest.raises(ConfigError) as caught:
        load("quickstart", ["optimizer=mine"])
    assert str(caught.value).startswith(f"{file}: optimizer.momentum=2")


def test_another_programs_conf_folder_does_no_harm(tmp_path):
    write(tmp_path / "conf/config.yaml", "defaults: [db: mysql]\nuser: root\n")
    assert quick().plan.name == "quickstart"
    assert "user" not in quick().resolved


def test_a_path_is_a_sweep(tmp_path):
    file = write(tmp_path / "deep/one.yaml", "seed: 3\n")
    config = load(str(file), check_units=False)
    assert (config.plan.name, config.plan.seed, config.source) == ("one", 3, str(file))


def test_variants_and_points():
    variants = [Variant({"family": "a"}, {"x": 1, "family": {}}), Variant({"family": "b"}, {"y": 2})]
    assert resolve_point(variants, {"family": "b", "y": 3}) == {"y": 3}
    assert resolve_point(variants, {}) == {"x": 1, "family": {}}
    with pytest.raises(ConfigError, match="no such combination"):
        resolve_point(variants, {"family": "c"})
    with pytest.raises(ConfigError, match="unknown key"):
        resolve_point(variants, {"z": 1})


def test_passwords_are_hidden():
    data = {"a": ["postgresql+psycopg://u:p%40ss@h:1/d", 3], "b": "http://h:80/x"}
    assert without_passwords(data) == {"a": ["postgresql+psycopg://u:***@h:1/d", 3], "b": "http://h:80/x"}


def test_reading_a_config_needs_no_torch():
    code = (
        "import sys; from rnnsweep.app.config.load import load; "
        "load('quickstart', check_units=False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
