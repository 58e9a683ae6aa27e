"""`rnnsweep analyze`: analyses of the papers, and of the trained rows of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnnsweep.app.cli.options import Store
from rnnsweep.errors import ConfigError, nearest

if TYPE_CHECKING:
    from rnnsweep.app.studies.trained_analyses import Request


def analyze(  # noqa: PLR0913 - one parameter per option
    name: Annotated[
        str | None,
        typer.Argument(metavar="[SWEEP|NAME]", help="A sweep, or an analysis of the papers; lists them without it."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Of a sweep: settings, lyapunov.steps=200. Of NAME: overrides, task.length=50.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only", metavar="NAME,...", help="Of a sweep: these analyses.  [default: all]", show_default=False
        ),
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option("--trials", metavar="all|best:N|N,...", help="Of a sweep.  [default: all]", show_default=False),
    ] = None,
    replicas: Annotated[bool, typer.Option("--replicas", help="All replicas of each trial, not the best one.")] = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="KEY", help="On the axis.  [default: the first searched key]", show_default=False
        ),
    ] = None,
    formats: Annotated[
        str,
        typer.Option("--format", metavar="svg,pdf,parquet", help="Beside PNG and CSV; of a sweep.", show_default=False),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to.  [default: analyses/NAME]", show_default=False),
    ] = None,
    store: Store = None,
) -> None:
    """Look into the trained networks of a sweep, or run an analysis of the papers: figures and their data."""
    from rnnsweep.app.studies import analyses
    from rnnsweep.app.studies.trained_analyses import Request

    if name is None:
        typer.echo(_listing())
        return
    given = list(overrides or ())
    request = Request(words(only), trials or "all", replicas, against, given, words(formats))
    of_papers = name in analyses.ANALYSES and trials is None and request == Request(settings=given)
    files = analyses.analyze(name, given, out) if of_papers else _of_sweep(name, request, out, store)
    for file in files:
        typer.echo(str(file))


def words(text: str | None) -> tuple[str, ...]:
    """The words of a list with commas."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _listing() -> str:
    from rnnsweep.app.studies import analyses, trained_analyses

    kinds = {
        "of a sweep: rnnsweep analyze SWEEP --only NAME,...": trained_analyses.names(),
        "of the papers: rnnsweep analyze NAME": analyses.names(),
    }
    return "\n\n".join(
        "\n".join([head, *(f"  {key:<20} {text}" for key, text in names.items())]) for head, names in kinds.items()
    )


def _of_sweep(name: str, request: Request, out: Path | None, store: str | None) -> list[Path]:
    from rnnsweep.app.results.sweep import open_sweep
    from rnnsweep.app.studies import analyses
    from rnnsweep.app.studies.trained_analyses import analyze_sweep

    try:
        sweep = open_sweep(name, store=store)
    except ConfigError:
        if nearest(name, analyses.ANALYSES) and not request.only:
            analyses.analyze(name)  # names the analysis that was meant
        raise
    return analyze_sweep(sweep, request, out)
