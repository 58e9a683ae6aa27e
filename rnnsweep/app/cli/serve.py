"""`rnnsweep serve`: run the sweeps of a queue on one pool of workers."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from rnnsweep.app.cli.options import ConfigDir, Store
from rnnsweep.errors import ConfigError

EXECUTORS = ("ray", "inline")


def serve(  # noqa: PLR0913 - the options of a command
    store: Store = None,
    config_dir: ConfigDir = None,
    executor: Annotated[str, typer.Option(metavar="NAME", help="ray, or inline: in this process.")] = "ray",
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Head of a Ray cluster, or auto.  [default: a Ray of its own]"),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Most workers.  [default: all that fit]")] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="CPU cores of each worker.  [default: 1]")] = None,
    gpus: Annotated[
        int | None, typer.Option(min=0, help="GPUs of each worker.  [default: 1 where there are any]")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Most rows of each worker.  [default: by memory]")] = None,
    max_sweeps: Annotated[int, typer.Option(min=1, help="Most sweeps that run at once.")] = 16,
    user_sweeps: Annotated[int | None, typer.Option(min=1, help="Most sweeps of one user that run at once.")] = None,
    sweep_rows: Annotated[int | None, typer.Option(min=1, help="Most rows of one sweep in the pool.")] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Where page and API listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Their port; 0: a free one.")] = 8788,
    hostname: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A name that others call it by; may be repeated.")
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="A proxy whose X-Forwarded-For is believed; may be repeated."),
    ] = None,
    data_dir: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Its files may be trained on by request; may be repeated."),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everybody on this machine steer it; on loopback only.")
    ] = False,
    no_http: Annotated[bool, typer.Option("--no-http", help="Neither page nor API.")] = False,
    user_rows: Annotated[int | None, typer.Option(min=1, help="Most rows of one user in the pool.")] = None,
) -> None:
    """Run the sweeps of the store's queue, several at once, on one pool of workers; Ctrl-C ends it."""
    if executor not in EXECUTORS:
        raise ConfigError("unknown executor", key="--executor", value=executor, allowed=EXECUTORS)
    if executor == "inline" and (address is not None or workers is not None):
        wrong = "--address" if address is not None else "--workers"
        raise ConfigError("an inline service is one worker in its own process", key=wrong, allowed="--executor ray")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # by name: the service stands above the command line, which it calls as any other program would
    serving: Any = importlib.import_module("rnnsweep.service.serving")
    service: Any = importlib.import_module("rnnsweep.service.service")
    doors: Any = importlib.import_module("rnnsweep.service.doors")
    slots: Any = importlib.import_module("rnnsweep.sweep.fair_slots")
    more = (hostname or (), data_dir or (), proxy or ())
    serving.serve(
        store,
        list(config_dir or ()),
        serving.PoolOptions(executor, address, workers, cores, gpus, rows),
        service.Rules(max_sweeps, user_sweeps),
        slots.Limits(sweep_rows, user_rows),
        doors=[] if no_http else [doors.http_door(doors.HttpOptions(host, port, no_token, *map(tuple, more)))],
        say=lambda line: typer.echo(line, err=True),
    )
