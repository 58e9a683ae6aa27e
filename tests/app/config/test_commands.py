"""Every command that a report or MLflow's note prints runs as it is printed, from another directory."""

from __future__ import annotations

import html
import re
import shlex

import mlflow
import pytest
from typer.testing import CliRunner

import rnnsweep
from rnnsweep.app.cli.main import app
from rnnsweep.app.config.commands import Commands, commands_for
from rnnsweep.app.config.load import SweepConfig, from_json, load, to_json
from rnnsweep.app.stores import place_of

TINY = [
    *("task.length=10", "family.hidden=4", "training.batch=2", "training.report_every=5", "training.eval_size=4"),
    *("budget.updates=5", "budget.trials=1", "cluster=inline", "store.optuna=none", "replicas=1"),
]
SWEEP = "# Mine.\ndefaults: [config, override /optimizer: mine, _self_]\nspace: {optimizer.lr: 'choice(0.1, 0.2)'}\n"


@pytest.fixture
def configs(tmp_path):
    """A directory with a sweep, and a unit that only this directory has."""
    folder = tmp_path / "my configs"
    (folder / "optimizer").mkdir(parents=True)
    (folder / "optimizer/mine.yaml").write_text("_target_: rnnsweep.core.optimizers.sgd.Sgd\nlr: 0.5\nmomentum: 0\n")
    (folder / "own.yaml").write_text(SWEEP)
    return folder


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another working directory, without a store of its own being named."""
    monkeypatch.delenv("RNNSWEEP_STORE", raising=False)
    monkeypatch.delenv("RNNSWEEP_CONFIG_DIR", raising=False)

    def go(name):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)

    return go


def commands_of(config: SweepConfig) -> Commands:
    return commands_for(config, place_of(config.store.root, config.store.ledger).option)


def printed(page):
    text = html.unescape(page.read_text(encoding="utf-8"))
    return [line.removeprefix("<pre>") for line in re.findall(r"(?:<pre>)?rnnsweep [^\n<]+", text)]


def type_(line):
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0, (line, result.stdout, result.stderr)
    return result


def test_run_again_runs_again_from_anywhere_whatever_the_sweep_was_called(tmp_path, configs, elsewhere):
    elsewhere("here")
    store = tmp_path / "store"
    sweep = rnnsweep.launch("own", ["name=d8", *TINY], store=store, config_dirs=[configs], progress=False)
    commands = printed(sweep.report())
    assert len(commands) == 2
    elsewhere("there")
    for command in commands:
        type_(command)
    assert [status["sweep"] for status in map(rnnsweep.Sweep.status, opened(store, "d8", "d8-2"))] == ["d8", "d8-2"]
    note = mlflow.MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiment = note.get_experiment_by_name("d8")
    assert experiment is not None
    parents = note.search_runs([experiment.experiment_id], "tags.`rnnsweep.kind` = 'sweep'")
    text = parents[0].data.tags["mlflow.note.content"]
    assert [line for line in text.splitlines() if line in commands] == commands[::-1]


def opened(store, *names):
    return [rnnsweep.open_sweep(name, store=store) for name in names]


def test_a_sweep_given_by_its_path_is_named_by_its_path(tmp_path, configs, elsewhere):
    elsewhere("here")
    file = configs / "own.yaml"
    config = load(str(file), TINY, config_dirs=[configs], check_units=False)
    line = shlex.split(commands_of(config).rerun)
    assert line[:3] == ["rnnsweep", "launch", str(file)]
    assert line[-3:] == ["--config-dir", str(configs), "--fresh"]


def test_the_store_is_named_only_where_it_was_named(tmp_path, elsewhere):
    elsewhere("here")
    assert "--store" not in commands_of(load("quickstart", check_units=False)).resume
    named = commands_of(load("quickstart", store=tmp_path / "a store", check_units=False))
    assert named.report == f"rnnsweep report quickstart --store '{tmp_path / 'a store'}'"


def test_ledgers_of_before_tell_the_file(elsewhere):
    elsewhere("here")
    data = to_json(load("quickstart", ["name=old", "budget.trials=3"], check_units=False))
    del data["sweep"], data["config_dirs"]
    line = shlex.split(commands_of(from_json(data)).rerun)
    assert line == ["rnnsweep", "launch", data["source"], "budget.trials=3", "name=old", "--fresh"]


def test_no_command_shows_a_password(elsewhere):
    elsewhere("here")
    config = load("quickstart", ["store.ledger=postgresql://me:secret@db/rnn"], check_units=False)
    assert "secret" not in commands_of(config).rerun
