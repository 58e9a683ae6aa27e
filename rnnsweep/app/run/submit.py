"""Hand a launch over to a Ray cluster as a job; the job's driver runs there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rnnsweep.app.config.data_paths import KEY
from rnnsweep.app.config.load import SweepConfig, search_path
from rnnsweep.errors import ConfigError, StoreError


def submit_launch(config: SweepConfig, sweep: str, typed: Sequence[str], store: Path | None = None) -> str:
    """Submit the job; returns what to tell the user.

    Args:
        config: of the sweep.
        sweep: as typed.
        typed: overrides as typed.
        store: the directory that the user named as the store; the job is told its absolute path.

    Raises:
        ConfigError: no dashboard address, nothing answers there, or a password that everybody would see.
        LockedError: a job of this sweep is pending or running.
        StoreError: the cluster does not take the job, or it failed at once.
    """
    from rnnsweep.adapters.ray import jobs

    address = config.cluster.address
    if address is None:
        raise ConfigError("--submit needs a cluster", key="cluster.address", allowed=jobs.ALLOWED)
    name = config.plan.name
    # A sweep or units of the user's own lie in the working directory: then it travels with the job.
    # The packaged configs of a checkout are on the cluster already.
    own = any(folder.is_relative_to(Path.cwd()) for folder in search_path().user) or Path(sweep).is_file()
    command = entrypoint(sweep, [*typed, *data_path(config, travels=own)], store)
    job = jobs.submit(command, name, address, working_dir="." if own else None)
    reason = jobs.failed_at_once(name, address)
    if reason is not None:
        raise StoreError(f"job {job} at {address}", reason)
    return f"Submitted '{name}' as job {job}. Its log: ray job logs --address {address} --follow {job}"


def data_path(config: SweepConfig, *, travels: bool) -> list[str]:
    """An override that names the data as they lie here, unless they are in the working directory that travels."""
    path = config.resolved["task"].get("path")
    if path is None or KEY in config.plan.space.keys or not Path(path).is_absolute():
        return []
    if travels and Path(path).is_relative_to(Path.cwd()):
        return []
    quoted = path.replace("'", "\\'")
    return [f"{KEY}='{quoted}'"]


def entrypoint(sweep: str, typed: Sequence[str], store: Path | None = None) -> str:
    """The shell command that the cluster's head runs.

    Raises:
        ConfigError: an override holds a password: the command is shown on the dashboard.
    """
    from rnnsweep.adapters.ledger.secrets import has_secret

    for override in typed:
        if has_secret(override):
            hint = "Put the URL into a yaml of yours, as ${oc.env:NAME}."
            raise ConfigError("a job's command is no place for a password", key=override.partition("=")[0], hint=hint)
    kept = [override for override in typed if not override.startswith("cluster.address=")]
    place = [] if store is None else ["--store", str(store.absolute())]
    return shlex.join(["rnnsweep", "launch", sweep, *kept, "cluster.address=auto", *place])
