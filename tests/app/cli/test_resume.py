"""`rnnsweep resume`: go on with a sweep."""

from __future__ import annotations

import json
import shutil


def test_resume_with_a_larger_budget(tiny, run, tmp_path):
    root = tmp_path / "copied"
    shutil.copytree(tiny[0], root)  # other tests count the shared sweep's trials
    result = run("resume", "tiny", "budget.trials=4", "--store", root)
    assert result.exit_code == 0, result.output
    assert "rnnsweep report tiny" in result.stdout
    assert json.loads(run("status", "tiny", "--json", "--store", root).stdout)["trials"]["complete"] == 4
    assert (root / "reports" / "tiny" / "overview.png").is_file()


def test_resume_of_an_unknown_trial(tiny, run):
    root, _ = tiny
    result = run("resume", "tiny", "--trial", "77", "--store", root)
    assert result.exit_code == 2
    assert "77" in result.stderr
