"""`rnnsweep pause`, and by `stop --trial` and `unpause` what else is asked of one trial."""

from __future__ import annotations


def test_a_request_says_what_it_asked_and_when_it_is_heard(run):
    result = run("pause", "quickstart", "--trial", "5", "--reason", "lunch")
    assert result.exit_code == 0
    assert "Asked 'quickstart' to pause trial 5." in result.stdout
    assert "when it goes on: rnnsweep resume quickstart" in result.stdout
    assert "to let go on: trial 5" in run("unpause", "quickstart", "--trial", "5").stdout
    assert "to end trial 5" in run("stop", "quickstart", "--trial", "5").stdout


def test_a_mistake_is_one_line(run):
    for command, allowed in (
        ("pause", "WAITING, RUNNING"),
        ("unpause", "PAUSED"),
        ("stop", "WAITING, RUNNING, PAUSED"),
    ):
        result = run(command, "quickstart", "--trial", "0")
        assert result.exit_code == 2
        assert result.stderr == f"error: --trial=0: trial is COMPLETE; allowed: {allowed}\n"
    assert run("pause", "quickstart").exit_code == 2
    result = run("stop", "quickstart", "--reason", "tired")
    assert (result.exit_code, "--trial" in result.stderr) == (2, True)
