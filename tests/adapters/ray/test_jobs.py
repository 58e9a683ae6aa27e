"""Job submission through a real dashboard."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnsweep.adapters.ray import jobs
from rnnsweep.errors import ConfigError, LockedError

SERVER = """
import ray, sys
context = ray.init(address="local", num_cpus=1, include_dashboard=True, dashboard_port=0, log_to_driver=False,
                   object_store_memory=80 * 2**20, logging_level=40)
print(context.dashboard_url, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def dashboard() -> Iterator[str]:
    """A Ray with a dashboard in a process of its own: this process stays free for other clusters."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    yield f"http://{server.stdout.readline().strip()}"
    server.communicate("", timeout=20)


def finished(name: str, address: str, seconds: float = 30.0) -> jobs.JobView:
    end = time.monotonic() + seconds
    while True:
        job = jobs.status(name, address)
        assert job is not None
        if job.state not in jobs.LIVE:
            return job
        assert time.monotonic() < end, job
        time.sleep(0.2)


@pytest.mark.slow
def test_a_job_is_submitted_followed_and_found_by_the_sweeps_name(dashboard: str, tmp_path: Path) -> None:
    assert jobs.status("tiny", dashboard) is None
    code = "import os,time; print('begin', os.environ['WORD'], flush=True); time.sleep(1); print('end'); exit(3)"
    job_id = jobs.submit(f'{sys.executable} -c "{code}"', "tiny", dashboard, environment={"WORD": "hello"})
    assert job_id.startswith("rnnsweep-tiny-")
    with pytest.raises(LockedError, match=job_id):
        jobs.submit("true", "tiny", dashboard)
    text = "".join(jobs.logs("tiny", dashboard, follow=True))
    assert "begin hello" in text
    assert "end" in text
    job = finished("tiny", dashboard)
    assert (job.id, job.sweep, job.state, job.exit_code) == (job_id, "tiny", "FAILED", 3)
    assert "begin hello" in "".join(jobs.logs("tiny", dashboard))
    again = jobs.submit("sleep 60", "tiny", dashboard)  # a resume is the next job of the same sweep
    assert jobs.status("tiny", dashboard).id == again  # pyright: ignore[reportOptionalMemberAccess]
    assert jobs.stop("tiny", dashboard)
    assert finished("tiny", dashboard).state == "STOPPED"
    with pytest.raises(ConfigError, match="no job of sweep 'other'"):
        next(jobs.logs("other", dashboard))


@pytest.mark.parametrize("address", ["auto", "head:6379", "ray://head:10001"])
def test_an_address_that_is_no_dashboard_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.address") as caught:
        jobs.submit("true", "tiny", address)
    assert "http://host:8265" in str(caught.value)


def test_an_address_where_nobody_listens_is_refused() -> None:
    with pytest.raises(ConfigError, match="no Ray dashboard answers here"):
        jobs.submit("true", "tiny", "http://127.0.0.1:9")
