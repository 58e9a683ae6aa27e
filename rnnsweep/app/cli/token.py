"""`rnnsweep token`: who may use a service of this store."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnsweep.app.cli.listing import Column, print_table, terminal_width
from rnnsweep.app.cli.options import AsJson, Store, emit
from rnnsweep.errors import ConfigError


def token(
    user: Annotated[str | None, typer.Argument(metavar="[USER]", help="Whose; all accounts without it.")] = None,
    role: Annotated[
        str | None,
        typer.Option("--role", metavar="ROLE", help="reader looks, operator also steers.  [default: reader]"),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Everybody's sweeps, not only those of USER.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Remove the account and all its tokens.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Make USER an account of the service and print a token of it, once; or list or remove accounts."""
    from rnnsweep.app import api

    if user is None:
        if role is not None or every or revoke:
            raise ConfigError("is missing", key="USER", allowed="whose account is meant")
        _print_accounts(api.list_accounts(store), as_json)
    elif revoke:
        if role is not None or every:
            raise ConfigError("takes neither --role nor --all", key="--revoke")
        api.revoke_account(user, store)
        typer.echo(f"Removed the account '{user}' and its tokens; a running service refuses them within two seconds.")
    else:
        made = api.grant_account(user, role or "reader", every, store)
        if as_json:
            emit({"user": user, "role": role or "reader", "every": every, "token": made})
        else:
            typer.echo(made)


def _print_accounts(entries: list[dict[str, object]], as_json: bool) -> None:
    if as_json:
        emit(entries)
    elif not entries:
        typer.echo("No accounts. `rnnsweep serve` makes the first one, of whoever starts it.")
    else:
        columns = [
            Column("user", [str(entry["user"]) for entry in entries], text=True, key="user"),
            Column("role", [str(entry["role"]) for entry in entries], key="role"),
            Column("sweeps", ["all" if entry["every"] else "own" for entry in entries], key="sweeps"),
        ]
        print_table(columns, width=terminal_width())
