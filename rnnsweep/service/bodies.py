"""Forms of the requests that change something. What they hold besides is refused: a mistyped key must not be lost."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from rnnsweep.service.vetting import LONGEST, MOST

Overrides = Annotated[list[Annotated[str, Field(max_length=LONGEST)]], Field(max_length=MOST)]
"""Overrides as on the command line."""
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="Name of a sweep.")]
TrialNumber = Annotated[int, Path(ge=0, lt=1 << 31, description="Trial number.")]
NUMBERS = 1 << 53
"""Whole numbers below it are the same in every client's language."""


class Body(BaseModel):
    """Base of all forms."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Wanted(Body):
    """A config that somebody wants to see: a sweep's name, and overrides."""

    sweep: Annotated[str, Field(max_length=100, examples=["quickstart"])]
    overrides: Overrides = []


class Launch(Wanted):
    """A sweep that is to run."""

    weight: Annotated[float, Field(gt=0, le=1000, description="Part of the pool relative to the others'.")] = 1.0
    priority: Annotated[int, Field(ge=-1000, le=1000, description="Higher ones get all slots first.")] = 0
    fresh: Annotated[bool, Field(description="Go on with an unfinished one, or take the next name: NAME-2, ...")] = (
        False
    )


class Because(Body):
    """Why: one line, which the sweep or the trial keeps."""

    reason: Annotated[str, Field(max_length=300)] = ""


class Resume(Body):
    """How a sweep goes on."""

    overrides: Annotated[Overrides, Field(description="Of budget.*, e.g. budget.trials=100.")] = []
    failed: Annotated[bool, Field(description="All failed trials try again.")] = False
    trials: Annotated[
        list[Annotated[int, Field(ge=0, lt=1 << 31)]],
        Field(max_length=MOST, description="These failed or paused trials go on."),
    ] = []
    extend: Annotated[bool, Field(description="Complete trials go on to a raised budget.updates.")] = False


class Budget(Body):
    """Limits that can change while a sweep runs: trials, wall_s, device_s, target."""

    budget: Annotated[dict[str, int | float | None], Field(min_length=1, max_length=10, examples=[{"trials": 100}])]


class Edit(Body):
    """What is to be searched from now on, as `rnnsweep edit` takes it."""

    overrides: Annotated[
        Overrides, Field(min_length=1, description="KEY=RANGE, ~KEY, KEY=VALUE of a searched key, budget.*, pruner.")
    ]


class Points(Body):
    """Points that are tried next; searched keys that one leaves open are drawn."""

    points: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000, examples=[[{"init.sigma": 0.1}]])]
