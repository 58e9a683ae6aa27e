"""Job submission through a real dashboard."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from rnnsweep.adapters.ray import jobs
from rnnsweep.errors import ConfigError, LockedError, StoreError

SERVER = """
import sys
from ray.cluster_utils import Cluster
head = {"num_cpus": 1, "include_dashboard": True, "dashboard_port": 0, "object_store_memory": 80 * 2**20}
head["dashboard_agent_listen_port"] = 0  # any: the default is one port, and other clusters of this machine have it
cluster = Cluster(initialize_head=True, head_node_args=head)
print(cluster.webui_url, flush=True)
sys.stdin.read()
cluster.shutdown()
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
    server.communicate("", timeout=120)


def finished(name: str, address: str, seconds: float = 120.0) -> jobs.JobView:
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


@pytest.mark.slow
def test_a_job_that_fails_at_once_says_why(dashboard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LOOK_S", 30.0)  # a busy machine takes its time
    jobs.submit("no-such-program", "broken", dashboard)
    reason = jobs.failed_at_once("broken", dashboard)
    assert reason is not None
    assert "no-such-program" in reason
    assert "not found" in reason


@pytest.mark.parametrize("address", ["auto", "head:6379", "ray://head:10001"])
def test_an_address_that_is_no_dashboard_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.address") as caught:
        jobs.submit("true", "tiny", address)
    assert "http://host:8265" in str(caught.value)


def test_an_address_where_nobody_listens_is_refused() -> None:
    with pytest.raises(ConfigError, match="no Ray dashboard answers here"):
        jobs.submit("true", "tiny", "http://127.0.0.1:9")


class Starting:
    """A dashboard whose cluster has no agent yet, as Ray's client shows it; `silent`: but the job was started."""

    def __init__(self, refusals: int, reason: str = jobs.NO_AGENT, silent: bool = False) -> None:
        self.refusals, self.reason, self.silent = refusals, reason, silent
        self.ids: list[str] = []

    def list_jobs(self) -> list:
        return [SimpleNamespace(submission_id=name, metadata={}) for name in self.ids if self.silent]

    def submit_job(self, *, submission_id: str, **_: object) -> str:
        self.ids.append(submission_id)
        if len(self.ids) <= self.refusals:
            raise RuntimeError(f"Request failed with status code 500: {self.reason}, please try again later.")
        return submission_id


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds slept by the module under test, on a clock that moves with them."""
    slept: list[float] = []
    monkeypatch.setattr(jobs.time, "sleep", slept.append)
    monkeypatch.setattr(jobs.time, "monotonic", lambda: sum(slept))
    return slept


def test_a_head_that_is_still_starting_is_asked_again(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    client = Starting(3)
    monkeypatch.setattr(jobs, "_client", lambda _: client)
    assert jobs.submit("true", "tiny", "http://head") == client.ids[-1]
    assert len(client.ids) == 4
    assert len(set(client.ids)) == 1
    assert naps == [0.5, 1.0, 2.0]


def test_a_job_that_was_started_after_all_is_not_started_again(
    naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Starting(1, silent=True)
    monkeypatch.setattr(jobs, "_client", lambda _: client)
    assert jobs.submit("true", "tiny", "http://head") == client.ids[0]
    assert len(client.ids) == 1


def test_a_head_without_agents_is_given_up_after_a_while(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_client", lambda _: Starting(10**9))
    with pytest.raises(StoreError, match=jobs.NO_AGENT):
        jobs.submit("true", "tiny", "http://head")
    assert jobs.AGENT_S - 5 <= sum(naps) <= jobs.AGENT_S


def test_other_refusals_are_not_repeated(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    client = Starting(1, "the runtime environment is not valid")
    monkeypatch.setattr(jobs, "_client", lambda _: client)
    with pytest.raises(StoreError, match="not valid"):
        jobs.submit("true", "tiny", "http://head")
    assert (len(client.ids), naps) == (1, [])
