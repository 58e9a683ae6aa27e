"""The streams' kernel beside the compiled loops, to the bit; in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from rnnsweep.core import rng
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.interval_matching import IntervalMatching
from rnnsweep.core.tasks.permutation import Permutation
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from tests.core.test_rng import KNOWN, signed
from tests.core.test_rng import words as numbers

STREAMS = (0, 4, rng.stream_of("sample ids"), rng.STREAMS - 1)
DOMAINS = (rng.SEQUENCE, rng.BATCH, rng.ROW)
LARGEST = 2**63 - 1
KEYS = (0, 1, -1, -LARGEST - 1, LARGEST, rng.key(5, 2, "train"))
IDS = (0, 1, 2**31 - 1, 2**32 - 1, 2**32, 2**53 + 1, LARGEST, -1, -LARGEST - 1)


@pytest.fixture(scope="module")
def device(triton_interpreter: str) -> str:
    return triton_interpreter


@pytest.fixture
def kernels(device: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, used by draws on this device as it is on a GPU; launches are counted in `kernels.launches`."""
    module = importlib.import_module("rnnsweep.core.gpu.random_numbers")
    launch, launches = module._launch, []
    monkeypatch.setattr(module, "_launch", lambda *a, **k: launches.append(a[0]) or launch(*a, **k))
    monkeypatch.setattr(module, "launches", launches, raising=False)
    monkeypatch.setattr(rng, "kernels_on", lambda device: module)
    return module


def many(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys [P] and ids [P, B]: each key with each id."""
    return torch.tensor(KEYS, device=device), torch.tensor(IDS, device=device).expand(len(KEYS), -1)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(kernels, device, counter, key, result):
    """Of the three blocks only the first has a number that a stream reaches: the kernel's code, for any block."""
    low, high, stream, number = numbers(counter)
    k0, k1 = numbers(key)
    key, sequence = signed(k1 << 32 | k0), signed(high << 32 | low)
    block = importlib.import_module("tests.kit.philox_block").block
    assert block(key, sequence, stream, number, device) == numbers(result)
    if number == 0:
        keys, ids = torch.tensor([key], device=device), torch.tensor([[sequence]], device=device)
        assert kernels.words(keys, ids, stream, 4)[0, 0].tolist() == numbers(result)


@pytest.mark.parametrize("stream", [stream | domain for stream in STREAMS for domain in DOMAINS])
def test_words_of_every_stream_key_and_id_are_the_compiled_ones(kernels, device, stream):
    keys, ids = many(device)
    for n in (1, 6):
        made = kernels.words(keys, ids, stream, n)
        assert torch.equal(made.cpu(), rng.words_compiled(keys.cpu(), ids.cpu(), stream, n))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 255, 256, 257])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 66)])
def test_words_of_every_length_are_the_compiled_ones(kernels, device, n, shape):
    """Lengths and mini-batches that end within a tile, at its edge and beyond it."""
    P, B = shape
    keys, ids = torch.arange(P) - 1, torch.arange(P * B).reshape(P, B) * 2**31
    made = kernels.words(keys.to(device), ids.to(device), 3, n)
    assert made.shape == (P, B, n)
    assert torch.equal(made.cpu(), rng.words_compiled(keys, ids, 3, n))


def test_no_sequences_are_no_words(kernels, device):
    keys = torch.zeros(2, dtype=torch.int64, device=device)
    assert kernels.words(keys, keys.new_zeros(2, 0), 0, 5).shape == (2, 0, 5)


def draws_on(device: str, *, compiled: bool, dtype: torch.dtype = torch.float32) -> rng.Draws:
    keys, ids = many(device)
    return rng.Draws(keys, ids, torch.arange(len(KEYS), device=device) * 2**33, dtype, compiled=compiled)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_the_same_with_and_without_the_kernel_and_one_launch_each(kernels, device, dtype):
    mine, plain = (draws_on(device, compiled=compiled, dtype=dtype) for compiled in (True, False))
    P, B = mine.ids.shape
    low, high = torch.arange(P, device=device) - 3, torch.arange(P, device=device) * 1000
    across = torch.arange(3, device=device)[None, None]  # another bound for each place
    calls = [
        lambda d: d.words(5, 2),
        lambda d: d.uniforms(7, 2),
        lambda d: d.integers(2, 5, 9, 4),
        lambda d: d.integers(-(2**30), 2**30 - 1, 9, 4),
        lambda d: d.integers(0, 2**31 - 2, 2, 4),
        lambda d: d.integers(2**40, 2**40 + 6, 2, 4),
        lambda d: d.integers(low[:, None, None], high[:, None, None], 6, 4),
        lambda d: d.integers(low[:, None, None] + across, high[:, None, None] + 2 * across, 3, 4),
        lambda d: d.integers(torch.arange(B, device=device)[:, None], 60, 3, 4),
        lambda d: d.batch_integers(50, 199, 1),
        lambda d: d.batch_integers(low, high, 1),
        lambda d: d.batch_integers(0, high, 1),
    ]
    for call in calls:
        made, wanted = call(mine), call(plain)
        assert made.dtype == wanted.dtype
        assert torch.equal(made, wanted)
    assert len(kernels.launches) == len(calls)


def test_sample_ids_are_the_same_and_one_launch(kernels, device):
    keys, steps = many(device)[0], torch.arange(len(KEYS), device=device)
    made = rng.sample_ids(keys, steps, 10, 1234567)
    assert kernels.launches == ["integers"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rng, "kernels_on", lambda device: None)
        assert torch.equal(made, rng.sample_ids(keys, steps, 10, 1234567))


@pytest.mark.parametrize(
    "task",
    [TemporalOrder(length=[12, 31]), Adding(length=23), IntervalMatching(), Permutation(length=17), Copying(length=13)],
    ids=lambda task: type(task).__name__,
)
def test_sequences_of_tasks_are_those_of_the_compiled_loops(kernels, device, monkeypatch, task):
    """Bounds that are tensors, positions, values and symbols: a mini-batch as a GPU makes it and as the CPU does."""
    keys = torch.tensor([rng.key(3, p, "test") for p in range(3)])
    given = (keys, torch.arange(12).reshape(3, 4), torch.arange(3) + 100)
    with monkeypatch.context() as patch:
        patch.setattr(rng.Draws, "fast", False)
        # numbers in memory: kernels that draw for themselves are looked at in `gpu/test_sequences.py`
        patch.setattr("rnnsweep.core.tasks.synthetic.kernels_for", lambda what, device: None)
        made = task.batch(rng.Draws(*(tensor.to(device) for tensor in given)))
        assert kernels.launches
    with monkeypatch.context() as patch:
        patch.setattr(rng, "kernels_on", lambda device: None)
        wanted = task.batch(rng.Draws(*given))
    for name in ("inputs", "targets", "lengths"):
        assert torch.equal(getattr(made, name).cpu(), getattr(wanted, name)), name


def test_a_row_has_the_same_numbers_in_every_pack(kernels, device):
    keys, ids = many(device)
    whole = kernels.words(keys, ids, 3, 21)
    for p in range(len(KEYS)):
        assert torch.equal(kernels.words(keys[p : p + 1], ids[p : p + 1], 3, 21)[0], whole[p])


def test_on_the_cpu_no_kernel_is_looked_for():
    assert rng.kernels_on(torch.device("cpu")) is None


@pytest.fixture
def _asked_anew() -> Iterator[None]:
    rng.kernels_on.cache_clear()
    yield
    rng.kernels_on.cache_clear()


@pytest.mark.usefixtures("_asked_anew")
def test_without_triton_torch_makes_the_numbers(monkeypatch):
    monkeypatch.delitem(sys.modules, "rnnsweep.core.gpu.random_numbers", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    assert rng.kernels_on(torch.device("cuda")) is None


@pytest.mark.usefixtures("_asked_anew")
def test_a_kernel_that_cannot_be_built_is_said_once(monkeypatch):
    class Broken:
        @staticmethod
        def words(*arguments: object) -> None:
            raise RuntimeError("Failed to find C compiler.\nmore")

    monkeypatch.setattr(rng.importlib, "import_module", lambda name: Broken)
    monkeypatch.setattr(rng.torch, "zeros", lambda *shape, **options: None)
    with pytest.warns(RuntimeWarning, match=r"by torch's operations, which is slow: Failed to find C compiler\.$"):
        assert rng.kernels_on(torch.device("cuda")) is None
    assert rng.kernels_on(torch.device("cuda")) is None
