"""Promises of every task in the package; new ones are found by themselves."""

import dataclasses
import math

import pytest
import torch

import rnnsweep.core.tasks as package
from rnnsweep.adapters.hydra.search import packaged_configs
from rnnsweep.core import rng
from rnnsweep.core.tasks.base import Task
from rnnsweep.core.tasks.synthetic import LengthTask
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, assert_same_row
from tests.kit.units import concrete, instances

CONF = packaged_configs()[0] / "task"
P, B = 3, 4


UNITS = concrete(package, Task)


def cases_of(unit):
    """Every structural choice, and short and random lengths."""
    yield from instances(unit)
    if issubclass(unit, LengthTask):
        yield from (unit(length=10), unit(length=[12, 31]))
    if "train_size" in unit.fields():
        yield unit(train_size=5)


CASES = [task for unit in UNITS for task in cases_of(unit)]
each_task = pytest.mark.parametrize("task", CASES, ids=str)


def draws(rows=range(P), ids=None, **options):
    keys = torch.tensor([rng.key(3, p, "test") for p in rows])
    ids = torch.arange(P * B).reshape(P, B)[list(rows)] if ids is None else ids
    return rng.Draws(keys, ids, torch.tensor([100 + p for p in rows]), **options)


def tensors(batch):
    found = {"inputs": batch.inputs, "targets": batch.targets, "lengths": batch.lengths}
    return found if batch.mask is None else found | {"mask": batch.mask}


def assert_equal(batch, other):
    for name, value in tensors(batch).items():
        assert torch.equal(value, tensors(other)[name]), name


@each_task
def test_shapes_and_types(task):
    for dtype in (torch.float32, torch.float64):
        batch = task.batch(draws(dtype=dtype))
        assert batch.inputs.shape == (P, task.max_length, B, task.n_inputs)
        assert batch.inputs.dtype == dtype
        assert batch.inputs.is_contiguous()
        assert batch.lengths.shape in {(P,), (P, B)}
        assert batch.lengths.dtype == torch.int64
        assert ((batch.lengths >= 1) & (batch.lengths <= task.max_length)).all()
        steps = (task.max_length,) if task.per_step else ()
        if task.loss.name == "cross_entropy":
            assert batch.targets.dtype == torch.int64
            assert batch.targets.shape == (P, *steps, B)
            assert ((batch.targets >= 0) & (batch.targets < task.n_outputs)).all()
        else:
            assert batch.targets.dtype == dtype
            assert batch.targets.shape == (P, *steps, B, task.n_outputs)
        if task.loss.name == "binary_cross_entropy":
            assert ((batch.targets == 0) | (batch.targets == 1)).all()
        if batch.mask is not None:
            assert task.per_step
            assert batch.mask.dtype == dtype
            assert batch.mask.shape in {(P, task.max_length), (P, task.max_length, B)}
            assert ((batch.mask == 0) | (batch.mask == 1)).all()
            assert (batch.mask.sum(1) >= 1).all()


@each_task
def test_steps_before_the_start_are_zero(task):
    batch = task.batch(draws())
    lengths = batch.lengths if batch.lengths.ndim == 2 else batch.lengths[:, None].expand(P, B)
    for p in range(P):
        for b in range(B):
            assert (batch.inputs[p, : task.max_length - int(lengths[p, b]), b] == 0).all()


@each_task
def test_codes_of_symbols_are_the_places_of_ones(task):
    plain, other = task.batch(draws()), task.batch(draws(tokens=True))
    if task.tokens:
        assert other.inputs.dtype == torch.int64
        hot = torch.nn.functional.one_hot(other.inputs + 1, task.n_inputs + 1)[..., 1:]  # -1: none
        other = dataclasses.replace(other, inputs=hot.to(plain.inputs.dtype))
    else:
        every = (plain.inputs == 0) | (plain.inputs == 1)
        hot = bool(every.all()) and bool((plain.inputs.sum(-1) <= 1).all()) and bool(plain.inputs.any())
        assert not hot or task.n_inputs < 3, "one-hot vectors of a task that does not say so"
    assert_equal(plain, other)


@each_task
def test_pack_equals_packs_of_one_and_permutes(task):
    whole = task.batch(draws())
    alone = [task.batch(draws([p])) for p in range(P)]
    for name, value in tensors(whole).items():
        assert torch.equal(value, torch.cat([tensors(batch)[name] for batch in alone])), name
    order = [2, 0, 1]
    for name, value in tensors(task.batch(draws(order))).items():
        assert torch.equal(value, tensors(whole)[name][order]), name


@pytest.mark.parametrize("task", [task for task in CASES if not task.carries], ids=str)
def test_a_sequence_is_a_function_of_its_id(task):
    """But for streams, which are a function of the update, see below."""
    whole = task.batch(draws())
    mixed = task.batch(draws(ids=draws().ids.flip(1)))
    if whole.mask is not None and whole.mask.ndim == 3:
        assert torch.equal(mixed.mask, whole.mask.flip(2))
    assert torch.equal(mixed.inputs, whole.inputs.flip(2))
    assert torch.equal(mixed.targets, whole.targets.flip(2 if task.per_step else 1))


@pytest.mark.parametrize("task", [task for task in CASES if task.carries], ids=str)
def test_a_stream_is_a_function_of_the_update(task):
    """Whatever ids are drawn; what one update reads last, the next one goes on from."""
    assert_equal(task.batch(draws()), task.batch(draws(ids=draws().ids.flip(1))))
    first, second = (task.batch(dataclasses.replace(draws(), batch_ids=torch.full((P,), step))) for step in (1, 2))
    starts = task.batch(dataclasses.replace(draws(), batch_ids=torch.zeros(P, dtype=torch.int64)))
    assert not torch.equal(first.inputs, starts.inputs)
    assert torch.equal(first.targets[:, -task.ahead :], second.inputs[:, : task.ahead].argmax(-1))
    windows = next(step for step in range(1, 10**6) if bool(task.begins(torch.tensor([step]), B)))
    assert_equal(starts, task.batch(dataclasses.replace(draws(), batch_ids=torch.full((P,), windows))))


@each_task
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_and_plain_loops_agree_to_the_bit(task, dtype):
    assert_equal(task.batch(draws(dtype=dtype)), task.batch(draws(dtype=dtype, compiled=False)))


@each_task
def test_inputs_are_the_same_numbers_in_both_types(task):
    single, double = task.batch(draws()), task.batch(draws(dtype=torch.float64))
    assert torch.equal(single.inputs.double(), double.inputs)


@each_task
def test_right_outputs_are_right_and_non_finite_ones_are_wrong(task):
    batch = task.batch(draws())
    right = batch.targets
    if task.loss.name == "cross_entropy":
        right = torch.nn.functional.one_hot(batch.targets, task.n_outputs).to(batch.inputs.dtype)
    assert not task.errors(right, batch).any()
    assert task.errors(right, batch).shape == (P, B)
    for bad in (math.nan, math.inf, -math.inf):
        outputs = right.clone()
        outputs[1, ..., 2, 0] = bad
        wrong = task.errors(outputs, batch)
        assert wrong[1, 2]
        assert wrong.sum() == 1


@each_task
def test_finite_training_sets_repeat_in_training_only(task):
    if task.samples is None:
        return
    ids = draws().ids
    assert_equal(task.batch(draws()), task.batch(draws(ids=ids + task.samples)))
    for split in ("valid", "test"):
        assert task.samples_of(split) is None or task.samples_of(split) >= 1
    if isinstance(task, LengthTask):
        test = task.batch(draws(ids=ids + task.samples, split="test"))
        assert not torch.equal(test.inputs, task.batch(draws(split="test")).inputs)


@each_task
def test_chance_levels_are_sane(task):
    assert task.chance_loss > 0
    assert 0 < task.chance_error <= 1, "1 where no output that ignores the input is ever right"


def short(unit):
    """The default task, with short sequences, and little that is generated, where there is a choice."""
    small = {"length": 12, "generate": 20, "steps": 1000}
    return unit(**{name: value for name, value in small.items() if name in unit.fields()})


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("unit", UNITS)
def test_a_row_trains_and_is_evaluated_alone_as_in_a_pack(unit, engine):
    """Bit for bit, in float32; and whatever the task, two rungs stay finite."""
    setup = Setup(task=short(unit), engine=engine, dtype=torch.float32, batch=4, eval_size=9)
    pack, alone = setup.pack([0, 1, 2]), setup.pack([1])
    for _ in range(2):
        results, (wanted,) = train_rung(pack, 3, 1), train_rung(alone, 3, 1)
        assert results[1] == wanted
        assert {"train/loss", "valid/loss", "valid/error"} <= wanted.keys()
    assert_same_row(pack.row(1), alone.row(0))


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_frozen_and_check_their_choices(unit):
    task = unit()
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.anything = 1
    for name, allowed in unit.fixed.items():
        if isinstance(allowed, tuple):
            with pytest.raises(ConfigError) as caught:
                unit(**{name: "nonsense"})
            assert caught.value.key == f"task.{name}"


@pytest.mark.parametrize("unit", UNITS)
def test_yaml_and_signature_agree(unit):
    from omegaconf import OmegaConf

    found = {path: OmegaConf.load(path) for path in CONF.glob("*.yaml")}
    mine = [(path, c) for path, c in found.items() if str(c.get("_target_", "")).endswith(f".{unit.__name__}")]
    assert len(mine) == 1, f"one yaml per task in conf/task, found {[str(path) for path, _ in mine]}"
    path, config = mine[0]
    assert config._target_ == f"{unit.__module__}.{unit.__name__}"
    values = {key: value for key, value in OmegaConf.to_container(config).items() if not key.startswith("_")}
    assert set(values) == set(unit.fields())
    assert unit(**values) == unit(), "defaults of the yaml are those of the class"
    assert len(path.read_text().splitlines()) <= 20
