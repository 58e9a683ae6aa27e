"""Options and arguments that several commands share, and how they print."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="RNNSWEEP_STORE",
        metavar="DIR",
        help="Directory of the stores, or the ledger's database URL.  [default: mlruns]",
        show_default=False,
    ),
]
ConfigDir = Annotated[
    list[Path] | None,
    typer.Option("--config-dir", metavar="DIR", help="Your own units and sweeps; may be repeated.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; infinity is the string Infinity.")]
SweepName = Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep in the store.", show_default=False)]
TrialNumber = Annotated[
    int | None,
    typer.Option("--trial", metavar="N", min=0, help="Trial number.  [default: the best one]", show_default=False),
]
AcceptChanges = Annotated[
    bool, typer.Option("--accept-changes", help="Go on although code, versions or data have changed.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the trial's record.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Overrides in Hydra's grammar: family.hidden=64; for sweeps also init.sigma=interval(0.01,1).",
        show_default=False,
    ),
]


def password_prompt() -> Callable[[str], str] | None:
    """What asks for a password at the terminal, unseen; None where there is none."""
    return getpass.getpass if sys.stdin.isatty() and sys.stderr.isatty() else None


def emit(data: Any) -> None:
    """Print JSON on standard output; infinities are the strings Infinity and -Infinity, NaN is null."""
    from rnnsweep.app.results.tables import jsonable

    typer.echo(json.dumps(jsonable(data), indent=2, allow_nan=False, ensure_ascii=False))


def console(stderr: bool = False) -> Console:
    """A console that keeps wide tables whole where no terminal limits them."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 200, highlight=False, soft_wrap=False)
