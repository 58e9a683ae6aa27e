"""Predictions: each sequence's are what the network says of it alone; classes as probabilities."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
import torch

import rnnsweep
from rnnsweep.app.results.predictions import as_csv, check_out, predict, sequences_for, write_predictions
from rnnsweep.app.results.sequences import NamedSequence
from rnnsweep.errors import ConfigError
from tests.kit.tiny import TRAINING

LENGTHS = (4, 9, 1)


def networks():
    tasks = {"temporal_order": 6, "adding": 2, "copying": 10, "polyphonic_music": 88}
    return [pytest.param(task, width, id=task) for task, width in tasks.items()]


def trained(task: str):
    return rnnsweep.train([*TRAINING, f"task={task}", "task.length=10", "dtype=float64"]).load()


def own(width: int) -> list[NamedSequence]:
    generator = np.random.default_rng(0)
    return [NamedSequence(f"s{length}", generator.random((length, width))) for length in LENGTHS]


@pytest.mark.parametrize(("task", "width"), networks())
def test_each_sequence_is_predicted_as_if_it_were_alone(task, width):
    network, sequences = trained(task), own(width)
    found = predict(network, sequences)
    for one, values in zip(sequences, found, strict=True):
        outputs = network(torch.from_numpy(one.values)[:, None])
        outputs = outputs[:, 0] if network.parts.per_step else outputs[0]
        kind = {"adding": lambda y: y, "polyphonic_music": torch.sigmoid}.get(task, lambda y: y.softmax(-1))
        np.testing.assert_allclose(values, kind(outputs).numpy(), rtol=1e-12, atol=1e-12)
    table = list(csv.DictReader(io.StringIO(as_csv(network, sequences, found))))
    assert len(table) == (sum(LENGTHS) if network.parts.per_step else 3)
    assert list(table[0])[:2] == ["sequence", "step"] if network.parts.per_step else ["sequence"]
    if "class" in table[0]:
        shares = [float(value) for key, value in table[0].items() if key.startswith("p")]
        assert sum(shares) == pytest.approx(1) and int(table[0]["class"]) == int(np.argmax(shares))
    else:
        assert set(table[0]) >= ({"y0"} if task == "adding" else {"p87"})


def test_arrays_by_name_whatever_the_name_is(tmp_path):
    network = trained("adding")
    sequences = [NamedSequence(name, np.ones((2, 2))) for name in ("file", "allow_pickle")]
    out = write_predictions(tmp_path / "x.npz", network, sequences, predict(network, sequences))
    with np.load(out) as arrays:
        assert set(arrays.files) == {"file", "allow_pickle"}


@pytest.mark.parametrize("name", ["x.txt", "x", "none/x.csv"])
def test_other_kinds_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="--out"):
        check_out(tmp_path / name)


LEARNED = ["embedding=learned", "embedding.size=5", "dtype=float64"]


def test_a_text_is_prepared_as_codes(tmp_path):
    (tmp_path / "x.txt").write_text("a cat and a dog and a cat again " * 30)
    (tmp_path / "new.txt").write_text("a dog and a bird")
    task = [f"task.path={tmp_path / 'x.txt'}", "task=table", "task.goal=next_word", "task.split=time", "task.length=8"]
    trial = rnnsweep.train([*TRAINING, *task, *LEARNED, "embedding.tied=true", "family.hidden=5"])
    network = trial.load()
    (one,) = sequences_for(network, tmp_path / "new.txt")
    names = network.program.task.output_names
    assert [names[int(code)] for code in one.values[:, 0]] == ["a", "dog", "and", "a", "<unknown>"]
    (found,) = predict(network, [one])
    codes = torch.tensor([names.index(word) for word in ("a", "dog", "and", "a", "<unknown>")])
    np.testing.assert_allclose(found, network(codes[:, None])[:, 0].softmax(-1).numpy(), rtol=1e-12)
    best = min(report.metrics["valid/loss"] for report in trial)
    assert network.evaluate()["loss"] == pytest.approx(best, rel=1e-12)  # all samples of that part, both times


def test_a_file_of_codes(tmp_path):
    network = rnnsweep.train([*TRAINING, "task=temporal_order", "task.length=10", *LEARNED]).load()
    np.save(tmp_path / "x.npy", np.array([[[0], [5], [3]], [[1], [1], [2]]]))
    sequences = sequences_for(network, tmp_path / "x.npy")
    found = predict(network, sequences)
    codes = torch.tensor([[0, 1], [5, 1], [3, 2]])
    np.testing.assert_allclose(np.stack(found), network(codes).softmax(-1).numpy(), rtol=1e-12)
    for values, words in (
        ([[0.5]], "are no codes of symbols"),
        ([[6.0]], "no such symbol; allowed: 0..5|inputs=6: no such"),
    ):
        with pytest.raises(ConfigError, match=words):
            predict(network, [NamedSequence("x", np.array(values))])
    with pytest.raises(ConfigError, match="are no codes"):
        network(torch.zeros(3, 1, 6))
