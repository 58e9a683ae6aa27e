"""A sweep over a file of the user's own: refused while nothing is written, trained, scored, asked about new files."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import rnnsweep
from rnnsweep.app.cli.main import app
from rnnsweep.app.results.predictions import as_csv, predict, sequences_for
from rnnsweep.errors import ConfigError, ConfigWarning
from tests.kit.tiny import TINY, TRAINING

TABLE = ("task=table", "task.group=id", "task.time=t")


def sized(overrides):
    """Without a length: sequences have their own."""
    return [override for override in overrides if not override.startswith("task.length=")]


def frame(count=24, steps=5) -> pd.DataFrame:
    generator = np.random.default_rng(4)
    table = pd.DataFrame(
        {"id": np.repeat([f"s{i}" for i in range(count)], steps), "t": np.tile(np.arange(steps), count)}
    )
    table["b"], table["a"] = generator.normal(3, 4, size=(2, count * steps)).round(6)
    table["kind"] = np.repeat(["left", "middle", "right"] * (count // 3), steps)
    table["size"] = np.repeat(100 + 10 * generator.normal(size=count), steps)
    return table


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Where the file is, and a small sweep over it whose objective is to be large."""
    folder = tmp_path_factory.mktemp("table")
    frame().to_csv(folder / "x.csv", index=False)
    frame().drop(columns="kind").iloc[::-1].to_parquet(folder / "new.parquet", index=False)
    overrides = [*sized(TINY), *TABLE, f"task.path={folder}/x.csv", "task.target=kind", "name=own", "budget.trials=2"]
    objective = ["objective.metric=valid/f1_macro", "objective.goal=maximize", "space={optimizer.lr: default}"]
    return folder, rnnsweep.launch("digits", [*overrides, *objective], store=folder / "store")


def invoke(folder, *arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments), "--store", str(folder / "store")])


def test_its_scores_are_reported_and_may_be_the_objective(swept):
    curves = {key: swept[1].curves(f"valid/{key}")["value"] for key in ("f1_macro", "accuracy", "auroc", "error")}
    assert all(len(values) and values.between(0, 1).all() for values in curves.values())
    assert (curves["accuracy"] + curves["error"]).tolist() == pytest.approx([1] * len(curves["error"]))
    assert swept[1].best.objective == max(swept[1].trials()["objective"])


def test_a_new_file_is_answered_with_the_names_of_the_classes(swept):
    folder, sweep = swept
    done = invoke(folder, "predict", "own", "--data", folder / "new.parquet")
    assert done.exit_code == 0, done.output
    rows = {row["sequence"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert list(rows["s0"]) == ["sequence", "class", "p_left", "p_middle", "p_right"]
    network = sweep.best.load()
    task = network.program.task
    for name, values in task.read_new(str(folder / "x.csv")):
        shares = network(torch.from_numpy(values)[:, None])[0].softmax(-1).tolist()
        assert [float(rows[name][f"p_{kind}"]) for kind in task.output_names] == pytest.approx(shares, rel=1e-5)
        assert rows[name]["class"] == task.output_names[int(np.argmax(shares))]


def test_the_test_part_is_scored_on_its_own(swept):
    folder, sweep = swept
    network = sweep.best.load()
    task = network.program.task
    found = dict(zip(*zip(*task.read_new(str(folder / "x.csv")), strict=True), strict=True))
    kinds = frame().groupby("id")["kind"].first()
    for split in ("valid", "test"):
        names = [f"s{int(sequence)}" for sequence in task.prepared().samples[split][:, 2]]
        answers = [int(network(torch.from_numpy(found[name])[:, None])[0].argmax()) for name in names]
        right = np.mean([task.output_names[answer] == kinds[name] for name, answer in zip(names, answers, strict=True)])
        assert network.evaluate(split=split)["accuracy"] == pytest.approx(right)
    with pytest.raises(
        ConfigError, match=r"split='tets': no such part; allowed: train, valid, test\. Did you mean 'test'"
    ):
        network.evaluate(split="tets")


def test_a_file_that_has_changed_since_is_noticed(swept, recwarn):
    folder, sweep = swept
    before = (folder / "x.csv").read_text()
    assert sweep.best.load() and not [one for one in recwarn if one.category is ConfigWarning]
    (folder / "x.csv").write_text(before.replace("left", "lost"))
    try:
        with pytest.warns(ConfigWarning, match=r"data have changed since .*x\.csv"):
            sweep.best.load()
    finally:
        (folder / "x.csv").write_text(before)


@pytest.mark.parametrize("goal", ["regress", "forecast"])
def test_numbers_come_in_their_own_units(goal, swept):
    folder, _ = swept
    target = "size" if goal == "regress" else "[b,a]"
    overrides = [*sized(TRAINING), *TABLE, f"task.path={folder}/x.csv", f"task.goal={goal}", f"task.target={target}"]
    network = rnnsweep.train([*overrides, "dtype=float64"]).load()
    sequences = sequences_for(network, folder / "new.parquet") if goal == "regress" else None
    sequences = sequences or sequences_for(network, folder / "x.csv")
    found = predict(network, sequences)
    scale = network.program.task.prepared().targets.scale
    outputs = network(torch.from_numpy(sequences[0].values)[:, None]).numpy()
    np.testing.assert_allclose(found[0], scale.back(outputs[0] if goal == "regress" else outputs[:, 0]), rtol=1e-9)
    (first, *_) = csv.DictReader(io.StringIO(as_csv(network, sequences, found)))
    assert list(first) == (["sequence", "size"] if goal == "regress" else ["sequence", "step", "b", "a"])
    training = frame()["size" if goal == "regress" else "b"]
    assert abs(float(first["size" if goal == "regress" else "b"]) - training.mean()) < 5 * training.std()


@pytest.mark.parametrize("verb", ["config", "launch", "train"])
def test_a_bad_file_is_refused_before_anything_is_written(verb, tmp_path, monkeypatch):
    lines = frame().to_csv(index=False).splitlines()
    lines[16] = lines[16].replace(",", ",,", 2).replace(",,", ",", 1).replace(",,", ",x", 1)
    (tmp_path / "x.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    name = ["digits"] if verb == "launch" else []
    done = CliRunner().invoke(
        app, [verb, *name, *TABLE, f"task.path={tmp_path}/x.csv", "task.target=kind", "task.inputs=[a,b]"]
    )
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1 and "x.csv: row 17, column b='x" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize(("goal", "key"), [("classify", "task.path"), ("label", "task.length")])
def test_sequences_too_long_for_the_memory_blame_what_could_make_them_shorter(goal, key, tmp_path, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=2**22, available=2**22))
    long = frame().iloc[[0] * 2000].assign(id="long", t=range(2000))
    pd.concat([frame(), long]).to_csv(tmp_path / "x.csv", index=False)
    overrides = [f"task.path={tmp_path}/x.csv", f"task.goal={goal}", "task.target=kind", "task.inputs=[a,b]"]
    done = CliRunner().invoke(app, ["config", *TABLE, *overrides])
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert f"{key}=" in done.stderr and "allowed: at most" in done.stderr
    assert ("its longest sequence has 2000 steps" in done.stderr) == (goal == "classify")


def test_a_new_file_that_does_not_fit_is_one_line(swept, tmp_path):
    folder, _ = swept
    frame()[["id", "t", "b"]].to_csv(tmp_path / "no_a.csv", index=False)
    for data, words in (("no_a.csv", "no such column"), ("none.csv", "--data=")):
        done = invoke(folder, "predict", "own", "--data", tmp_path / data)
        assert done.exit_code == 2 and done.stderr.count("\n") == 1 and words in done.stderr


def test_a_key_that_was_left_out_is_not_blamed_on_the_packaged_yaml(tmp_path, monkeypatch):
    frame().to_csv(tmp_path / "x.csv", index=False)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/mine.yaml").write_text("# Mine.\ndefaults: [config, {override /task: table}, _self_]\n")
    monkeypatch.chdir(tmp_path)
    for words, where in ((["task=table"], "command line"), (["mine"], f"{tmp_path}/sweeps/mine.yaml")):
        done = CliRunner().invoke(app, ["config", *words, f"task.path={tmp_path}/x.csv"])
        assert done.exit_code == 2
        assert f"error: {where}: task.target='null': is needed by task.goal=classify" in done.stderr


CODE = """
import numpy as np
from torch.utils.data import Dataset

class Waves(Dataset):
    def __init__(self, root):
        self.x = np.load(root)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        x = self.x[index][: 4 + index % 3]
        return x, int(x[:, 0].sum() > 0)
"""
YAML = """# Waves.
_target_: rnnsweep.core.tasks.table_task.TableTask
path: {_target_: own_waves.Waves, root: x.npy}
goal: classify
"""


def test_a_sweep_over_a_data_set_of_the_users_own(tmp_path, monkeypatch):
    """Named in the user's yaml, imported beside it, predicted with, and known by its content when it is resumed."""
    (tmp_path / "conf/task").mkdir(parents=True)
    (tmp_path / "conf/task/waves.yaml").write_text(YAML)
    (tmp_path / "own_waves.py").write_text(CODE)
    values = np.random.default_rng(3).normal(size=(40, 6, 2))
    np.save(tmp_path / "x.npy", values)
    monkeypatch.chdir(tmp_path)
    small = ["name=waves", "task=waves", "budget.trials=2", "space={optimizer.lr: default}"]
    done = invoke(tmp_path, "launch", "digits", *sized(TINY), *small, "objective.metric=valid/auroc")
    assert done.exit_code == 0, done.output
    sweep = rnnsweep.open_sweep("waves", store=tmp_path / "store")
    task = sweep.best.load().program.task
    assert (task.n_inputs, task.output_names) == (2, ("0", "1"))
    assert task.path.block()["root"] == str(tmp_path / "x.npy"), "workers stand elsewhere"
    asked = invoke(tmp_path, "predict", "waves", "--data", tmp_path / "x.npy")
    assert [row["sequence"] for row in csv.DictReader(io.StringIO(asked.stdout))] == list(map(str, range(40)))
    values[3, 0, 1] += 1
    np.save(tmp_path / "x.npy", values)
    refused = invoke(tmp_path, "resume", "waves", "budget.trials=3")
    assert refused.exit_code == 2 and "data set own_waves.Waves root=" in refused.stderr
    assert invoke(tmp_path, "launch", "digits", "task.path={_target_: own_waves.Waves}").exit_code == 2
