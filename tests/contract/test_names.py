"""Each unit goes by its yaml's name, wherever it is spoken of; what it reports is declared by itself."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

import rnnsweep
from rnnsweep.adapters.hydra.yaml_files import read_yaml
from rnnsweep.adapters.optuna.pruners.base import PrunerUnit
from rnnsweep.adapters.optuna.samplers.base import SamplerUnit
from rnnsweep.app.config.load import load, search_path
from rnnsweep.app.config.point import resolve_point
from rnnsweep.core.build import build_units
from rnnsweep.core.controllers.base import Controller
from rnnsweep.core.embedding import Embedding
from rnnsweep.core.families.base import Family
from rnnsweep.core.inits.base import Init
from rnnsweep.core.learners.base import Learner
from rnnsweep.core.metrics.names import METRICS
from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.core.readout import Readout
from rnnsweep.core.tasks.base import Task
from rnnsweep.errors import ConfigError
from rnnsweep.loader import build_unit, load_class
from rnnsweep.sweep.schedulers.base import SchedulerUnit

CONF = search_path().packaged
BASES = {
    base.unit_group: base
    for base in (
        *(Family, Embedding, Task, Init, Learner, Optimizer, Controller, Readout),
        *(SamplerUnit, PrunerUnit, SchedulerUnit),
    )
}
FILES = [file for group in BASES for file in sorted((CONF / group).glob("*.yaml"))]
CHOSEN = {"init": "init=chrono family=gru", "embedding": "task=char_lm"}
"""What else must be chosen for a group's units to be accepted."""


def named(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


def test_every_group_with_units_has_a_base():
    with_units = {file.parent.name for file in CONF.glob("*/*.yaml") if "_target_" in read_yaml(file)}
    # scorers are functions, see tests/core/metrics/test_scorers.py
    assert with_units == {*BASES, "scorer"}


@pytest.mark.parametrize("file", FILES, ids=named)
def test_the_name_of_a_unit_is_its_yamls(file):
    group = file.parent.name
    chosen = f"controllers=[{file.stem}]" if group == "controllers" else f"{group}={file.stem}"
    config = load(None, ["name=t", chosen], check_units=False)
    if group in ("sampler", "pruner", "scheduler"):
        block, key = getattr(config, group), group
    else:
        point = resolve_point(config.variants, {})
        key = f"controllers.{file.stem}" if group == "controllers" else group
        block = point["controllers"][file.stem] if group == "controllers" else point[group]
    if "upper" in block and block["upper"] is None:
        block = {**block, "upper": 1.0}  # the threshold pruner has no default that prunes nothing
    unit = build_unit(block, key, BASES[group])
    assert unit.unit_name == file.stem
    assert unit.unit_key == key


def test_searched_units_and_a_users_own_have_their_yamls_name_too(tmp_path, monkeypatch):
    folder = tmp_path / "conf/family"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text("# Mine.\n_target_: rnnsweep.core.families.gru.Gru\nhidden: 3\n")
    monkeypatch.chdir(tmp_path)
    config = load(None, ["name=t", "family=choice(tiny,lstm)"], check_units=False)
    assert build_units(resolve_point(config.variants, {"family": "lstm"})).family.unit_name == "lstm"
    units = build_units(resolve_point(config.variants, {"family": "tiny"}))
    assert (units.family.unit_name, units.task.unit_name) == ("tiny", "temporal_order")
    with pytest.raises(ConfigError, match="which the family tiny does not have"):
        load(None, ["name=t", "family=tiny", "controllers=[sampling]"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["family=momentum_lstm", "+controllers=sampling"], "which the family momentum_lstm does not have"),
        (["readout=attention", "learner=rflo"], "which the read-out attention does not have"),
        (["init=chrono", "family=nesterov_lstm_diff"], None),
        (["family=scurnn", "init=chrono"], "init='chrono'"),
        (["learner=hessian_free", "family=srn_feedback"], "learner='hessian_free'"),
        (["sampler=cmaes", "objective=[{metric: valid/loss},{metric: valid/error}]", "pruner=none"], "sampler='cmaes'"),
        (["pruner=hyperband", "objective=[{metric: valid/loss},{metric: valid/error}]"], "pruner='hyperband'"),
    ],
)
def test_messages_speak_of_units_by_that_name(overrides, words):
    if words is None:
        load(None, ["name=t", *overrides])
        return
    with pytest.raises(ConfigError) as caught:
        load(None, ["name=t", *overrides])
    assert words in str(caught.value)


def test_no_name_is_made_of_a_class_or_a_module():
    forbidden = re.compile(r"__name__\.lower|__module__\.rpartition|_target_[^\n]*rpartition")
    sources = [path for path in Path(rnnsweep.__file__).parent.rglob("*.py")]
    assert not [path for path in sources if forbidden.search(path.read_text())]


# ---------------------------------------------------------------- metrics


@pytest.mark.parametrize("file", FILES, ids=named)
def test_declared_metrics_have_keys_and_words(file):
    for key, metric in load_class(read_yaml(file)["_target_"], named(file)).metrics.items():
        assert re.fullmatch(r"[a-z]+/[a-z_0-9]+", key)
        assert key not in METRICS, "every row has that one anyway"
        assert metric.meaning


def test_what_families_count_and_tasks_derive_is_declared():
    for file in (CONF / "family").glob("*.yaml"):
        family = load_class(read_yaml(file)["_target_"], "family")
        assert set(family.counted.values()) <= set(family.metrics)
        assert not family.counted or set(family.counted) <= set(family.slots)
    for file in (CONF / "task").glob("*.yaml"):
        task = load_class(read_yaml(file)["_target_"], "task")()
        assert set(task.derived) <= set(task.metrics)
        assert set(task.chance) | set(task.worst) <= {*METRICS, *task.metrics}
        assert all(map(math.isfinite, (*task.chance.values(), *task.worst.values())))
        assert task.worst["valid/loss"] == 10 * task.chance_loss
