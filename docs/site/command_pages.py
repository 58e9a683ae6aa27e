"""The reference of the command line: what every command's `--help` says."""

from __future__ import annotations

import os

WIDTH = "80"


def page() -> str:
    """All commands, each with its help as a terminal shows it."""
    os.environ.update(COLUMNS=WIDTH, NO_COLOR="1", TERM="dumb")  # what rich asks before it draws
    from typer.main import get_command
    from typer.testing import CliRunner

    from rnnsweep.app.cli.main import app

    names = sorted(getattr(get_command(app), "commands", {}))
    parts = ["# Commands", "Every command takes `--help`; tables take `--json`."]
    for name in ["", *names]:
        shown = CliRunner().invoke(app, [*([name] if name else []), "--help"]).stdout
        text = "\n".join(line.rstrip() for line in shown.strip().splitlines())
        parts += [f"## rnnsweep {name}".rstrip(), f"```text\n{text}\n```"]
    return "\n\n".join(parts) + "\n"
