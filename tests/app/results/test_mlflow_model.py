"""A network as an MLflow model says what `rnnsweep predict` says: its code alone, and in a process of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import rnnsweep
from rnnsweep.app.cli.main import app
from rnnsweep.app.results.export import export
from rnnsweep.app.results.mlflow_model import example_rows, facts_of
from rnnsweep.app.results.predictions import as_csv, predict, sequences_for
from rnnsweep.errors import RnnsweepError
from tests.e2e.test_cluster_stores import mlflow_server
from tests.kit.shapes import unchecked
from tests.kit.tiny import TINY, TRAINING

LOAD = """
import sys, mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
frame = pd.read_csv(sys.argv[2], dtype={"id": str})
for number, name in enumerate(sys.argv[3:]):
    model = mlflow.pyfunc.load_model(name)
    model.predict(frame).to_csv(f"out{number}.csv", index=False)
    example = model.input_example
    assert len(model.predict(example)), "its own example fits"
assert not [name for name in sys.modules if name.partition(".")[0] == "rnnsweep"]
"""


def made(count=24, gaps=False):
    generator, parts = np.random.default_rng(4), []
    for index in range(count):
        steps = 3 + index % 4
        a, b = generator.normal(3, 4, size=(2, steps)).round(5)
        part = pd.DataFrame({"id": f"s{index}", "t": np.arange(steps) * 0.5, "a": a, "b": b})
        part["kind"], part["size"] = ("left", "right", "up")[index % 3], 100 + 10 * a.sum()
        part["even"], part["third"] = index % 2, int(index % 3 == 0)
        part["step"] = np.where(a > 3, "high", "low")
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    if gaps:
        frame.loc[generator.random(len(frame)) < 0.3, "a"] = np.nan
    return frame


def sized(overrides):
    return [override for override in overrides if not override.startswith("task.length=")]


CASES = {
    "classes": ["task.target=kind"],
    "labels": ["task.target=[even,third]"],
    "numbers": ["task.goal=regress", "task.target=size"],
    "steps": ["task.goal=label", "task.target=step"],
    "forecast": ["task.goal=forecast", "task.target=[b,a]"],
    "previous": ["task.target=kind", "task.missing=previous", "task.missing_flags=true"],
    "mean": ["task.target=kind", "task.missing=mean"],
    "zero": ["task.target=kind", "task.missing=zero", "task.standardise=false"],
}


def answered(network, folder, frame):
    """By the model's code, from its two files."""
    from rnnsweep.adapters.mlflow.pyfunc_network import Network

    with unchecked():
        export(network, "torch", folder / "network.pt2")
    (folder / "facts.json").write_text(json.dumps(facts_of(network)))
    model = Network()
    model.read(folder / "network.pt2", folder / "facts.json")
    return model, model.answer(frame)


def said(network, file):
    sequences = sequences_for(network, file)
    return pd.read_csv(io.StringIO(as_csv(network, sequences, predict(network, sequences))), dtype={"sequence": str})


@pytest.mark.parametrize("case", CASES)
def test_its_code_prepares_and_answers_as_predict_does(case, tmp_path):
    frame = made(gaps=case in ("previous", "mean", "zero"))
    frame.to_csv(tmp_path / "x.csv", index=False)
    # in another order: rows of a sequence are sorted by time
    new = frame.sample(frac=1, random_state=1).sort_values("id", kind="stable")
    new.to_csv(tmp_path / "new.csv", index=False)
    roles = ["task=table", f"task.path={tmp_path}/x.csv", "task.inputs=[a,b]", "task.group=id", "task.time=t"]
    network = rnnsweep.train([*sized(TRAINING), *roles, *CASES[case]]).load()
    model, found = answered(network, tmp_path, new)
    wanted = said(network, tmp_path / "new.csv")
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-5, atol=1e-6, check_dtype=False)
    example = example_rows(network)
    assert {"id", "t", "a", "b"} == set(example) and example["id"].nunique() == 2
    assert len(model.answer(example))
    if case == "classes":
        with pytest.raises(ValueError, match="sequence s3: column b has an empty cell"):
            model.answer(new.assign(b=np.where(new["id"] == "s3", np.nan, new["b"])))


def test_a_task_without_columns_takes_inputs_as_they_are(tmp_path):
    network = rnnsweep.train([*TRAINING, "task=adding"]).load()
    example = example_rows(network)
    assert list(example) == ["sequence", "x0", "x1"]
    _, found = answered(network, tmp_path, example)
    file = tmp_path / "new.csv"
    example.to_csv(file, index=False)
    pd.testing.assert_frame_equal(found, said(network, file), rtol=1e-5, check_dtype=False)


@pytest.mark.parametrize("goal", ["next_word", "next_character"])
def test_texts_are_read_with_the_trainings_vocabulary(goal, tmp_path):
    lines = ["to be, or not to be", "it's a well-known thing", "that is the question", "ay, there's the rub"] * 3
    pd.DataFrame({"text": lines}).to_csv(tmp_path / "x.csv", index=False)
    network = rnnsweep.train([*sized(TRAINING), "task=table", f"task.path={tmp_path}/x.csv", f"task.goal={goal}",
                              "task.target=text"]).load()  # fmt: skip
    new = pd.DataFrame({"text": ["to be unknown", "the rub"]})
    new.to_csv(tmp_path / "new.csv", index=False)
    _, found = answered(network, tmp_path, new)
    pd.testing.assert_frame_equal(found, said(network, tmp_path / "new.csv"), rtol=1e-5, atol=1e-6, check_dtype=False)


def checked_model(store, folder, uri):
    """Launch, register twice, load in a fresh process, and compare with `predict`."""
    import mlflow

    runner, place = CliRunner(), ["--store", str(store)]
    done = runner.invoke(app, ["export", "own", "--to", "mlflow", "--register", "speakers", *place])
    assert done.exit_code == 0, done.output
    logged, registered = done.stdout.splitlines()[:2]
    assert registered == "models:/speakers/1"
    client = mlflow.MlflowClient(uri)
    (entry,) = rnnsweep.open_sweep("own", store=store).table()
    run = client.get_run(entry["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    again = rnnsweep.open_sweep("own", store=store).log_model(0, register="speakers")
    assert again.registered == "models:/speakers/2"
    assert client.get_run(entry["mlflow_run_id"]).info.end_time == run.info.end_time
    new = made(gaps=True).drop(columns="kind")
    new.to_csv(folder / "new.csv", index=False)
    asked = runner.invoke(app, ["predict", "own", "--data", str(folder / "new.csv"), *place])
    wanted = pd.read_csv(io.StringIO(asked.stdout))
    words = [sys.executable, "-c", LOAD, uri, str(folder / "new.csv"), logged, registered]
    loaded = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    assert loaded.returncode == 0, loaded.stderr
    for number in range(2):
        found = pd.read_csv(folder / f"out{number}.csv")
        pd.testing.assert_frame_equal(found, wanted, rtol=1e-5, atol=1e-6, check_dtype=False)


def launched(folder, *overrides):
    made(gaps=True).to_csv(folder / "x.csv", index=False)
    roles = ["task=table", f"task.path={folder}/x.csv", "task.inputs=[a,b]", "task.group=id", "task.time=t"]
    small = [*sized(TINY), *roles, *CASES["previous"], "name=own", "budget.trials=1", "replicas=1"]
    rnnsweep.launch("digits", [*small, "space={optimizer.lr: default}", *overrides], store=folder / "store")
    return folder / "store"


@pytest.mark.slow
def test_the_best_is_registered_on_the_store_and_loads_without_rnnsweep(tmp_path):
    store = launched(tmp_path, "tracker=mlflow")
    with unchecked():
        checked_model(store, tmp_path, f"sqlite:///{store}/mlflow.db")


@pytest.mark.slow
def test_the_best_is_registered_on_a_server_and_loads_without_rnnsweep(tmp_path):
    (tmp_path / "served").mkdir()
    backend = f"sqlite:///{tmp_path}/served.db"
    with mlflow_server(backend, tmp_path / "served") as uri, unchecked():
        store = launched(tmp_path, "tracker=mlflow", f"store.mlflow={uri}")
        checked_model(store, tmp_path, uri)


def test_what_cannot_be_logged_is_one_line(tmp_path):
    store = launched(tmp_path)
    with pytest.raises(RnnsweepError, match="trial 0 has no run in MLflow: the tracker is off"):
        rnnsweep.open_sweep("own", store=store).log_model()
    for options, words in (
        (["--to", "torch", "--register", "m"], "--register='m': names a registered model"),
        (["--to", "mlflow", "--out", "x.pt2"], "--out='x.pt2': is for files"),
        (["--to", "mlflow", "--streaming"], "--streaming: is for files"),
        (["--to", "mlfow"], "--to='mlfow': no such form; allowed: torch, onnx, mlflow"),
    ):
        done = CliRunner().invoke(app, ["export", "own", *options, "--store", str(store)])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
        assert words in done.stderr
