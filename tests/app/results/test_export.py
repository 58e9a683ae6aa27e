"""A trained network as a file: it says what the network says, at sizes of which none was traced."""

from __future__ import annotations

import io
import json

import pytest
import torch

from rnnsweep.app.results.export import ABOUT, FORMS, export
from rnnsweep.core.embeddings.learned import LearnedEmbedding
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.families.momentum_lstm import MomentumLstm
from rnnsweep.core.families.nesterov_lstm import NesterovLstm
from rnnsweep.core.families.sbo import Sbo
from rnnsweep.core.families.scurnn import Scurnn
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.layered import layered
from rnnsweep.core.network import Parts, RecurrentNetwork
from rnnsweep.core.readout import Readout
from rnnsweep.core.readouts.attention import Attention
from rnnsweep.core.readouts.mlp import Mlp
from rnnsweep.core.readouts.pooling import Pooling
from rnnsweep.errors import ConfigError, RnnsweepError
from tests.core.test_network import FAMILIES, named, network, sequences
from tests.kit.networks import Setup
from tests.kit.ragged import RaggedSymbols
from tests.kit.shapes import unchecked

KINDS = (Srn, MomentumLstm, Scurnn, Sbo)
"""A simple loop, a gated one behind a filter, a complex one, one with inner steps."""
SIZES = [(1, 1), (7, 1), (1, 4), (30, 2)]


@pytest.fixture(autouse=True)
def traceable():
    """Exporters follow every line; the wrappers that check shapes are not theirs to follow."""
    with unchecked():
        yield


def runner(file, form):
    """(arguments) -> outputs of an exported file, without rnnsweep."""
    if form == "torch":
        program = torch.export.load(file).module()
        return lambda **arguments: program(*arguments.values())
    session = pytest.importorskip("onnxruntime").InferenceSession(file)
    known = {one.name for one in session.get_inputs()}

    def run(**arguments):
        fed = {name: value.numpy() for name, value in arguments.items() if name in known}
        found = [torch.as_tensor(value) for value in session.run(None, fed)]
        return found[0] if len(found) == 1 else tuple(found)

    return run


def onnx() -> bool:
    import importlib.util

    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


def cases(*given):
    """(unit, ..., form) by turns: ONNX's exporter begins with torch's, so what differs is in few cases."""
    missing = pytest.mark.skipif(not onnx(), reason="extra 'onnx'")
    return [
        pytest.param(*values, marks=missing if values[-1] == "onnx" else (), id="-".join(map(str, values)))
        for values in given
    ]


def forms():
    return cases(*((form,) for form in FORMS))


@pytest.mark.parametrize(
    ("family", "form"),
    cases(
        (Lstm(hidden=8), "torch"),
        (Lstm(hidden=8), "onnx"),
        (Scurnn(hidden=8), "onnx"),
        (NesterovLstm(hidden=8, restart=3), "onnx"),
    ),
)
def test_whole_sequences_with_lengths(tmp_path, family, form):
    ours = network(family)
    run = runner(export(ours, form, tmp_path / "file"), form)
    for steps, batch in SIZES:
        x, lengths = sequences(steps, batch), torch.arange(batch) % steps + 1
        torch.testing.assert_close(run(inputs=x, lengths=lengths), ours(x, lengths), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "readout", "form"),
    cases(
        (Srn(hidden=5, layers=3, residual=True), Readout(), "onnx"),
        (Gru(hidden=5, layers=2), Pooling(kind="max"), "onnx"),
        (Gru(hidden=5, layers=2), Readout(), "torch"),
        (MomentumLstm(hidden=5, layers=3), Pooling(kind="max"), "torch"),
        (Lstm(hidden=5, layers=2, bidirectional=True, residual=True), Pooling(kind="max"), "torch"),
        (Lstm(hidden=5, layers=2, bidirectional=True, residual=True), Readout(), "onnx"),
        (MomentumLstm(hidden=5, bidirectional=True), Readout(), "onnx"),
    ),
)
def test_layers(tmp_path, family, readout, form):
    ours = network(layered(family), readout=readout)
    run = runner(export(ours, form, tmp_path / "file"), form)
    for steps, batch in SIZES:
        x, lengths = sequences(steps, batch), torch.arange(batch) % steps + 1
        torch.testing.assert_close(run(inputs=x, lengths=lengths), ours(x, lengths), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=named)
def test_every_family_streams(tmp_path, family):
    """One of each kind of loop also in the stricter form, which takes most of the time."""
    ours, form = network(family), "onnx" if onnx() and type(family) in KINDS else "torch"
    run = runner(export(ours, form, tmp_path / "file", streaming=True), form)
    for steps, batch in SIZES:
        x, state = sequences(steps, batch), ours.initial_state(batch)
        for _ in range(2):  # on from where it ended
            y, after = run(inputs=x, state=state)
            wanted, state = ours.stream(x, state)
            torch.testing.assert_close(y, wanted, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(after, state, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", forms())
def test_a_read_out_that_looks_back(tmp_path, form):
    ours = network(Srn(hidden=8), readout=Attention(heads=2))
    run = runner(export(ours, form, tmp_path / "file"), form)
    x, lengths = sequences(11, 4), torch.tensor([11, 3, 1, 7])
    torch.testing.assert_close(run(inputs=x, lengths=lengths), ours(x, lengths), rtol=1e-9, atol=1e-9)
    with pytest.raises(RnnsweepError, match="looks back"):
        export(ours, form, tmp_path / "none", streaming=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("streaming", "form"), cases((True, "torch"), (False, "onnx")))
def test_symbols_that_are_looked_up(tmp_path, form, streaming):
    embedding = LearnedEmbedding(size=5, tied=True)
    setup = Setup(Gru(6), RaggedSymbols(every=True), readout=Mlp(hidden=(7, 5)), embedding=embedding)
    pack = setup.pack([0])
    program, values = pack.program, pack.program.layout.view(pack.params)
    ours = RecurrentNetwork(Parts(program.family, program.readout, 5, True, embedding), values, {}).eval()
    file = export(ours, form, tmp_path / "file", streaming=streaming)
    run = runner(file, form)
    for steps, batch in SIZES:
        codes = torch.randint(5, (steps, batch), generator=torch.Generator().manual_seed(steps))
        if streaming:
            state = ours.initial_state(batch)
            found, wanted = run(inputs=codes, state=state), ours.stream(codes, state)
        else:
            lengths = torch.arange(batch) % steps + 1
            found, wanted = (run(inputs=codes, lengths=lengths),), (ours(codes, lengths),)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert {name for name, _ in ours.named_parameters()} >= {"embedding", "w_mlp1", "b_out"}
    assert not hasattr(ours, "w_out")
    assert torch.equal(ours.get("w_out"), ours.get("embedding").T)


@pytest.mark.parametrize(
    ("readout", "form"),
    cases((Attention(heads=2, query="trained"), "onnx"), (Pooling(kind="last"), "torch"), (Mlp(hidden=5), "onnx")),
)
def test_read_outs_of_one_last_state_and_of_a_query(tmp_path, form, readout):
    ours = network(Srn(hidden=8), readout=readout)
    run = runner(export(ours, form, tmp_path / "file"), form)
    x, lengths = sequences(11, 4), torch.tensor([11, 3, 1, 7])
    torch.testing.assert_close(run(inputs=x, lengths=lengths), ours(x, lengths), rtol=1e-9, atol=1e-9)


def test_a_file_says_what_is_in_it(tmp_path):
    ours = network(Scurnn(hidden=4))
    file = export(ours, "torch", tmp_path / "file.pt2", streaming=True, facts={"sweep": "mine", "trial": 3})
    extra = {ABOUT: ""}
    torch.export.load(io.BytesIO(file.read_bytes()), extra_files=extra)
    facts = json.loads(extra[ABOUT])
    assert {"sweep": "mine", "trial": 3, "inputs": 6, "dtype": "float64"}.items() <= facts.items()
    assert torch.equal(torch.tensor(facts["initial_state"], dtype=torch.float64), ours.initial_state(1)[0])


@pytest.mark.parametrize(("form", "name"), [("tf", "file"), ("torch", "none/file"), ("torch", ".")])
def test_what_cannot_be_written_is_refused_first(tmp_path, form, name, monkeypatch):
    monkeypatch.setattr("torch.export.export", lambda *_: pytest.fail("it was traced"))
    with pytest.raises(ConfigError, match="--to" if form == "tf" else "--out"):
        export(network(Srn(hidden=4)), form, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_the_extra_is_named(tmp_path, monkeypatch):
    import importlib

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(RnnsweepError, match="extra 'onnx'"):
        export(network(Srn(hidden=4)), "onnx", tmp_path / "file")


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    load = torch.export.load

    class Off:
        def __init__(self, program):
            self.program = program

        def module(self):
            return lambda *arguments: self.program.module()(*arguments) + 1

    monkeypatch.setattr("torch.export.load", lambda file: Off(load(file)))
    with pytest.raises(RnnsweepError, match="differs from the network"):
        export(network(Srn(hidden=4)), "torch", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
