"""`rnnsweep doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from rnnsweep.app.cli.options import AsJson, Store, emit


def doctor(
    store: Store = None,
    as_json: AsJson = False,
    repair: Annotated[bool, typer.Option("--repair", help="Write anew what MLflow or optuna.db have lost.")] = False,
    ray: Annotated[bool, typer.Option("--ray/--no-ray", help="Start a private Ray for a moment.")] = True,
) -> None:
    """Check devices, libraries, Ray, stores, disk and clock; exit 1 if something is found."""
    from rnnsweep.app.doctor import examine

    findings = []
    for finding in examine(store, with_ray=ray, repair=repair):
        findings.append(finding)
        if not as_json:
            typer.echo(f"{'ok  ' if finding.ok else 'FIX '} {finding.check:<14} {finding.detail}")
            if finding.remedy:
                typer.echo(f"     {'':<14} → {finding.remedy}")
    if as_json:
        emit([asdict(finding) for finding in findings])
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
