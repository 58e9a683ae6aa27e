"""Scorers are looked up by name, tried before anything is written, and are metrics like any other."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import rnnsweep
from rnnsweep.app.cli.main import app
from rnnsweep.app.config.load import from_json, load, to_json
from rnnsweep.app.config.unit_checks import metrics_of
from rnnsweep.errors import ConfigError
from rnnsweep.loader import foreign_targets
from tests.kit.tiny import TINY

CODE = "def closeness(y_true, y_pred, power=1):\n    return 1 / (1 + abs(y_true - y_pred).mean() ** power)\n"
CODE += "def broken(y_true, y_pred):\n    return y_true.nothing\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "conf/scorer").mkdir(parents=True)
    (tmp_path / "own_scores.py").write_text(CODE)
    for name in ("closeness", "broken"):
        (tmp_path / f"conf/scorer/{name}.yaml").write_text(f"# {name}.\n_target_: own_scores.{name}\n_worst_: 0\n")
    (tmp_path / "conf/scorer/loss.yaml").write_text("# The loss.\n_target_: own_scores.closeness\n")
    (tmp_path / "conf/scorer/closeness.yaml").open("a").write("power: 2\n_label_: how close\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("scorers=[closness]", "scorers='closness': unknown scorer"),
        ("scorers=mcc", "scorers='mcc': is no list of names"),
        ("scorers=[broken]", "own_scores.py:4: scorers.broken='own_scores.broken': cannot be computed (AttributeError"),
        ("scorers=[loss]", "scorers.loss: is the metric valid/loss already"),
        ("scorers={x: {_target_: os.system}}", "code cannot be named in an override"),
    ],
)
def test_what_cannot_score_is_one_line_before_anything_is_written(here, override, words):
    done = CliRunner().invoke(app, ["launch", "quickstart", "name=s", override, "--store", str(here / "store")])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert words in done.stderr
    assert not (here / "store").exists()


def test_it_is_an_objective_in_tables_and_survives_the_store(here):
    overrides = [
        *TINY,
        "name=s",
        "task=adding",
        "scorers=[closeness,r2]",
        "budget.trials=2",
        "replicas=1",
        "space={init.sigma: default}",
    ]
    goal = ["objective.metric=valid/closeness", "objective.goal=maximize"]
    sweep = rnnsweep.launch("quickstart", [*overrides, *goal], store=here / "store")
    curves = sweep.curves("valid/closeness")
    assert len(curves) and curves["value"].between(0, 1).all()
    assert sweep.best.objective == sweep.trials()["objective"].max() == curves.groupby("trial")["value"].last().max()
    network = sweep.best.load()
    found = network.evaluate(split="valid")
    assert 0 < found["closeness"] < 1 and found["r2"] < 1
    assert not list(here.glob("store/mlruns*"))


def test_its_words_worst_value_and_code_travel_with_the_config(here):
    goal = ["objective.metric=valid/closeness", "objective.goal=maximize"]
    config = load(None, ["name=s", "task=adding", "scorers=[closeness,r2]", *goal])
    again = from_json(to_json(config), store=here / "store")
    for one in (config, again):
        assert metrics_of(one.variants)["valid/closeness"].label == "how close"
        assert one.plan.objectives[0].worst == 0
        assert one.plan.worst["valid/r2"] == -10
    assert foreign_targets(config.resolved) == ["own_scores.closeness"], "scikit-learn's scores touch nothing"


def test_a_sweeps_file_chooses_scorers(here):
    (here / "sweeps").mkdir()
    (here / "sweeps/mine.yaml").write_text("# Mine.\ndefaults: [quickstart, _self_]\nscorers: [kappa]\n")
    assert list(load("mine").resolved["scorers"]) == ["kappa"]
    (here / "sweeps/mine.yaml").write_text("# Mine.\nscorers: {x: {_target_: os.system}}\n")
    with pytest.raises(ConfigError, match="code cannot be named"):
        load("mine")
