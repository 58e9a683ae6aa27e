"""Commands that read the ledger: field names that scripts rely on, exit codes, nothing written."""

from __future__ import annotations

import json
import math

import pytest

ROW = {"trial", "state", "objective", "params", "attempts", "solved_at", "diverged_at", "reason", "mlflow_run_id"}


def test_status_json(run):
    found = json.loads(run("status", "quickstart", "--json").stdout)
    assert set(found) == {"sweep", "state", "trials", "best", "updates", "wall_s", "updates_per_s"}
    assert found["state"] == "INTERRUPTED"
    assert found["trials"] == {"waiting": 0, "running": 1, "complete": 3, "pruned": 1, "failed": 1}
    assert found["best"]["trial"] == 1
    assert found["best"]["objective"] == 0.002
    assert found["updates_per_s"] == pytest.approx(9800 / 61, abs=1e-3)


def test_list_is_status_of_all(run):
    assert json.loads(run("list", "--json").stdout) == [json.loads(run("status", "quickstart", "--json").stdout)]
    assert json.loads(run("status", "--json").stdout) == json.loads(run("list", "--json").stdout)


def test_table_json_is_sorted_and_infinite_is_null(run):
    rows = json.loads(run("table", "quickstart", "--json").stdout)
    assert [row["trial"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert all(set(row) == ROW for row in rows)
    assert rows[1]["params"]["controllers.sampling.q_max"] is None
    assert rows[0]["params"]["controllers.sampling.q_max"] == 2.0
    assert rows[2]["objective"] is None
    assert rows[2]["reason"] == "bug: ValueError: no"
    assert rows[4]["diverged_at"] == 320


def test_best_is_a_row_of_the_table(run):
    best = json.loads(run("best", "quickstart", "--json").stdout)
    assert best == json.loads(run("table", "quickstart", "--json").stdout)[1]


def test_show_json(run):
    found = json.loads(run("show", "quickstart", "1", "--json").stdout)
    assert set(found) == ROW | {"curves", "replicas", "artifacts"}
    assert found["curves"]["valid/error"] == [[200, 0.75], [400, 0.75], [600, 0.75], [800, 0.002]]
    assert found["replicas"][0]["state"] == "SOLVED"
    assert found["replicas"][0]["device_s"] == pytest.approx(2.0)  # four rungs of 0.5 s


@pytest.mark.parametrize(
    "command",
    [
        ("status", "quickstart"),
        ("list",),
        ("table", "quickstart"),
        ("best", "quickstart"),
        ("show", "quickstart", "1"),
        ("logs", "quickstart"),
    ],
)
def test_text_output_names_the_sweep_or_its_trials(run, command):
    result = run(*command)
    assert result.exit_code == 0
    assert "quickstart" in result.stdout or "trial" in result.stdout
    assert "Traceback" not in result.output


def test_logs_tell_the_story_in_order(run):
    lines = run("logs", "quickstart").stdout.splitlines()
    assert any("trial 2: FAILED bug" in line for line in lines)
    assert any("rung 4 at update 800: 0.002" in line for line in lines)
    assert "INTERRUPTED" in lines[-1]


def test_stop_of_a_sweep_that_does_not_run(run):
    result = run("stop", "quickstart")
    assert result.exit_code == 0
    assert "not running" in result.stdout


def test_units_json(run):
    found = json.loads(run("units", "--json").stdout)
    assert list(found) == [
        "family",
        "activation",
        "readout",
        "controller",
        "init",
        "task",
        "learner",
        "optimizer",
        "metric",
        "sampler",
        "pruner",
    ]
    assert "omega" in found["controller"]
    assert "valid/error" in found["metric"]


SOURCES = {
    "controller": "clip clip_per_parameter clip_elementwise clip_agc clip_autoclip clip_zclip omega sampling l1"
    " l1_proximal l2 gradient_flossing",
    "init": "normal smart_tanh identity glorot he orthogonal cayley henaff chrono",
    "activation": "tanh sigmoid relu leaky_relu elu identity modrelu oplu",
    "task": "temporal_order temporal_order_3bit adding multiplication permutation memorization copying"
    " sequential_digits char_lm polyphonic_music frame_regression periodic_output interval_matching sequence_chaining",
    "family": "srn lstm gru scornn scurnn enrnn momentum_lstm momentum_srn momentum_scornn adam_lstm rmsprop_lstm"
    " nesterov_lstm nesterov_lstm_diff sbo esn exprnn indrnn cornn lipschitz lru mingru",
    "readout": "linear attention",
    "learner": "bptt rflo hessian_free ridge teacher_forcing",
    "optimizer": "sgd adam rmsprop adagrad grouped",
}
"""The systems of the papers that the project started from."""


def test_every_system_of_the_sources_is_a_unit(run):
    found = json.loads(run("units", "--json").stdout)
    for family, names in SOURCES.items():
        assert set(names.split()) <= set(found[family]), family


def test_config_prints_what_load_resolves(run):
    found = json.loads(run("config", "quickstart", "task.length=40", "--json").stdout)
    assert found["task"]["length"] == 40
    assert "task:" in run("config", "quickstart").stdout
    assert "quickstart" in run("config").stdout


def test_reading_creates_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNSWEEP_STORE", str(tmp_path / "nowhere"))
    assert json.loads(run("list", "--json").stdout) == []
    assert run("status", "quickstart").exit_code == 2
    assert not (tmp_path / "nowhere").exists()


def test_store_option_wins_over_the_environment(run, store, monkeypatch, tmp_path):
    monkeypatch.setenv("RNNSWEEP_STORE", str(tmp_path / "nowhere"))
    assert run("status", "quickstart", "--store", store).exit_code == 0


def test_report_writes_page_pictures_and_tables(run, store):
    result = run("report", "quickstart")
    assert result.exit_code == 0, result.output
    folder = store / "reports" / "quickstart"
    assert (folder / "index.html").is_file()
    assert (folder / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "trials.csv").is_file()


def test_json_never_holds_nan_or_infinity(run):
    for command in ("status", "table", "best"):
        data = json.loads(run(command, "quickstart", "--json").stdout, parse_constant=lambda name: pytest.fail(name))
        assert data is not None
    assert math.isfinite(json.loads(run("status", "quickstart", "--json").stdout)["wall_s"])
