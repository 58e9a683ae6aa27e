"""What a command does not take: one line, exit 2, in the form of all other errors."""

from __future__ import annotations

import pytest

from rnnsweep.app.cli.main import app

MISTAKES = {
    "unknown command": (("lanch",), ["COMMAND='lanch'", "unknown command", "Did you mean 'launch'?"]),
    "command far from any": (("xyzzy",), ["COMMAND='xyzzy'", "launch, resume"]),
    "option of no command": (("--nope", "list"), ["--nope: no such option", "--version"]),
    "unknown option": (("list", "--jsn"), ["--jsn: no such option", "Did you mean '--json'?"]),
    "unknown short option": (("list", "-j"), ["-j: no such option"]),
    "override with dashes": (("launch", "quickstart", "--lr=0.1"), ["--lr", "Overrides have no dashes: lr=VALUE."]),
    "option beside overrides": (("launch", "quickstart", "--frsh"), ["--frsh", "Did you mean '--fresh'?"]),
    "missing argument": (("launch",), ["SWEEP: is missing", "Usage: rnnsweep launch SWEEP [KEY=VALUE]..."]),
    "missing second argument": (("show", "quickstart"), ["TRIAL: is missing", "rnnsweep show SWEEP TRIAL"]),
    "one argument too many": (("stop", "a", "b"), ["stop:", "(b)", "Usage: rnnsweep stop SWEEP"]),
    "value missing": (("table", "quickstart", "--sort"), ["--sort: requires an argument"]),
    "value for a flag": (("table", "quickstart", "--csv=yes"), ["--csv: does not take a value"]),
    "word for a number": (("resume", "quickstart", "--trial", "x"), ["--trial='x'", "a whole number"]),
    "fraction for a whole number": (("bench", "--rows", "1.5"), ["--rows='1.5'", "a whole number"]),
    "number too small": (("bench", "--rows", "0"), ["--rows='0'", "1 or more"]),
    "number too large": (("ui", "--port", "99999"), ["--port='99999'", "65535 or less"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_line_and_exit_2(run, mistake):
    words, expected = MISTAKES[mistake]
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    for word in expected:
        assert word in result.stderr


def test_the_name_alone_is_no_mistake(run):
    result = run()
    assert "launch" in result.output
    assert "error:" not in result.output


def test_every_command_says_which_argument_is_missing_or_which_option_is_unknown(run):
    """The whole kind: no command's mistakes are told in a box."""
    for command in app.registered_commands:
        result = run(command.name, "--no-such-option")
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert result.stderr.startswith("error: --no-such-option: no such option; allowed: ")
