"""Hand a sweep to a Ray cluster as a job, and look after it from outside.

The job runs its driver on the cluster; nothing of this machine is shipped unless a working directory is named. Jobs
are found by the sweep's name, the newest first.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from rnnsweep.adapters.ray.cluster import TOKEN_HINT
from rnnsweep.errors import ConfigError, LockedError, StoreError

ALLOWED = "http://host:8265 or https://..., the address of the cluster's dashboard"
LIVE = ("PENDING", "RUNNING")
LOOK_S = 3.0
"""How long a job is watched for a failure right at its start, seconds."""
SWEEP = "rnnsweep"
"""Metadata key with the sweep's name."""
NO_AGENT = "No available agent to submit job"
"""Ray's answer, to be tried again later, while a head that has just started or is busy knows no agent on any node."""
BUSY_PORT = (
    " Does another Ray run on that machine? Its agent has the port: --dashboard-agent-listen-port=PORT for this one."
)
AGENT_S = 60.0
"""Longest time that a submission tries again after it, seconds."""


@dataclass(frozen=True)
class JobView:
    """A job as the cluster reports it.

    Attributes:
        id: submission id.
        sweep: the sweep's name.
        state: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.
        message: Ray's explanation, one or more lines; may be empty.
        started, finished: seconds since the epoch, or None.
        exit_code: the driver's exit code, None while it runs.
    """

    id: str
    sweep: str
    state: str
    message: str = ""
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None


def submit(
    entrypoint: str,
    name: str,
    address: str,
    *,
    environment: Mapping[str, str] | None = None,
    working_dir: str | None = None,
) -> str:
    """Start a job for sweep `name`; returns its submission id at once.

    Args:
        entrypoint: shell command that the cluster's head runs, e.g. ``rnnsweep launch NAME cluster.address=auto``.
        name: the sweep's name.
        address: of the dashboard, ``http://host:8265``.
        environment: variables for the driver, e.g. passwords that must not stand in the command.
        working_dir: a directory to ship (its ``mlruns`` and ``.git`` are left out); None ships nothing.

    Raises:
        ConfigError: nothing answers at the address.
        LockedError: a job of this sweep is pending or running there.
        StoreError: the cluster does not take the job.
    """
    client = _client(address)
    for job in _jobs(client, name):
        if job.state in LIVE:
            raise LockedError(name, f"job {job.id} on {address}")
    # Ray may have been started without its environment's programs on the path; they are often where ours are
    path = f"${{PATH}}{os.pathsep}{os.path.dirname(sys.executable)}"
    runtime: dict[str, Any] = {"env_vars": {"RAY_USAGE_STATS_ENABLED": "0", "PATH": path, **(environment or {})}}
    if working_dir is not None:
        runtime |= {"working_dir": working_dir, "excludes": ["mlruns", ".git", ".venv"]}
    clean = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    # chosen here and not by Ray: only so can a repeated submission be told from a second job
    job_id = f"rnnsweep-{clean}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.urandom(2).hex()}"
    try:
        return _insist(client, entrypoint=entrypoint, submission_id=job_id, runtime_env=runtime, metadata={SWEEP: name})
    except RuntimeError as problem:
        hint = BUSY_PORT if NO_AGENT in str(problem) else ""
        raise StoreError(f"Ray jobs at {address}", str(problem).splitlines()[0] + hint) from problem


def _insist(client: JobSubmissionClient, *, submission_id: str, **job: Any) -> str:
    """Submit under one id, again for a while where there is no agent, but not if an earlier try got through."""
    deadline, pause = time.monotonic() + AGENT_S, 0.5
    while True:
        try:
            return client.submit_job(submission_id=submission_id, **job)
        except RuntimeError as problem:
            if NO_AGENT not in str(problem) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(5.0, 2 * pause)
        if any(job.submission_id == submission_id for job in client.list_jobs()):
            return submission_id


def failed_at_once(name: str, address: str) -> str | None:
    """The last line that the newest job of a sweep has printed if it fails within `LOOK_S` seconds, else None."""
    client, end = _client(address), time.monotonic() + LOOK_S
    while time.monotonic() < end:
        job = next(iter(_jobs(client, name)), None)
        if job is not None and job.state == "FAILED":
            lines = [line.strip() for line in client.get_job_logs(job.id).splitlines() if line.strip()]
            own = [line for line in lines if not ("job_manager.py" in line or line.startswith("Running entrypoint"))]
            # the program's last line is its error; what Ray's job manager prints around it is not
            return own[-1] if own else job.message.splitlines()[0]
        time.sleep(0.25)
    return None


def status(name: str, address: str) -> JobView | None:
    """The newest job of a sweep, or None."""
    return next(iter(_jobs(_client(address), name)), None)


def logs(name: str, address: str, follow: bool = False) -> Iterator[str]:
    """What the newest job of a sweep has printed, in pieces; with `follow` until it ends.

    Raises:
        ConfigError: nothing answers at the address, or no job of this sweep is known there.
    """
    client = _client(address)
    job = next(iter(_jobs(client, name)), None)
    if job is None:
        raise ConfigError(f"no job of sweep '{name}' on {address}", hint=f"Submit it: rnnsweep launch {name} --submit.")
    if not follow:
        yield client.get_job_logs(job.id)
        return
    # one loop for all pieces: the generator is bound to the loop in which it began
    with asyncio.Runner() as runner:
        pieces = client.tail_job_logs(job.id).__aiter__()
        while (piece := runner.run(_next(pieces))) is not None:
            yield piece


def stop(name: str, address: str) -> bool:
    """Ask the newest job of a sweep to end (SIGTERM, and SIGKILL later); False where none runs.

    `rnnsweep stop` leaves a request in the ledger instead and lets the driver end in order; prefer it.
    """
    client = _client(address)
    job = next(iter(_jobs(client, name)), None)
    return job is not None and job.state in LIVE and client.stop_job(job.id)


async def _next(pieces: Any) -> str | None:
    return await anext(pieces, None)


def _client(address: str) -> JobSubmissionClient:
    if not address.startswith(("http://", "https://")):
        raise ConfigError("jobs go to a dashboard", key="cluster.address", value=address, allowed=ALLOWED)
    outer = {key: os.environ.pop(key, None) for key in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    try:  # those two variables would override the address that the user typed
        return JobSubmissionClient(address)
    except AuthenticationError as problem:
        raise ConfigError("asks for a token", key="cluster.address", value=address, hint=TOKEN_HINT) from problem
    except (ConnectionError, RuntimeError) as problem:
        reason = str(problem).splitlines()[0]
        raise ConfigError(
            f"no Ray dashboard answers here ({reason})", key="cluster.address", value=address, allowed=ALLOWED
        ) from problem
    finally:
        os.environ.update({key: value for key, value in outer.items() if value is not None})


def _jobs(client: JobSubmissionClient, name: str) -> list[JobView]:
    ours = [job for job in client.list_jobs() if (job.metadata or {}).get(SWEEP) == name and job.submission_id]
    # the list comes in no promised order
    ours.sort(key=lambda job: job.start_time or 0, reverse=True)
    return [
        JobView(
            id=str(job.submission_id),
            sweep=name,
            state=str(job.status.value),
            message=job.message or "",
            started=job.start_time / 1000 if job.start_time else None,
            finished=job.end_time / 1000 if job.end_time else None,
            exit_code=job.driver_exit_code,
        )
        for job in ours
    ]
