"""`rnnsweep table`: all trials of a sweep."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from rnnsweep.app.cli import source
from rnnsweep.app.cli.listing import Column, print_table, terminal_width
from rnnsweep.app.cli.options import AsJson, Store, SweepName, emit
from rnnsweep.errors import ConfigError, ConfigWarning

USUAL = ("pruned at", "not promoted beyond", "paused by the scheduler")
"""How reasons begin that say no more than the state and the update do."""


def table(  # noqa: PLR0913 - one parameter per option
    sweep: SweepName,
    sort: Annotated[str | None, typer.Option("--sort", metavar="COLUMN", help="By it; -COLUMN: downwards.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="CONDITION", help="Only those: state=COMPLETE, objective<0.1; repeatable."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B,...", help="Only these; sigma means init.sigma.")
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="All columns, however wide the terminal is.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Print all trials of a sweep, by number."""
    from rnnsweep.app.results import selection

    if as_csv and as_json:
        raise ConfigError("choose one of them", key="--csv --json")
    every = source.opened(sweep, store).table()
    entries, chosen = every, []
    if every:  # without a trial nobody knows which keys are columns
        names = [] if columns is None else columns.split(",")
        chosen = [selection.column_of(name.strip(), every, "--columns") for name in names]
        entries = selection.sort(selection.where(every, where or ()), sort, among=every)
    _warn_of_idle(chosen, wide, as_json, as_csv)
    if as_json:
        emit(entries)
    elif as_csv:
        typer.echo(selection.as_csv(entries, chosen), nl=False)
    elif entries:
        print_rows(entries, columns=chosen, wide=wide)
    else:
        typer.echo("No trials" + (" meet that." if where else " yet."))


def _warn_of_idle(chosen: Sequence[str], wide: bool, as_json: bool, as_csv: bool) -> None:
    """Say which options change nothing beside the others."""
    if chosen and as_json:
        warnings.warn(ConfigWarning("--columns has no effect on --json, which has all"), stacklevel=2)
    if wide and (chosen or as_json or as_csv):
        beside = "--columns" if chosen else "--json" if as_json else "--csv"
        warnings.warn(ConfigWarning(f"--wide has no effect beside {beside}"), stacklevel=2)


def print_rows(
    entries: Sequence[Any], *, title: str | None = None, columns: Sequence[str] = (), wide: bool = False
) -> None:
    """Trials as a table that fits the terminal, with a note on what it leaves out.

    Args:
        entries: rows of the table, at least one.
        title: a line above.
        columns: only these; named ones are never left out.
        wide: leave nothing out.
    """
    width = None if wide else terminal_width()
    left_out = print_table(_columns(entries, columns, width), title=title, width=width)
    if any(_unfinished(entry) for entry in entries) and not columns:
        typer.echo("* so far" + (", at this fidelity" if any("fidelity" in entry for entry in entries) else ""))
    if left_out:
        typer.echo(f"not shown: {', '.join(column.key for column in left_out)}   (--wide, --columns)")


def _columns(entries: Sequence[Any], chosen: Sequence[str], width: int | None) -> list[Column]:
    """The columns that are wanted, under names short enough for the terminal where that is possible."""
    from rnnsweep.app.results import selection

    keys = selection.searched_keys(entries)
    if chosen:
        return [_plain(entries, name) for name in chosen]
    long = {key: key.removeprefix("controllers.") for key in keys}
    for names in (long, selection.short_names(keys)):
        made = [*_standing(entries), *_params(entries, names), *_closing(entries)]
        if width is None or sum(column.least + 2 for column in made) - 2 <= width:
            break
    return made


def _plain(entries: Sequence[Any], name: str) -> Column:
    from rnnsweep.app.results.selection import FIELDS, value_of

    text = name in ("state", "reason", "fingerprints")
    cells = [_score(entry) if name == "objective" else _cell(value_of(entry, name)) for entry in entries]
    return Column(name if name in FIELDS else name.removeprefix("controllers."), cells, 0, text, name)


def _standing(entries: Sequence[Any]) -> list[Column]:
    """Who a trial is and how it stands; the step where it is news, the best-known columns always."""
    trials = Column("trial", [str(entry["trial"]) for entry in entries], key="trial")
    states = Column("state", [entry["state"] for entry in entries], text=True, key="state")
    objective = Column("objective", [_score(entry) for entry in entries], key="objective")
    columns = [trials, states, objective]
    if any(entry["state"] != "COMPLETE" for entry in entries):
        columns.insert(2, Column("step", [str(entry["step"]) for entry in entries], 5, key="step"))
    if any(entry["solved_at"] is not None for entry in entries):
        columns.append(Column("solved at", [_cell(entry["solved_at"]) for entry in entries], 4, key="solved_at"))
    return columns


def _params(entries: Sequence[Any], names: dict[str, str]) -> list[Column]:
    from rnnsweep.app.results.selection import grown_keys, value_of

    # what trials have come to is never left out for want of room: values of one fidelity say nothing about another
    ranks = dict.fromkeys(grown_keys(entries), 0)
    return [
        Column(name, [_cell(value_of(entry, key)) for entry in entries], ranks.get(key, 3), key=key)
        for key, name in names.items()
    ]


def _closing(entries: Sequence[Any]) -> list[Column]:
    """What went wrong, where anything did."""
    columns = []
    if any(entry["attempts"] > 1 for entry in entries):
        columns.append(Column("attempts", [str(entry["attempts"]) for entry in entries], 6, key="attempts"))
    if any(entry["fingerprints"] for entry in entries):
        # never left out for want of room: trials of several codes are not to be compared unseen
        columns.append(Column("fingerprints", [entry["fingerprints"] or "0" for entry in entries], key="fingerprints"))
    notes = [note(entry) for entry in entries]
    if any(notes):
        columns.append(Column("note", notes, 2, text=True, key="reason"))
    return columns


def note(entry: Any) -> str:
    """Why a trial failed, diverged or was ended, in a few words; empty where all went well or the state says it."""
    if entry["diverged_at"] is not None:
        return f"diverged at {entry['diverged_at']}"
    # by its pruner or scheduler, that is; what a user has ended or paused has the user's words
    usual = entry["state"] in ("PRUNED", "PAUSED") and entry["reason"].startswith(USUAL)
    return "" if usual else entry["reason"]


def _unfinished(entry: Any) -> bool:
    return entry["objective"] is None and entry["value"] is not None


def _score(entry: Any) -> str:
    from rnnsweep.app.results.tables import score_text

    if not _unfinished(entry):
        return score_text(entry, entry["objective"])
    if entry.get("partly"):  # who has not solved so far counts as the whole budget
        return f"≤ {_cell(entry['value'])}*"
    # a time to solve that has not come so far is later than now: the budget, its value, has not been trained yet
    return f"{score_text(entry, entry['step'] if entry.get('unsolved') else entry['value'])}*"


def _cell(value: Any) -> str:
    from rnnsweep.app.results.tables import as_typed

    return "–" if value is None else as_typed(value, 4)
