"""Trained tables against torch.nn.Embedding, an LSTM of torch's and a tied linear map; checks of configs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rnnsweep.app.config.load import load
from rnnsweep.core import rng
from rnnsweep.core.build import build_program, build_units, initial_state, shape_key
from rnnsweep.core.controllers.per_parameter import PerParameterClip
from rnnsweep.core.embeddings.learned import LearnedEmbedding
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.layered import layered
from rnnsweep.core.pack import Streams
from rnnsweep.core.training import tiles, train_batch, train_rung
from rnnsweep.core.types import Wanted
from rnnsweep.errors import ConfigError
from tests.contract.test_engines import assert_close
from tests.core.test_layered import torch_module
from tests.kit.networks import Setup, assert_same_row, context_of
from tests.kit.ragged import RaggedSymbols, one_by_one

H = 6


def torch_loss(values: dict[str, torch.Tensor], batch, layers: int, tied: bool):
    """Loss of row 0 by torch's modules, and their parameters by our names with the row's numbers."""
    table = torch.nn.Embedding.from_pretrained(values["embedding"][0].clone(), freeze=False)
    lstm = torch_module("lstm", values, table.embedding_dim, H, layers)
    w_out = values["w_out"][0].clone().requires_grad_()
    b_out = values["b_out"][0].clone().requires_grad_()
    each = []
    for length, one in one_by_one(batch):
        h = lstm(table(one.inputs[0]))[0][:, 0]  # T H
        y = torch.nn.functional.linear(h, table.weight, b_out) if tied else h @ w_out + b_out
        each.append(torch.nn.functional.cross_entropy(y, one.targets[0, :, 0], reduction="sum"))
        assert len(h) == length
    loss = torch.stack(each).sum() / batch.lengths.sum()
    loss.backward()
    places = {"weight_hh": "w_rec", "weight_ih": "w_in", "bias_ih": "b"}
    ends = {layer: "" if layer == layers else f"_l{layer}" for layer in range(1, layers + 1)}
    true = {
        ours + end: getattr(lstm, f"{theirs}_l{layer - 1}").grad
        for layer, end in ends.items()
        for theirs, ours in places.items()
    }
    true = {name: value.T if value.ndim == 2 else value for name, value in true.items()}
    true |= {"embedding": table.weight.grad, "b_out": b_out.grad}
    return loss.detach(), true | ({} if tied else {"w_out": w_out.grad})


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("tied", [False, True])
def test_gradients_are_those_of_torchs_modules(tied: bool, layers: int, engine: str) -> None:
    embedding = LearnedEmbedding(size=H if tied else 4, tied=tied)
    setup = Setup(
        family=layered(Lstm(H, layers=layers)), task=RaggedSymbols(every=True), embedding=embedding, engine=engine
    )
    pack = setup.pack([0])
    (_, tile), *_ = tiles(pack)
    program, batch = pack.program, train_batch(tile)
    assert batch.inputs.dtype == torch.int64
    learned = program.learner.learn(program, tile.params, tile.unit_hypers("family"), batch, Wanted(), {})
    loss, true = torch_loss(program.layout.view(tile.params), batch, layers, tied)
    assert_close(learned.loss[0], loss, 1e-12, "loss")
    ours = {spec.name: program.layout.part(learned.gradients, spec) for spec in program.layout.specs}
    assert true.keys() == ours.keys()
    for name, value in true.items():
        assert_close(ours[name][0], value, 1e-12, name)
        assert value.abs().max() > 1e-6


def test_a_learned_table_is_a_one_hot_product_with_its_lines() -> None:
    """The same network with one-hot inputs, whose first layer's matrix is table W_in."""
    task, tables = RaggedSymbols(every=True), LearnedEmbedding(size=4)
    pack, plain = Setup(Lstm(H), task, embedding=tables).pack([0]), Setup(Lstm(H), task).pack([0])
    (_, tile), *_ = tiles(pack)
    (_, other), *_ = tiles(plain)
    values = pack.program.layout.view(tile.params)
    product = {**values, "w_in": values["embedding"] @ values["w_in"]}
    plain.program.layout.flatten(product, other.params)
    learned, theirs = (
        one.program.learner.learn(one.program, one.params, one.unit_hypers("family"), train_batch(one), Wanted(), {})
        for one in (tile, other)
    )
    assert_close(learned.loss, theirs.loss, 1e-12, "loss")
    gradients, w_in = pack.program.layout.view(learned.gradients), plain.program.layout.view(theirs.gradients)["w_in"]
    assert_close(gradients["embedding"], w_in @ values["w_in"].transpose(1, 2), 1e-12, "embedding")
    assert_close(gradients["w_in"], values["embedding"].transpose(1, 2) @ w_in, 1e-12, "w_in")


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_a_row_is_to_the_bit_what_it_is_alone_and_interrupted(engine: str, tied: bool) -> None:
    setup = Setup(
        Lstm(H), RaggedSymbols(every=True), embedding=LearnedEmbedding(size=H, tied=tied), engine=engine,
        dtype=torch.float32,
    )  # fmt: skip
    wide, alone, parts = setup.pack([0, 1, 2, 3]), setup.pack([2]), setup.pack([2, 0])
    for pack in (wide, alone, parts):
        train_rung(pack, 3, 1)
    again = setup.pack([1])
    again.join([(setup.member(2), parts.row(0))])  # from its checkpoint, beside another row
    for pack in (wide, alone, again):
        train_rung(pack, 3, 1)
    assert_same_row(wide.row(2), alone.row(0))
    assert_same_row(wide.row(2), again.row(1))
    assert "w_out" in alone.row(0).params or tied


def test_first_values_are_normal_and_scale_with_sigma() -> None:
    keys = torch.tensor([rng.key(0, replica, "init") for replica in range(2)])
    drawn = LearnedEmbedding(size=50).initial(400, keys)["embedding"]
    assert drawn.shape == (2, 400, 50)
    # 40 000 numbers: six standard errors of mean and variance, false alarm 4e-9
    assert abs(float(drawn.mean())) < 6 / 200
    assert abs(float(drawn.var()) - 1) < 6 * (2 / 40000) ** 0.5
    assert torch.equal(LearnedEmbedding(size=50, sigma=0.25).initial(400, keys)["embedding"], drawn / 4)
    assert torch.equal(LearnedEmbedding(size=50).initial(400, keys[1:])["embedding"], drawn[1:])


def units_of(tmp_path: Path, *overrides: str):
    config = load(None, ["name=t", *overrides], store=tmp_path)
    return config.resolved, build_units(config.resolved)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["task=adding"], r"embedding='learned': looks symbols up, and the inputs of the task adding are numbers"),
        (["task=temporal_order", "embedding.tied=true"], r"embedding\.tied=True: .* has 6 symbols and 4 outputs"),
        (["task=char_lm", "embedding.tied=true"], r"embedding\.size=32: .* allowed: 50, or embedding\.tied=false"),
        (["task=char_lm", "embedding.tied=true", "embedding.size=64", "readout=mlp", "learner=ridge"], "ridge sets"),
        (["task=char_lm", "embedding.size=0"], r"embedding\.size"),
        (["task=char_lm", "learner=rtrl"], "looks its inputs up before it; allowed: learner=bptt, or embedding=none"),
        (["task=char_lm", "learner=hessian_free"], "looks its inputs up"),
        (["task=char_lm", "learner=eprop"], "looks its inputs up"),
    ],
)
def test_what_has_no_meaning_is_refused_in_one_line(tmp_path: Path, overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        units_of(tmp_path, "embedding=learned", *overrides)
    assert "\n" not in str(caught.value)


def test_a_tied_read_out_fits_the_hidden_layer_before_it(tmp_path: Path) -> None:
    resolved, units = units_of(
        tmp_path, "task=char_lm", "embedding=learned", "embedding.size=64", "embedding.tied=true", "readout=mlp"
    )
    layout = build_program(resolved, units, torch.device("cpu")).layout
    assert "w_out" not in layout.offsets
    assert layout.view(torch.zeros(1, layout.size))["w_out"].shape == (1, 64, units.task.n_outputs)


def test_sigma_is_no_part_of_the_shape_and_a_row_begins_with_its_own(tmp_path: Path) -> None:
    rows = []
    for sigma in (1.0, 0.5):
        resolved, units = units_of(tmp_path, "task=char_lm", "embedding=learned", f"embedding.sigma={sigma}")
        program = build_program(resolved, units, torch.device("cpu"))
        rows.append((shape_key(resolved, units), initial_state(program, units, Streams(0, 0)).params))
    assert rows[0][0] == rows[1][0]
    assert torch.equal(rows[0][1]["embedding"], 2 * rows[1][1]["embedding"])
    assert torch.equal(rows[0][1]["w_rec"], rows[1][1]["w_rec"])


def test_ten_thousand_words_take_no_more_memory_than_ten() -> None:
    small, large = (
        Setup(Lstm(H), RaggedSymbols(n_inputs=count, n_outputs=3), embedding=LearnedEmbedding(size=8)).program()
        for count in (10, 10_000)
    )
    assert large.record_bytes == small.record_bytes
    pack = Setup(Lstm(H), RaggedSymbols(n_inputs=10_000, n_outputs=3), embedding=LearnedEmbedding(size=8)).pack([0])
    (_, tile), *_ = tiles(pack)
    assert train_batch(tile).inputs.shape == (1, 7, 5)


def test_a_family_behind_a_look_up_is_still_itself(tmp_path: Path) -> None:
    _, units = units_of(tmp_path, "task=char_lm", "embedding=learned", "family=gru")
    assert units.family.unit_name == units_of(tmp_path, "family=gru")[1].family.unit_name
    assert not units.family.restarts
    assert replace(units.family, hidden=7).hidden == 7


def test_a_clip_of_each_parameter_shrinks_a_tied_table_once() -> None:
    setup = Setup(
        Lstm(H), RaggedSymbols(every=True), embedding=LearnedEmbedding(size=H, tied=True),
        controllers={"clip": PerParameterClip(threshold=1e-3)},
    )  # fmt: skip
    pack = setup.pack([0])
    _, context = context_of(pack, "controllers.clip")
    layout, before = pack.program.layout, context.gradients.clone()
    after = setup.controllers["clip"].transform(context, before.norm(dim=1)).gradients
    for spec in layout.specs:
        own, clipped = layout.part(before, spec), layout.part(after, spec)
        assert_close(clipped, own * min(1.0, 1e-3 / float(own.norm())), 1e-12, spec.name)
