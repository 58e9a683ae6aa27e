"""Natural data through windows: every step scored once, inputs and targets as in the files, chance levels."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnsweep.core import rng
from rnnsweep.core.datasets.dataset_files import SPLITS
from rnnsweep.core.evaluation import evaluate
from rnnsweep.core.readout import loss as plain_loss
from rnnsweep.core.tasks.char_lm import CharLm
from rnnsweep.core.tasks.frame_regression import FrameRegression
from rnnsweep.core.tasks.polyphonic_music import PolyphonicMusic
from rnnsweep.core.training import tiles, train_rung
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup

UNITS = (CharLm, PolyphonicMusic, FrameRegression)


def whole(task, split, **options):
    """All windows of a part, each once, in one mini-batch of one row."""
    ids = torch.arange(task.samples_of(split))[None]
    return task.batch(
        rng.Draws(torch.zeros(1, dtype=torch.int64), ids, torch.zeros(1, dtype=torch.int64), split=split, **options)
    )


def rows(task, tensor):
    """Data rows of a mini-batch's inputs or targets, [T, B] of hashable values."""
    if isinstance(task, CharLm):
        codes = tensor[0].argmax(-1) if tensor.ndim == 4 else tensor[0]
        return [[int(code) for code in step] for step in codes]
    return [[tuple(frame.tolist()) for frame in step] for step in tensor[0]]


def plain_windows(sequence, length, context, ahead):
    """(inputs, targets, scored) of a sequence's windows; None before its start."""
    steps = len(sequence) - ahead
    for first in range(0, steps, length):
        end = min(first + length, steps)
        places = range(end - length - context, end)
        yield (
            [sequence[t] if t >= 0 else None for t in places],
            [sequence[t + ahead] if t >= 0 else None for t in places],
            [t >= first for t in places],
        )


@pytest.fixture(params=UNITS, ids=lambda unit: unit.__name__)
def unit(request):
    return request.param


@settings(deadline=None, max_examples=8)
@given(
    length=st.integers(1, 90), context=st.integers(0, 30), kind=st.sampled_from(UNITS), split=st.sampled_from(SPLITS)
)
def test_windows_are_those_of_a_plain_account(length, context, kind, split):
    ahead = 5 if kind is CharLm and length % 2 else 1
    task = kind(length=length, context=context, **({"ahead_steps": ahead} if kind is CharLm else {}))
    parts = [[int(v) if kind is CharLm else tuple(v.tolist()) for v in sequence] for sequence in task.parts()[split]]
    if kind is CharLm:
        parts = [sequence[:400] for sequence in parts]
    batch = whole(task, split)
    inputs, targets = rows(task, batch.inputs), rows(task, batch.targets)
    wanted = [window for sequence in parts for window in plain_windows(sequence, length, context, ahead)]
    if kind is CharLm:
        wanted = wanted[:-1]  # the last window of the shortened text ends early
    for b, (read, aimed, scored) in enumerate(wanted):
        assert batch.mask[0, :, b].tolist() == scored
        for t in range(length + context):
            if read[t] is None:
                assert (batch.inputs[0, t, b] == 0).all()
            else:
                assert inputs[t][b] == read[t]
                assert targets[t][b] == aimed[t]


def test_every_step_is_scored_once(unit):
    for length in (7, 33, 5000):
        task = unit(length=length, context=3)
        for split in SPLITS:
            steps = sum(len(sequence) - task.ahead for sequence in task.parts()[split])
            assert int(whole(task, split).mask.sum()) == steps


def test_evaluation_sees_the_validation_part_once(unit):
    """More sequences than there are: all of them, each step with the same weight, whatever the batch."""
    task = unit(length=17, context=2)
    found = []
    for batch, eval_size in ((4, 100_000), (7, 100_000), (5, task.samples_of("valid"))):
        pack = Setup(task=task, batch=batch, eval_size=eval_size).pack([0])
        (_, tile), *_ = tiles(pack)
        scores = evaluate(tile, tile.keys["eval"])
        found.append([float(scores.loss), float(scores.error)])
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    assert found[0] == pytest.approx(found[2], rel=1e-12)
    program, made = pack.program, whole(task, "valid", dtype=torch.float64)
    values = program.layout.view(pack.params)
    record = program.engine.forward(
        made.inputs, program.family.weights(values, tile.unit_hypers("family")), program.activation, made.lengths
    )
    assert found[0][0] == pytest.approx(float(plain_loss(task, values, record.h[:, 1:], made)), rel=1e-12)


def constant_loss(task, outputs):
    """Loss and share of errors of one output at every step of the training part."""
    batch = whole(task, "train", dtype=torch.float64)
    y = outputs.expand(*batch.targets.shape[:3], task.n_outputs)
    weight = batch.mask / batch.mask.sum()
    if task.loss.name == "cross_entropy":
        each = torch.nn.functional.cross_entropy(y.permute(0, 3, 1, 2), batch.targets, reduction="none")
    elif task.loss.name == "binary_cross_entropy":
        each = torch.nn.functional.binary_cross_entropy_with_logits(y, batch.targets, reduction="none").sum(-1)
    else:
        each = (y - batch.targets).square().sum(-1)
    wrong = (task.errors(y, batch) * batch.mask.sum(1)).sum() / batch.mask.sum()
    return float((each * weight).sum()), float(wrong)


def test_chance_levels_are_those_of_the_best_constant():
    text = CharLm()
    codes = torch.from_numpy(text.training_targets())
    shares = codes.bincount(minlength=text.n_outputs).double() / len(codes)
    assert constant_loss(text, shares.log()) == pytest.approx((text.chance_loss, text.chance_error))
    music = PolyphonicMusic()
    notes = torch.from_numpy(music.training_targets()).double()
    loss, _ = constant_loss(music, torch.logit(notes.mean(0)).clamp(-700, 700))
    assert loss == pytest.approx(music.chance_loss)
    steps, counts = np.unique(notes.numpy(), axis=0, return_counts=True)
    _, wrong = constant_loss(music, torch.from_numpy(steps[counts.argmax()]) - 0.5)
    assert wrong == pytest.approx(music.chance_error)
    frames = FrameRegression()
    mean = torch.from_numpy(frames.training_targets()).double().mean(0)
    assert constant_loss(frames, mean) == pytest.approx((frames.chance_loss, frames.chance_error))


def test_natural_data_count_wrong_steps(unit):
    task = unit(length=20, context=5)
    batch = whole(task, "valid")
    right = batch.targets
    if task.loss.name == "cross_entropy":
        right = torch.nn.functional.one_hot(batch.targets, task.n_outputs).float()
    if task.loss.name == "binary_cross_entropy":
        right = 2 * batch.targets - 1
    assert (task.errors(right, batch) == 0).all()
    spoilt = right.clone()
    spoilt[0, :5] = math.nan  # context
    assert (task.errors(spoilt, batch)[0, 1:] == 0)[batch.mask[0, 4, 1:] == 0].all()
    spoilt[0, 5:10] = math.nan
    full = batch.mask[0].sum(0) == 20
    assert full.any()
    assert (task.errors(spoilt, batch)[0, full] == 5 / 20).all()


def test_text_is_read_as_it_stands(tmp_path):
    (tmp_path / "book.txt").write_text("Ärger, naïve\n" * 100, encoding="utf-8")
    task = CharLm(path=str(tmp_path / "book.txt"), length=13)
    assert task.alphabet == "".join(sorted(set("Ärger, naïve\n")))
    batch = whole(task, "train")
    assert "".join(task.alphabet[int(code)] for code in batch.targets[0, :, 0]) == "rger, naïve\nÄ"
    assert math.log(8) * task.derived["valid/bits_per_character"] == pytest.approx(3)


def test_music_counts_all_keys_of_a_step(tmp_path):
    pieces = [[[60, 64], [60, 64, 67], [-1]]] * 2
    (tmp_path / "songs.json").write_text(json.dumps({split: pieces for split in SPLITS}))
    task = PolyphonicMusic(path=str(tmp_path / "songs.json"), length=2)
    batch = whole(task, "test")
    assert torch.nonzero(batch.targets[0, 0, 0]).flatten().tolist() == [39, 43, 46]
    assert not batch.targets[0, 1].any()
    outputs = 2 * batch.targets - 1
    outputs[0, 0, 0, 0] = 1
    assert task.errors(outputs, batch).tolist() == [[0.5, 0]]


def test_published_errors_of_frames_are_means_over_steps_and_values():
    """numpy's mean over all scored steps and all d values of what one evaluation reads."""
    task = FrameRegression(length=7)
    setup = Setup(task=task, controllers={}, eval_size=4, batch=4)
    pack = setup.pack([0], updates=1, optimizer__lr=0.0)
    (row,) = train_rung(pack, 1, 1)
    batch = whole(task, "valid", dtype=torch.float64)
    values = {name: value[0] for name, value in pack.program.layout.view(pack.params).items()}
    squares = []
    for b in range(4):
        h = torch.zeros(12).double()
        for t in range(7):
            h = torch.tanh(h @ values["w_rec"] + batch.inputs[0, t, b] @ values["w_in"] + values["b"])
            error = (h @ values["w_out"] + values["b_out"] - batch.targets[0, t, b]).numpy()
            squares += [error**2] if batch.mask[0, t, b] else []
    assert row["valid/loss_per_value"] == pytest.approx(np.mean(squares), rel=1e-12)
    assert row["valid/loss"] == pytest.approx(task.n_outputs * np.mean(squares), rel=1e-12)
    assert task.chance["valid/loss_per_value"] == pytest.approx(task.chance_loss / task.n_outputs)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("length", 0),
        ("length", 1.5),
        ("context", -1),
        ("path", "/no/such/place"),
        ("path", 3),
        ("path", "samples:none"),
    ],
)
def test_wrong_fields_are_refused_by_name(unit, field, value):
    with pytest.raises(ConfigError) as caught:
        unit(**{field: value})
    assert caught.value.key == f"task.{field}"
    assert caught.value.allowed


def test_own_fields_are_refused_by_name():
    for kind, field, value in [
        (CharLm, "ahead_steps", 2),
        (PolyphonicMusic, "steps_per_beat", 0),
        (FrameRegression, "tolerance", 0),
    ]:
        with pytest.raises(ConfigError) as caught:
            kind(**{field: value})
        assert caught.value.key == f"task.{field}"
