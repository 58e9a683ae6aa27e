"""`rnnsweep analyze`: analyses of the papers."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.errors import ConfigError, nearest

ANALYSES: dict[str, str] = {}
"""Name -> what it shows, of the analyses that this version can do."""


def analyze(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Lists what there is without it.")] = None,
) -> None:
    """Run an analysis from the papers; without NAME, list what this version has."""
    if name is None:
        typer.echo("\n".join(f"{key:<24} {text}" for key, text in ANALYSES.items()) or "This version has no analyses.")
        return
    allowed = list(ANALYSES) or "none in this version"
    raise ConfigError("unknown analysis", key="NAME", value=name, allowed=allowed, hint=nearest(name, ANALYSES))
