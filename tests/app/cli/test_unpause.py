from __future__ import annotations


def test_only_a_paused_trial_can_be_let_go_on(run):
    result = run("unpause", "quickstart", "--trial", "77")
    assert result.exit_code == 2
    assert "no such trial" in result.stderr
    assert run("unpause", "quickstart").exit_code == 2
