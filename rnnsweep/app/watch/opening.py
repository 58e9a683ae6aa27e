"""From a sweep to its screen; where Textual, which few need, is missing, the way to it."""

from __future__ import annotations

from rnnsweep.app.remote.remote_sweep import RemoteSweep
from rnnsweep.app.results.sweep import Sweep
from rnnsweep.errors import ConfigError
from rnnsweep.extras import install_hint


def show_live(sweep: Sweep | RemoteSweep, every: float = 1.0) -> None:
    """Show a sweep on this terminal until its user leaves.

    Args:
        sweep: which.
        every: seconds between looks at the store.

    Raises:
        ConfigError: Textual is not installed; names the extra.
    """
    try:
        import textual  # noqa: F401 - only asked for: the screen imports it
    except ModuleNotFoundError as error:
        hint = install_hint("watch")
        raise ConfigError(f"needs {error.name}", key="watch", value=sweep.name, hint=hint) from None
    from rnnsweep.app.watch.terminal import WatchApp

    WatchApp(sweep, every).run()
