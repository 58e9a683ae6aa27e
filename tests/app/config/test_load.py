"""Loading sweeps: composition, searched groups, the user's directories, stores, and what `resume` may change."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rnnsweep.app.config.load import allow_stored_imports, amend, from_json, list_sweeps, list_units, load, to_json
from rnnsweep.app.config.point import resolve_point
from rnnsweep.app.run import wiring
from rnnsweep.core.build import build_units, row_hypers, shape_key
from rnnsweep.errors import ConfigError, ConfigWarning
from rnnsweep.sweep.plan import Racing
from rnnsweep.sweep.schedulers.asha import Asha
from rnnsweep.sweep.schedulers.no_scheduler import NoScheduler

SEVERAL = "[{metric: valid/error},{metric: valid/loss}]"
EVERYTHING = str(Path(__file__).with_name("everything.yaml"))


def quick(*overrides, **more):
    return load(EVERYTHING, overrides, check_units=False, **more)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip())
    return path


def test_all_four_kinds_are_searched():
    config = load(EVERYTHING)
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


def test_a_config_of_before_schedulers_has_none():
    stored = to_json(quick("pruner=none"))
    del stored["choices"]["scheduler"]
    for item in stored["variants"]:
        del item["resolved"]["scheduler"]
    config = from_json(json.loads(json.dumps(stored)))
    assert wiring.scheduler(config) == NoScheduler()
    assert wiring.scheduler(amend(config, ["budget.trials=99"])).start(config.plan) is None


def test_a_config_of_before_races_has_none():
    stored = to_json(quick("pruner=none"))
    for item in stored["variants"]:
        del item["resolved"]["racing"]
    config = from_json(json.loads(json.dumps(stored)))
    assert config.plan.racing is None
    assert amend(config, ["budget.trials=99"]).plan.racing is None


def test_races_are_part_of_the_plan_and_stay_as_they_are():
    config = quick("replicas=5", "racing.level=0.1")
    assert config.plan.racing == Racing(0.1, 1)
    assert config.plan.first_replicas == 2
    assert amend(config, ["budget.trials=99"]).plan.racing == Racing(0.1, 1)
    for overrides, key in ((["racing.level=0.2"], "racing.level"), (["budget.updates=9000"], "budget.updates")):
        with pytest.raises(ConfigError, match="cannot be changed") as error:
            amend(config, overrides)
        assert error.value.key == key


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        (["replicas=4", "racing.block=2"], "replicas", "5 or more, or racing.level=null"),
        (["replicas=1"], "replicas", "3 or more"),
        (["replicas=5", "seeds=independent"], "seeds", "shared, or racing.level=null"),
        (["replicas=5", "scheduler=asha", "pruner=none"], "racing.level", "scheduler=none"),
        (["replicas=5", "racing.level=1"], "racing.level", "< 1"),
        (["replicas=5", "racing.block=0"], "racing.block", ">= 1"),
        (["replicas=5", "objective.reduce=best"], "objective.reduce", "mean, median, solved_share"),
    ],
)
def test_races_that_cannot_be_run_are_refused(overrides, key, words):
    with pytest.raises(ConfigError) as error:
        quick("racing.level=0.1", *overrides)
    assert error.value.key == key
    assert words in str(error.value)


def test_a_scheduler_is_refused_beside_a_pruner_and_before_anything_is_written():
    for overrides, key, words in (
        (["scheduler=asha", "pruner=median"], "pruner", "pruner=none"),
        (["scheduler=asha", "pruner=none", "scheduler.eta=1"], "scheduler.eta", ">= 2"),
        (["scheduler=ahsa", "pruner=none"], "scheduler", "asha"),
        (["scheduler=pasha", "pruner=none", f"objective={SEVERAL}"], "scheduler", "scheduler=none"),
    ):
        with pytest.raises(ConfigError) as error:
            wiring.scheduler(quick(*overrides))
        assert error.value.key == key
        assert words in str(error.value)
    both = quick("scheduler=asha", "scheduler.stop=true", "pruner=none", f"objective={SEVERAL}", "sampler=random")
    assert wiring.scheduler(both) == Asha(stop=True)


def test_controllers_come_and_go_with_what_is_said_about_them():
    config = quick("~controllers.omega", "+controllers=l2", "controllers.l2.weight=default")
    assert list(config.resolved["controllers"]) == ["clip", "sampling", "l2"]
    assert "controllers.omega.weight" not in config.plan.space.keys
    assert "controllers.l2.weight" in config.plan.space.keys
    assert list(quick("controllers=[clip]").resolved["controllers"]) == ["clip"]


def test_resume_may_change_the_budget_only():
    config = amend(quick(), ["budget.trials=48", "budget.updates=8000"])
    assert (config.plan.budget.trials, config.plan.worst["solved_at"]) == (48, 8000.0)
    assert from_json(to_json(config)) == config
    for lowered in ("budget.trials=2", "budget.updates=300", "budget.wall_s=5"):
        with pytest.raises(ConfigError, match="may be raised, nothing else") as error:
            amend(quick(), [lowered])
        assert error.value.key == lowered.split("=")[0]
    with pytest.raises(ConfigError, match="cannot be changed on resume"):
        amend(quick(), ["optimizer.lr=1"])
    with pytest.raises(ConfigError, match=r"budget\.trials=0: out of range"):
        amend(quick(), ["budget.trials=0"])
    assert amend(quick(), ["budget.wall_s=null", "budget.target=0.5"]).plan.budget.target == 0.5


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("space={}", "command line: space: cannot be changed on resume"),
        ("space={budget.trials:choice(1,2)}", "command line: space: cannot be changed on resume"),
        ("budget.updates=choice(1,2)", "command line: budget.updates: takes one value on resume"),
        ("budget.updates=default", "command line: budget.updates: takes one value on resume"),
        ("~space.budget.updates", "command line: "),
        ("budget.updates=5999", "command line: budget.updates=5999: may be raised, nothing else; allowed: 6000"),
        ("budget.trials=5", "command line: budget.trials=5: may be raised, nothing else; allowed: 24"),
        ("budget.wall_s=10", "command line: budget.wall_s=10: may be raised, nothing else; allowed: null"),
    ],
)
def test_resume_swallows_nothing(typed, message):
    with pytest.raises(ConfigError) as caught:
        amend(quick(), [typed])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["objective.reduce=median"], ("valid/error", "minimize", "median")),
        (["objective.metric=solved_at", "objective.reduce=best"], ("solved_at", "minimize", "best")),
        (["objective={metric: valid/loss}"], ("valid/loss", "minimize", "mean")),
        (["objective=[{metric: valid/loss, reduce: best}]"], ("valid/loss", "minimize", "best")),
    ],
)
def test_of_an_objective_what_is_not_said_stays(typed, expected):
    objective = load("quickstart", typed).plan.objectives[0]
    assert (objective.metric, objective.goal, objective.reduce) == expected


def test_what_a_file_says_of_a_replaced_unit_is_dropped(tmp_path):
    for typed in (["family=lstm"], ["family=choice(lstm,gru)"]):
        config = quick(*typed)
        assert "activation" not in config.resolved["family"]
        assert config.resolved["family"]["hidden"] == 50
    both = quick("family=choice(lstm,srn)")
    assert [variant.resolved["family"].get("activation") for variant in both.variants] == [None, "tanh"]
    heir = write(tmp_path / "heir.yaml", f"defaults: [{EVERYTHING}, override /family: lstm]\n")
    assert "activation" not in load(str(heir), check_units=False).resolved["family"]
    own = write(
        tmp_path / "own.yaml", "defaults: [config, override /family: lstm, _self_]\nfamily: {activation: tanh}\n"
    )
    with pytest.raises(ConfigError, match=r"own\.yaml: family\.activation: unknown key"):
        load(str(own), check_units=False)


def test_what_a_ledger_names_is_imported_by_resume_only_and_not_from_everybodys_directory(tmp_path):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder, mode in ((mine, 0o700), (theirs, 0o777)):
        folder.mkdir()
        folder.chmod(mode)
    stored = to_json(quick()) | {"py_paths": [str(mine), str(theirs), "relative", str(tmp_path / "gone")]}
    before = list(sys.path)
    config = from_json(stored)
    assert sys.path == before, "reading imports nothing"
    with pytest.warns(ConfigWarning, match="theirs is writable for everybody"):
        allow_stored_imports(config)
    assert sys.path == [*before, str(mine)]


def test_the_users_directories_shadow_and_extend(tmp_path, monkeypatch):
    write(tmp_path / "mine/controllers/noisy.yaml", """
        _target_: mine_package.Noisy
        weight: 0.0 # share of noise
        _search_: {weight: "interval(0, 1)"}
        """)  # fmt: skip
    write(tmp_path / "mine/optimizer/sgd.yaml", "_target_: rnnsweep.core.optimizers.sgd.Sgd\nlr: 0.5\n")
    write(tmp_path / "mine/sweeps/digits.yaml", f"# Mine.\ndefaults: [{EVERYTHING}]\nspace: {{optimizer.lr: null}}\n")
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
        load(EVERYTHING, ["optimizer=mine"])
    assert str(caught.value).startswith(f"{file}: optimizer.momentum=2")


def test_another_programs_conf_folder_does_no_harm(tmp_path):
    write(tmp_path / "conf/config.yaml", "defaults: [db: mysql]\nuser: root\n")
    assert quick().plan.name == "everything"
    assert "user" not in quick().resolved


def test_a_path_is_a_sweep(tmp_path):
    file = write(tmp_path / "deep/one.yaml", "seed: 3\n")
    config = load(str(file), check_units=False)
    assert (config.plan.name, config.plan.seed, config.source) == ("one", 3, str(file))


def test_reading_a_config_needs_no_torch():
    code = (
        "import sys; from rnnsweep.app.config.load import load; "
        "load('quickstart', check_units=False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_overrides_of_one_objective_are_all_meant():
    """Each lays over what is there: the sweep's own `take` stays, though the metric is another."""
    config = quick("objective.take=best", "objective.metric=valid/loss", "objective.goal=maximize")
    (objective,) = config.plan.objectives
    assert (objective.metric, objective.goal, objective.take) == ("valid/loss", "maximize", "best")


@pytest.mark.parametrize(
    ("files", "typed", "judges"),
    [
        ("", ["scheduler=asha"], "none"),
        ("  - override /scheduler: asha\n", [], "none"),
        ("  - override /scheduler: asha\n", ["scheduler=none"], "median"),
        ("  - override /pruner: median\n", ["scheduler=asha"], None),
        ("", ["scheduler=asha", "pruner=median"], None),
        ("", ["scheduler=asha", "pruner.warmup=3"], None),
    ],
)
def test_a_scheduler_switches_a_pruner_off_that_nobody_wrote(tmp_path, recwarn, files, typed, judges):
    head = f"# Mine.\ndefaults:\n  - config\n{files}  - _self_\n"
    mine = write(tmp_path / "mine.yaml", head + "space: {init.sigma: 'interval(0.1, 0.3)'}\nbudget: {trials: 4}\n")
    if judges is None:
        with pytest.raises(ConfigError, match=r"pruner='median': would judge rungs beside scheduler=asha"):
            load(str(mine), typed)
    else:
        assert load(str(mine), typed).pruner["_name_"] == judges
        off = [str(line.message) for line in recwarn if "is off" in str(line.message)]
        assert off == ["pruner=median, the default, is off: scheduler=asha judges"] * (judges == "none")


def test_a_key_of_a_unit_without_keys_says_that_the_unit_may_be_missing():
    with pytest.raises(ConfigError, match=r"scheduler\.eta: unknown key; .* Is scheduler=NAME missing\?"):
        quick("scheduler.eta=4")
