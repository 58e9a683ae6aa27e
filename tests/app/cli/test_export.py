"""`rnnsweep export`: a file beside one, called after sweep and trial."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from rnnsweep.app.cli.main import app
from tests.kit.shapes import unchecked


@pytest.fixture
def export(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with unchecked():  # exporters would follow the checks
        yield lambda *words: CliRunner().invoke(app, ["export", "tiny", "--store", str(tiny[0]), *words])


def test_the_best_trial_by_default(tiny, tmp_path, export):
    done, best = export("--to", "torch"), tiny[1].best
    assert done.exit_code == 0, done.output
    file = tmp_path / f"tiny-trial{best.number}.pt2"
    assert done.stdout.startswith(file.name)
    x, lengths = torch.rand(12, 2, 6, dtype=torch.float32), torch.tensor([12, 5])
    torch.testing.assert_close(torch.export.load(file).module()(x, lengths), best.load()(x, lengths))


def test_another_trial_to_another_place_for_streaming(tiny, tmp_path, export):
    assert export("--to", "torch", "--trial", "2", "--out", "net.pt2", "--streaming").exit_code == 0
    network, x = tiny[1].trial(2).load(), torch.rand(1, 2, 6, dtype=torch.float32)
    y, state = torch.export.load(tmp_path / "net.pt2").module()(x, network.initial_state(2))
    wanted = network.stream(x)
    torch.testing.assert_close((y, state), wanted)


@pytest.mark.parametrize(
    "words", [["--to", "tf"], ["--to", "torch", "--trial", "9"], ["--to", "torch", "--out", "no/x"]]
)
def test_what_cannot_be_is_one_line(tmp_path, export, words):
    done = export(*words)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.pt2"))
