"""Entry point `rnnsweep`: puts the commands together and turns our errors into one line and an exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rnnsweep.app.api import ENDING
from rnnsweep.app.cli import (
    analyze,
    bench,
    best,
    config,
    doctor,
    edit,
    export,
    launch,
    list_sweeps,
    logs,
    pause,
    predict,
    replay_trial,
    report,
    reproduce,
    resume,
    serve,
    show,
    source,
    status,
    stop,
    table,
    token,
    train,
    ui,
    units,
    unpause,
    watch,
)
from rnnsweep.app.cli.interruption import farewell
from rnnsweep.app.cli.usage import UsageError, unknown_command, usage_error
from rnnsweep.errors import ConfigWarning, RnnsweepError, printable
from rnnsweep.version import __version__

RUN, LOOK, MORE = "Run", "Look", "Set up and check"


TRACEBACK = "--traceback"
COMMAND = "command"


class OneLineErrors(TyperGroup):
    """A group whose commands may raise `RnnsweepError` and warn: one line on stderr; a traceback where asked for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take ``--traceback`` wherever it stands: one thinks of it when a command has failed, and adds it last."""
        ctx.meta[TRACEBACK] = TRACEBACK in args
        _warn_of_passwords(args)
        typed = [argument for argument in args if argument != TRACEBACK]
        with self._one_line(ctx):
            typed = source.take_service(typed)
        ctx.meta[COMMAND] = next(iter(typed), None)
        if not typed:  # no mistake: whoever types the program's name alone wants its help
            return super().parse_args(ctx, typed)
        with self._one_line(ctx):
            return super().parse_args(ctx, typed)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command by its name."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise unknown_command(args[0], list(self.commands))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with self._one_line(ctx), _warning_lines():
            return super().invoke(ctx)

    @contextmanager
    def _one_line(self, ctx: Any) -> Iterator[None]:
        try:
            try:
                yield
            except UsageError as error:
                raise usage_error(error) from error
        except RnnsweepError as error:
            from rnnsweep.app.api import harmless

            if ctx.meta[TRACEBACK]:
                typer.echo(harmless("".join(traceback.format_exception(error))), err=True, nl=False)
            typer.echo(f"error: {harmless(str(error))}", err=True)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:  # the reader of a pipe (head, less) has seen enough
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stays open until exit, so that the last flush is silent
            raise typer.Exit(0) from None
        except KeyboardInterrupt as error:  # before a driver has begun, or after it has ended: it has handlers
            text, code = farewell(ctx.meta[COMMAND], error)
            typer.echo(text, err=True)
            raise typer.Exit(code) from None


def _warn_of_passwords(arguments: list[str]) -> None:
    """Say so where a URL on the command line holds a password: every user of the machine sees that line."""
    if not any("://" in word for word in arguments):  # nothing is imported for that
        return
    from rnnsweep.app.api import harmless

    for word in arguments:
        if harmless(word) != word:
            hint = "in an override write '${oc.env:NAME}', instead of --store set RNNSWEEP_STORE"
            shown = printable(harmless(word))
            typer.echo(f"warning: {shown}: other users see this password in the list of processes; {hint}", err=True)


@contextmanager
def _warning_lines() -> Iterator[None]:
    """Show what a config says in vain as a line of its own, each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", ConfigWarning)
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *position: Any, **more: Any) -> None:
            if issubclass(category, ConfigWarning):
                typer.echo(f"warning: {printable(str(message))}", err=True)
            else:
                others(message, category, *position, **more)

        warnings.showwarning = show
        yield


app = typer.Typer(
    name="rnnsweep",
    cls=OneLineErrors,
    help="Hyperparameter sweeps of recurrent networks: hundreds of trials trained as one tensor program.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done · 1 failed trials · 2 wrong input · 3 stopped, resumable · 4 held by another driver",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    show_traceback: Annotated[
        bool, typer.Option(TRACEBACK, help="Also show where in the code an error came from; may stand anywhere.")
    ] = False,
    service: Annotated[
        str | None,
        typer.Option(source.OPTION, metavar="URL", help=source.HELP, show_default=False),
    ] = None,
) -> None:
    del version, show_traceback, service  # `OneLineErrors.parse_args` has taken the latter two


for _name, _function, _panel in (
    ("launch", launch.launch, RUN),
    ("resume", resume.resume, RUN),
    ("stop", stop.stop, RUN),
    ("pause", pause.pause, RUN),
    ("unpause", unpause.unpause, RUN),
    ("edit", edit.edit, RUN),
    ("serve", serve.serve, RUN),
    ("train", train.train, RUN),
    ("reproduce", reproduce.reproduce, RUN),
    ("replay", replay_trial.replay, RUN),
    ("analyze", analyze.analyze, RUN),
    ("list", list_sweeps.list_sweeps, LOOK),
    ("status", status.status, LOOK),
    ("table", table.table, LOOK),
    ("best", best.best, LOOK),
    ("show", show.show, LOOK),
    ("watch", watch.watch, LOOK),
    ("logs", logs.logs, LOOK),
    ("report", report.report, LOOK),
    ("export", export.export, LOOK),
    ("predict", predict.predict, LOOK),
    ("ui", ui.ui, LOOK),
    ("config", config.config, MORE),
    ("units", units.units, MORE),
    ("token", token.token, MORE),
    ("doctor", doctor.doctor, MORE),
    ("bench", bench.bench, MORE),
):
    app.command(_name, rich_help_panel=_panel)(_function)


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def _heed_signals() -> None:
    """Let what else asks a process to end do what Ctrl-C does, so that nothing is left behind; nohup is respected."""
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def main() -> None:
    """What the `rnnsweep` script runs."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    _heed_signals()
    try:
        app()
    finally:
        if "triton" not in sys.modules:  # its bindings would report as leaked what is not collected
            gc.freeze()  # to look for cycles in all that was imported takes a second, for nothing


if __name__ == "__main__":
    main()
