"""`rnnsweep analyze SWEEP` on a real sweep of three trials: files, rows, axis, mistakes."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
import torch

from rnnsweep.app.results.sweep import open_sweep
from rnnsweep.app.results.trained_rows import RowGroup, chosen_trials, load_groups
from rnnsweep.app.studies.trained_analyses import Request, _takes, analyze_sweep, chosen_analyses, names
from rnnsweep.core.analyses.trained_rows import TrainedRows
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.readouts.pooling import Pooling
from rnnsweep.errors import ConfigError, ConfigWarning
from tests.kit.networks import Setup

QUICK = (
    *("fixed_points.starts=4", "fixed_points.sequences=2", "lyapunov.sequences=2", "gradient_flow.sequences=2"),
    *("jacobian_spectra.sequences=2", "effective_memory.sequences=3", "portrait.sequences=3", "portrait.starts=2"),
    *("bifurcation_diagram.transient=5", "bifurcation_diagram.samples=4", "bifurcation_diagram.steps=4"),
)


@pytest.mark.slow
def test_every_analysis_writes_a_figure_its_tables_and_its_part_of_the_page(tiny, tmp_path):
    page, *files = analyze_sweep(tiny[1], Request(settings=QUICK), tmp_path / "out")
    text = page.read_text()
    for name in names():
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f'id="{name}"' in text
    assert all(file.is_file() for file in files)
    for file in (file for file in files if file.suffix == ".csv"):
        table = pd.read_csv(file)
        assert set(table["trial"]) == {0, 1, 2}
        assert {"replica", "objective", *tiny[1].trials().filter(regex=r"\.").columns} <= set(table.columns)
    assert "starts = 4" in text


def test_other_formats_hold_the_same(tiny, tmp_path):
    request = Request(only=["gradient_flow"], settings=["gradient_flow.sequences=2"], formats=("pdf", "parquet"))
    page, *files = analyze_sweep(tiny[1], request, tmp_path / "out")
    assert [file.suffix for file in files] == [".png", ".pdf", ".csv", ".parquet", ".csv", ".parquet"]
    assert files[1].read_bytes().startswith(b"%PDF")
    for file in (files[2], files[4]):
        table, same = pd.read_csv(file), pd.read_parquet(file.with_suffix(".parquet"))
        assert list(table.columns) == list(same.columns)
        assert table["trial"].tolist() == same["trial"].tolist()
    assert page.name == "index.html"
    analyze_sweep(tiny[1], Request(only=["gradient_flow"], settings=request.settings), tmp_path / "out")
    assert not files[1].exists() and not files[3].exists(), "what is not asked for would be of other rows"


def test_rows_are_the_networks_that_load_gives(tiny):
    sweep = tiny[1]
    (group,) = load_groups(sweep, chosen_trials(sweep, "all"))
    assert [trial for trial, _ in group.names] == [0, 1, 2]
    for place, (trial, replica) in enumerate(group.names):
        network = sweep.trial(trial).load(replica).double()
        batch = group.rows.batch(3)
        states = group.rows.loop.states(group.rows.loop.drives(batch.inputs))
        ours = group.rows.outputs(states[:, -1])[place]
        assert ours.detach().numpy() == pytest.approx(network(batch.inputs[place]).detach().numpy(), rel=1e-10)


def test_trials_are_chosen(tiny):
    best = tiny[1].ranking()
    assert [trial.number for trial in chosen_trials(tiny[1], "best:2")] == [entry["trial"] for entry in best[:2]]
    assert [trial.number for trial in chosen_trials(tiny[1], "2, 0")] == [2, 0]


def test_settings_reach_the_analysis():
    only, sharp = chosen_analyses(
        ["lyapunov", "fixed_points"], ["fixed_points.tolerance=1e-12", "lyapunov.exponents=3"]
    )
    assert only.exponents == 3
    assert sharp.tolerance == 1e-12
    assert sharp.unit_name == "fixed_points"


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request(only=["lyapunv"]), r"--only='lyapunv'.*Did you mean 'lyapunov'"),
        (Request(trials="9"), "TRIAL=9: sweep 'tiny' has no such trial"),
        (Request(trials="best:0"), "--trials='best:0'.*best:N"),
        (Request(trials="first"), "--trials='first'.*all, best:N"),
        (Request(against="sigm"), "--against='sigm': no such column"),
        (Request(against="state.x"), "--against"),
        (Request(formats=["gif"]), "--format='gif'.*parquet"),
        (Request(settings=["lyapunov.step=3"]), "lyapunov.step: unknown setting.*Did you mean 'steps'"),
        (Request(settings=["lyapunov.steps=0"]), "lyapunov.steps=0: out of range"),
        (Request(settings=["steps=3"]), "steps: is no setting of an analysis"),
        (Request(only=["portrait"], settings=["lyapunov.steps=3"]), "not asked for"),
    ],
)
def test_mistakes(tiny, tmp_path, request_, says):
    with pytest.raises(ConfigError, match=says):
        analyze_sweep(tiny[1], request_, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_rows_cannot_be_put_through_is_left_out_unless_it_was_asked_for():
    program = Setup(family=Srn(5), readout=Pooling()).program()
    values = program.layout.view(torch.zeros(1, program.layout.size, dtype=torch.float64))
    group = RowGroup(TrainedRows(program, values, {}), ((0, 0),))
    analyses = chosen_analyses([], [])
    with pytest.warns(ConfigWarning, match=r"bifurcation_diagram is left out: .*observe='output'.*rms"):
        kept = [one.unit_name for one in analyses if _takes(one, [group], Request())]
    assert kept == [one.unit_name for one in analyses if one.unit_name != "bifurcation_diagram"]
    (asked,) = chosen_analyses(["bifurcation_diagram"], [])
    for request in (Request(only=["bifurcation_diagram"]), Request(settings=["bifurcation_diagram.observe=output"])):
        with pytest.raises(ConfigError, match="looks back over all steps"):
            _takes(asked, [group], request)


def test_a_sweep_without_checkpoints_is_refused_and_a_trial_without_them_is_named(tiny, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(tiny[0], store)
    sweep = open_sweep("tiny", store=store)
    (folder,) = store.rglob("000001")
    shutil.rmtree(folder)
    with pytest.warns(ConfigWarning, match="trials 1 have no readable checkpoint"):
        (group,) = load_groups(sweep, chosen_trials(sweep, "all"))
    assert [trial for trial, _ in group.names] == [0, 2]
    shutil.rmtree(folder.parent)
    with pytest.raises(ConfigError, match="SWEEP='tiny': has no trained network left"):
        analyze_sweep(sweep, Request(), tmp_path / "none")
