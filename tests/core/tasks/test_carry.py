"""A state that goes over from mini-batch to mini-batch: one long run of truncated backpropagation, by plain torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from rnnsweep.app.config.load import load
from rnnsweep.app.worker.factory import trainer_factory
from rnnsweep.core.controllers.gradient_flossing import GradientFlossing
from rnnsweep.core.controllers.omega import Omega
from rnnsweep.core.controllers.sampling import Sampling
from rnnsweep.core.evaluation import evaluate
from rnnsweep.core.families.base import Family
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lru import Lru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.optimizers.sgd import Sgd
from rnnsweep.core.pack import Pack
from rnnsweep.core.tasks.char_lm import CharLm
from rnnsweep.core.training import tiles, train_rung
from rnnsweep.errors import ConfigError
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec
from tests.kit.networks import Setup, assert_same_row, context_of

T, B, H, LR = 7, 3, 6, 0.2
RATE = {"optimizer__lr": LR, "optimizer__momentum": 0.0}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """700 characters of five kinds: 630 to train on, 35 to validate; 210 per stream, 29 windows of 7 and a rest."""
    generator = torch.Generator().manual_seed(3)
    codes = torch.randint(0, 5, (700,), generator=generator)
    path = tmp_path / "text.txt"
    path.write_text("".join("abcde"[int(code)] for code in codes))
    return path


def setup_of(text: Path, family: Family, **changes) -> Setup:
    task = CharLm(path=str(text), length=T, carry=True)
    return Setup(family=family, task=task, optimizer=Sgd(), batch=B, controllers={}, eval_size=100, **changes)


def codes_of(text: Path, split: str = "train") -> torch.Tensor:
    codes = torch.tensor(["abcde".index(c) for c in text.read_text()])
    return {"train": codes[:630], "valid": codes[630:665]}[split]


class Plain(torch.nn.Module):
    """Torch's own layers with a row's weights."""

    def __init__(self, family: Family, params: dict[str, torch.Tensor]) -> None:
        super().__init__()
        kind = {Srn: torch.nn.RNN, Lstm: torch.nn.LSTM, Gru: torch.nn.GRU}[type(family)]
        self.loop, self.head = kind(5, H).double(), torch.nn.Linear(H, 5).double()
        hidden = torch.zeros(len(params["b"]), dtype=torch.float64)
        if "b_n" in params:
            hidden[-H:] = params["b_n"]
        with torch.no_grad():
            self.loop.weight_ih_l0.copy_(params["w_in"].T)
            self.loop.weight_hh_l0.copy_(params["w_rec"].T)
            self.loop.bias_ih_l0.copy_(params["b"])
            self.loop.bias_hh_l0.copy_(hidden)
            self.head.weight.copy_(params["w_out"].T)
            self.head.bias.copy_(params["b_out"])
        only_new = "b_n" in params  # our one bias is torch's first; of the second only the GRU's last third is ours
        mask = torch.zeros_like(hidden)
        mask[-H:] = float(only_new)
        self.loop.bias_hh_l0.register_hook(lambda gradient: gradient * mask)

    def loss(self, codes: torch.Tensor, targets: torch.Tensor, state):
        states, state = self.loop(one_hot(codes, 5).double(), state)
        return cross_entropy(self.head(states).flatten(0, 1), targets.flatten()), state


def detached(state):
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def plain_run(family: Family, params: dict[str, torch.Tensor], text: Path, updates: int) -> tuple[Plain, list[float]]:
    """Streams one below the other, chunk after chunk, the state detached between them."""
    codes, network, losses, state = codes_of(text), Plain(family, params), [], None
    steps = (len(codes) - 1) // B
    for update in range(updates):
        start = update % (steps // T) * T
        state = None if start == 0 else state
        index = start + torch.arange(T)[:, None] + steps * torch.arange(B)
        loss, state = network.loss(codes[index], codes[index + 1], state)
        state = detached(state)
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weight in network.parameters():
                weight -= LR * weight.grad
        losses.append(loss.item())
    return network, losses


@pytest.mark.parametrize("family", [Srn(hidden=H), Lstm(hidden=H), Gru(hidden=H)], ids=["srn", "lstm", "gru"])
def test_it_is_one_long_truncated_run(text, family):
    """Over the end of the text and on, 40 updates of which 29 fill it; each row from its own weights."""
    setup = setup_of(text, family)
    pack = setup.pack([0, 1], **RATE)
    before = [pack.row(p).params for p in range(2)]
    losses = [[row["train/loss"] for row in train_rung(pack, 1, 100)] for _ in range(40)]
    for p in range(2):
        network, wanted = plain_run(family, before[p], text, 40)
        assert [loss[p] for loss in losses] == pytest.approx(wanted, rel=1e-10)
        torch.testing.assert_close(pack.row(p).params["w_rec"], network.loop.weight_hh_l0.T, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(pack.row(p).params["w_out"], network.head.weight.T, rtol=1e-9, atol=1e-12)
    without = replace(setup, task=replace(setup.task, carry=False)).pack([0, 1], **RATE)
    assert losses[1] != [row["train/loss"] for row in (train_rung(without, 1, 100), train_rung(without, 1, 100))[1]]


@pytest.mark.parametrize("family", [Srn(hidden=H), Lstm(hidden=H)], ids=["srn", "lstm"])
def test_validation_text_is_read_as_streams(text, family):
    """35 characters with 34 targets: 4 whole windows of 7, shared by 3 streams: one each."""
    pack = setup_of(text, family).pack([0])
    (_, tile), *_ = tiles(pack)
    codes, network = codes_of(text, "valid"), Plain(family, pack.row(0).params)
    for batch, windows in ((3, 1), (2, 2), (1, 4)):
        tile.program = replace(pack.program, batch=batch)
        found = evaluate(tile, tile.keys["eval"]).loss
        index = torch.arange(windows * T)[:, None] + windows * T * torch.arange(batch)
        wanted, _ = network.loss(codes[index], codes[index + 1], None)
        assert float(found[0]) == pytest.approx(wanted.item(), rel=1e-12)


@pytest.mark.parametrize("family", [Srn(hidden=H), Lstm(hidden=H), Lru(hidden=H)], ids=["srn", "lstm", "lru"])
def test_rows_are_strangers_and_take_their_state_along(text, family):
    """A row that joins another pack at another update goes on as if nothing had happened."""
    setup = setup_of(text, family)
    alone = setup.pack([0], **RATE)
    for _ in range(9):
        train_rung(alone, 4, 100)
    moved = setup.pack([0], **RATE)
    for _ in range(5):
        train_rung(moved, 4, 100)
    state = moved.row(0)
    assert state.slots["task.state"].abs().sum() > 0
    other = Pack(setup.program())
    other.join([(setup.member(1, **RATE), setup.state(other.program, 1)), (setup.member(0, **RATE), state)])
    for _ in range(4):
        train_rung(other, 4, 100)
    assert_same_row(other.row(1), alone.row(0))


def test_a_refused_mini_batch_is_read_all_the_same(text):
    """Sampling that admits nothing: weights stay, the state moves on; it is what torch has after as many chunks."""
    setup = replace(
        setup_of(text, Srn(hidden=H)), controllers={"sampling": Sampling(q_min=90.0, q_max=91.0, r0=1e-300)}
    )
    pack = setup.pack([0], **RATE)
    before = pack.row(0)
    for _ in range(5):
        train_rung(pack, 1, 100)
    assert pack.taken.tolist() == [0]
    assert torch.equal(pack.row(0).params["w_rec"], before.params["w_rec"])
    codes, network = codes_of(text), Plain(Srn(hidden=H), before.params)
    index = torch.arange(5 * T)[:, None] + (len(codes) - 1) // B * torch.arange(B)
    _, state = network.loss(codes[index], codes[index + 1], None)
    torch.testing.assert_close(pack.slots["task.state"][0], state[0])


@pytest.mark.parametrize(
    "unit", [Omega(weight=2.0, gradient="full"), GradientFlossing(weight=1.0)], ids=["omega", "floss"]
)
def test_controllers_that_run_the_loop_again_begin_where_it_began(text, unit):
    """A carried state of zero is no state; another one is another loop."""
    setup = replace(setup_of(text, Srn(hidden=H)), controllers={"unit": unit})
    found = []
    for value in (0.0, 0.7):
        pack = setup.pack([0])
        pack.step += 1  # in the middle of the text
        pack.slots["task.state"].fill_(value)
        _, context = context_of(pack, "controllers.unit")
        assert context.batch.state is not None and bool((context.batch.state == value).all())
        plain = replace(context, gradients=context.gradients.clone(), batch=replace(context.batch, state=None))
        found.append((unit.add(context), unit.add(plain)))
    assert torch.equal(*found[0])
    assert not torch.allclose(*found[1])


@pytest.mark.parametrize(
    ("typed", "key", "word"),
    [
        (["task.context=3"], "task.context", "0 with task.carry=true"),
        (["family=momentum_lstm"], "task.carry", "begins every sequence in a way of its own"),
        (["family=scurnn"], "task.carry", "scurnn"),
        (["learner=rflo"], "task.carry", "rflo"),
        (["readout=attention"], "task.carry", "attention"),
        (["training.batch=1000"], "training.batch", "at most 89"),
    ],
)
def test_what_cannot_be_carried_is_refused(text, tmp_path, typed, key, word):
    fixed = ["task=char_lm", f"task.path={text}", "task.length=7", "task.carry=true"]
    with pytest.raises(ConfigError) as caught:
        load(None, [*fixed, *typed], store=tmp_path)
    assert caught.value.key == key
    assert word in str(caught.value)


def numbers(reports: list[RowReport]) -> list[tuple]:
    return [(report.rung, dict(report.metrics)) for report in reports]


@pytest.mark.parametrize("family", ["srn", "lstm"])
def test_an_interrupted_row_goes_on_to_the_bit(text, tmp_path, family):
    fixed = ["task=char_lm", f"task.path={text}", "task.length=7", "task.carry=true", f"family={family}"]
    small = ["family.hidden=6", "training.batch=3", "training.report_every=5", "budget.updates=40", "optimizer.lr=0.5"]

    def worker(folder: str):
        config = load(None, ["name=c", *fixed, *small], store=tmp_path / folder)
        return trainer_factory(config)("w0", 1)

    def run(trainer, orders: Orders) -> list[RowReport]:
        found, failures = trainer.advance(orders)
        while trainer.rows and not failures:
            more, failures = trainer.advance(Orders())
            found += more
        assert not failures
        return found

    whole = run(worker("a"), Orders(join=(RowSpec(0, 0, "0001", {}, 40),)))
    assert len(whole) == 8
    first = worker("b")
    reports, failures = first.advance(Orders(join=(RowSpec(0, 0, "0001", {}, 40),)))
    reports += first.advance(Orders(acknowledged={(0, 0): 1}))[0]
    assert not failures
    second = run(worker("b"), Orders(join=(RowSpec(0, 0, "0002", {}, 40, restore=("0001",)),)))
    assert numbers(whole)[1:] == numbers(second)
    assert whole[0].engine.endswith("the state is carried over)")
