"""The benchmark on a GPU, as far as it can be tested without one: its check on the CPU, its lines and its page."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

TINY = ("task.length=10", "family.hidden=6", "training.batch=3", "dtype=float64")
CPU = torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("gpu")


def test_without_a_gpu_it_says_so_and_ends_well(gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main(["--only", "unit", "--rows", "24"])
    assert capsys.readouterr().out == "no GPU here: nothing was measured\n"


def test_the_check_finds_two_engines_alike_and_prints_line_by_line(gpu, capsys):
    section, wrong = gpu.check(CPU, ("srn", "momentum_srn"), TINY, "reference")
    assert wrong == []
    assert [row[::2] for row in section.rows] == [["srn", "reference"], ["momentum_srn", "reference"]]
    # sums of up to 30 terms in another order, three times
    assert all(float(row[1]) < 1e-12 for row in section.rows)
    assert capsys.readouterr().out.splitlines()[-1].split() == section.rows[-1]


def test_the_check_says_what_is_wrong(gpu, monkeypatch):
    """Another length is another update: not the same numbers."""
    load, lengths = gpu.bench_config, iter((10, 11))
    monkeypatch.setattr(gpu, "bench_config", lambda names, **how: load([*names, f"task.length={next(lengths)}"], **how))
    section, wrong = gpu.check(CPU, ("srn",), TINY[1:], "reference")
    assert wrong == ["srn"]
    assert section.rows[0][2] == "reference: WRONG"


def test_a_wrong_engine_ends_the_run_with_an_error_and_no_page(gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "rates", lambda device: (5e13, 4e12))
    monkeypatch.setattr(gpu, "header", lambda *facts: ["a device"])
    section = gpu.Section("Check", ("family", "difference", "engine"), "", [["srn", "1", "gpu: WRONG"]])
    for wrong in (["srn"], []):
        monkeypatch.setattr(gpu, "check", lambda device, wrong=wrong: (section, wrong))
        if wrong:
            with pytest.raises(SystemExit, match="WRONG on this GPU: srn"):
                gpu.main(["--only", "check", "--markdown", str(tmp_path / "gpu.md")])
            assert not list(tmp_path.iterdir())
    gpu.main(["--only", "check", "--markdown", str(tmp_path / "gpu.md")])
    assert (tmp_path / "gpu.md").read_text().startswith("# Speed on a GPU\n")


def test_lines_and_pages_have_the_same_cells(gpu, capsys):
    section = gpu.Section("A table", ("rows", "us", "note"), "What it is.")
    section.begin()
    section.add(24, 1234.5, "called, not replayed")
    section.add("srn", None, "")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["A table", "rows".ljust(28) + "  " + "us".rjust(9) + "  note"]
    assert lines[3] == "24".ljust(28) + "  " + "1234".rjust(9) + "  called, not replayed"
    page = gpu.page(["A device.", "Rates."], [section])
    assert (
        "## A table\n\nWhat it is.\n\n| rows | us | note |\n|---|---|---|\n| 24 | 1234 | called, not replayed |" in page
    )
    assert page.count("Made by `python benchmarks/gpu.py") == 1


def test_shares_and_goals_by_hand(gpu):
    # 60 MFLOP at 50 TFLOP/s: 1.2 us; 528 rows in 1.584 ms: 3 us each
    timing = gpu.Timing(528, 1.584e-3, 60_000_000, "")
    assert timing.each == pytest.approx(3.0)
    assert timing.share(5e13) == "40.0%"
    assert gpu.Timing(1, 1.0, None, "").share(5e13) is None
    assert [gpu.goal(rows) for rows in (24, 132, 528, 4096)] == [15.0, 4.0, 2.5, 2.0]


def test_every_family_is_a_case(gpu):
    files = {path.stem for path in (Path(__file__).parents[2] / "conf/family").glob("*.yaml")}
    assert {*gpu.families(), "stack"} == files
    assert set(gpu.CHECKED) < files
    parts = gpu.Bench(CPU, 1e11, (1,), 0.0).parts()
    assert {"check", *parts} == set(gpu.options_of([]).only)


def test_cases_that_fail_or_take_too_long_leave_the_others(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "FULL", 2)
    bench = gpu.Bench(CPU, 1e11, (1,), time.monotonic())
    cases = [
        ("small", [*TINY, "engine=reference"]),
        ("unknown", ["family=nobody"]),
        ("asking", [*TINY, "engine=reference", "+controllers=gradient_flossing"]),
        ("long", ["engine=reference", "task.length=20000", "family.hidden=4"]),
    ]
    # the limit is the long one's alone: a machine with other work takes its time for the small one
    section = bench.packs("Cases", cases[:3])
    late = bench.packs("Late", cases[3:], 2.0)
    assert float(section.rows[0][1]) > 0
    assert section.rows[0][4] == "reference"
    assert section.rows[1][4].startswith("ConfigError: ")
    assert section.rows[2][4] == "reference; called, not replayed"
    assert late.rows[0][4] == "stopped after 2 s"
    assert list(bench.best) == ["small", "asking"]
    monkeypatch.setattr(gpu, "ALL_SECONDS", -1.0)
    assert bench.packs("Cases", cases[:1]).rows[0][4] == "left out: no time left"


@pytest.mark.slow
def test_kernels_are_compiled_ahead_by_processes_of_their_own(gpu, monkeypatch, capfd):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu.compile_ahead(2) < gpu.WARM_SECONDS
    assert capfd.readouterr().out.splitlines() == 2 * ["no GPU here: nothing was measured"]
    monkeypatch.setattr(gpu, "FULL", 2)
    bench, seen, timed = gpu.Bench(CPU, 1.0, (), 0.0), [], gpu.timed
    monkeypatch.setattr(
        gpu.Bench, "cases", lambda self: {"cells": [("no", ["family=nobody"]), ("a", TINY), ("b", TINY)]}
    )
    monkeypatch.setattr(
        gpu, "timed", lambda overrides, *rest: seen.append(timed([*overrides, "engine=reference"], *rest))
    )
    bench.warm(0, 2)
    assert len(seen) == 1  # the first fails, the second is another process's


def test_peers_train(gpu):
    """PyTorch's step, on the CPU: all parameters move."""
    peers = importlib.import_module("gpu_peers")
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)  # what make_batch draws
    try:
        step = peers.torch_step(torch.nn.LSTM, "cpu")
        parameters = next(cell.cell_contents for cell in step.__closure__ if isinstance(cell.cell_contents, list))
        before = [parameter.detach().clone() for parameter in parameters]
        step()
    finally:
        torch.set_default_dtype(usual)
    assert all(not torch.equal(a, b) for a, b in zip(before, parameters, strict=True))


def test_a_peer_that_fails_has_a_line_that_says_so(gpu, monkeypatch):
    peers = importlib.import_module("gpu_peers")

    def fails():
        raise RuntimeError("no memory\nmore")

    made = [peers.Peer("broken", "srn", 1, fails), peers.Peer("quick", "srn", 2, lambda: lambda: None)]
    monkeypatch.setattr(peers, "peers", lambda: made)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    section = gpu.Bench(CPU, 1e11, (1,), 0.0, {"srn": 3.0}).peers()
    assert section.rows[0] == ["broken", "1", "", "", "RuntimeError: no memory"]
    assert float(section.rows[1][4]) == pytest.approx(float(section.rows[1][3]) / 3, rel=0.1)
