"""A private Ray on this machine: quick to start, on loopback only, gone with its driver however that ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.sweep.states import SweepState, TrialState
from tests.kit.second_user import strictly_as_nobody

KIT = Path(__file__).parents[2] / "contract" / "executor_kit"
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
DRIVER = """
import json, sys, time
sys.path.insert(0, KIT)
before = time.monotonic()
from counting_trainer import factory, EVERY
from rnnsweep.adapters.ray.cluster import RaySettings
from rnnsweep.adapters.ray.executor import RayExecutor
from rnnsweep.sweep.rows import Orders, RowSpec
from rnnsweep.sweep.ports import RungTrained, WorkerJoined

class Torch:
    def __call__(self, worker, cores):
        import torch
        return factory()(worker, cores)

def children():
    import psutil
    return [p.pid for p in psutil.Process().children(recursive=True)]

def listening():
    import psutil
    found = set()
    for pid in children():
        try:
            found |= {c.laddr.ip for c in psutil.Process(pid).net_connections("inet") if c.status == "LISTEN"}
        except psutil.Error:
            pass
    return sorted(found)

executor = RayExecutor(Torch(), RaySettings(workers=1, py_paths=(KIT,), dashboard=sys.argv[2] == "dashboard"))
executor.start()
trained = False
while not trained:
    for event in executor.poll(0.5):
        if isinstance(event, WorkerJoined):
            row = RowSpec(0, 0, "t", {"do": "sleep"}, 1000 * EVERY)
            executor.order(event.info.worker, Orders(join=(row,)))
        trained = trained or isinstance(event, RungTrained)
took = time.monotonic() - before
import os
import ray._private.worker
session = ray._private.worker._global_node.get_session_dir_path()
print(json.dumps([took, listening(), children(), os.environ["RAY_AUTH_MODE"], session]), flush=True)
if sys.argv[1] == "stop":
    executor.stop(graceful=True)
    print(json.dumps([p for p in children()]), flush=True)
else:
    time.sleep(60)
"""


def launch(how: str, tmp_path: Path, what: str = "plain") -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment["HOME"] = str(tmp_path)  # where Ray keeps the token
    code = f"KIT = {str(KIT)!r}\n{DRIVER}"
    command = [sys.executable, "-c", code, how, what]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)


def report(driver: subprocess.Popen[str]) -> list:
    assert driver.stdout is not None
    return json.loads(driver.stdout.readline())


def name(pid: int) -> str:
    with contextlib.suppress(psutil.NoSuchProcess, IndexError):
        return psutil.Process(pid).cmdline()[0]
    return ""


def left(pids: list[int], seconds: float) -> list[list[str]]:
    """Command lines of those that still run after `seconds` at most."""
    end = time.monotonic() + seconds
    while True:
        rest = []
        for pid in pids:
            try:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    rest.append(process.cmdline())
            except psutil.NoSuchProcess:
                continue
        if not rest or time.monotonic() > end:
            return rest
        time.sleep(0.1)


def test_the_first_rung_is_trained_within_seconds_and_nothing_is_left(tmp_path: Path) -> None:
    driver = launch("stop", tmp_path)
    took, addresses, pids, mode, session = report(driver)
    assert took < 60.0  # 5 s on two idle cores (Ray 3, a worker 0.5, torch 1.5); 20 s at a load of 11
    assert mode == "token"
    closed = Path(session).parents[1]  # Ray itself opens the rest to everybody, sockets and logs included
    assert closed.stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / ".ray").exists()  # Ray's own token file could be read by everybody
    assert addresses
    assert all(ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for ip in addresses), addresses
    report(driver)
    assert driver.wait(20) == 0
    assert left(pids, 5.0) == []


def test_another_user_cannot_reach_or_replace_the_sockets(tmp_path: Path) -> None:
    """The attack: to move the folder away, and put one with sockets of his own there for the next worker to open."""
    words = strictly_as_nobody()
    driver = launch("stay", tmp_path)
    session = Path(report(driver)[-1])
    try:
        for command in (["ls", session], ["mv", session, session.with_name("gone")]):
            done = subprocess.run([*words, *command], capture_output=True, text=True, cwd="/")
            assert done.returncode != 0 and "Permission denied" in done.stderr, done
        assert (session / "sockets" / "plasma_store").exists()
    finally:
        driver.kill()
        driver.wait(20)


@pytest.mark.parametrize(("what", "expected"), [("plain", set()), ("dashboard", {"dashboard.py", "log_monitor.py"})])
def test_helpers_are_started_only_with_the_dashboard(tmp_path: Path, what: str, expected: set[str]) -> None:
    driver = launch("sleep", tmp_path, what)
    try:
        _, _, pids, *_ = report(driver)
        words = {Path(word).name for pid in pids for word in psutil.Process(pid).cmdline()}
        assert words & {"dashboard.py", "log_monitor.py"} == expected
    finally:
        driver.terminate()
        driver.wait(30)


LATE = """
import sys, time
from pathlib import Path
sys.path.insert(0, KIT)
from counting_trainer import factory
from rnnsweep.adapters.ray.cluster import RaySettings
from rnnsweep.adapters.ray.executor import RayExecutor
from rnnsweep.sweep.ports import WorkerJoined

file, end = Path(sys.argv[1]), time.monotonic() + 60

def prelude():
    file.write_text("prepared")

def build(worker, cores):
    file.with_name("built").write_text(file.read_text())
    return factory()(worker, cores)

executor = RayExecutor(None, RaySettings(workers=1, py_paths=(KIT,)), prelude)
executor.connect()
executor.begin()
while not file.exists() and time.monotonic() < end:
    time.sleep(0.05)
executor.supply(build)
executor.start()
joined = []
while not joined and time.monotonic() < end:
    joined = [event for event in executor.poll(0.5) if isinstance(event, WorkerJoined)]
executor.stop(graceful=True)
print(len(joined))
"""


def test_a_worker_prepares_itself_before_it_is_known_what_it_trains(tmp_path: Path) -> None:
    file = tmp_path / "prepared"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    command = [sys.executable, "-c", f"KIT = {str(KIT)!r}\n{LATE}", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["1"], done.stderr
    assert file.with_name("built").read_text() == "prepared"


SWEEP = """
import sys
sys.path.insert(0, KIT)
from counting_trainer import factory
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.adapters.ray.cluster import RaySettings
from rnnsweep.adapters.ray.executor import RayExecutor
from rnnsweep.sweep.driver import Driver
from rnnsweep.sweep.ports import SweepView
from rnnsweep.sweep.states import SweepState
from tests.kit.plans import plan
from tests.kit.sampler import ScriptedSampler

sweep = plan(4, updates=int(sys.argv[2]), replicas=1)
ledger = open_ledger(sys.argv[1])
ledger.create(SweepView("s", SweepState.RUNNING, {}))
executor = RayExecutor(factory(), RaySettings(workers=1, py_paths=(KIT,)))
executor.begin()
sampler = ScriptedSampler(lambda number: {"x": 0.5, "do": "sleep", "seconds": 0.05})
told = lambda progress: print(progress.updates, flush=True)
outcome = Driver(sweep, ledger, sampler, executor, fence=ledger.acquire("s", "test", 1.0), observer=told).run()
sys.exit(outcome.exit_code)
"""


def ledger_of(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def training_sweep(tmp_path: Path, updates: int) -> subprocess.Popen[str]:
    """A driver in a process of its own whose first rung has been trained."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", f"KIT = {str(KIT)!r}\n{SWEEP}", ledger_of(tmp_path), str(updates)]
    with (tmp_path / "errors").open("w") as errors:
        driver = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
    assert driver.stdout is not None
    while int(driver.stdout.readline()) == 0:
        pass
    return driver


def assert_interrupted(tmp_path: Path) -> None:
    """The ledger says that the sweep was stopped in order, and that all its trials may go on."""
    with contextlib.closing(open_ledger(ledger_of(tmp_path))) as ledger:
        view = ledger.sweep("s")
        assert view is not None
        assert view.state is SweepState.INTERRUPTED
        assert {trial.state for trial in ledger.trials("s")} == {TrialState.WAITING}


@pytest.mark.chaos
@pytest.mark.parametrize("victim", ["raylet", "gcs_server"])
def test_a_private_ray_that_was_killed_is_started_again(tmp_path: Path, victim: str) -> None:
    """Without it a sweep waits for ever for a node (raylet), or its driver ends after a minute without a word (GCS)."""
    driver = training_sweep(tmp_path, updates=300)
    killed = [process for process in psutil.Process(driver.pid).children(recursive=True) if process.name() == victim]
    assert len(killed) == 1
    killed[0].kill()
    assert driver.stdout is not None
    driver.stdout.read()
    assert driver.wait(60) == 0
    with contextlib.closing(open_ledger(ledger_of(tmp_path))) as ledger:
        trials = ledger.trials("s")
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert all("Ray's " in " ".join(trial.history) for trial in trials)
    assert f"Ray's {victim} has ended" in (tmp_path / "errors").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_sweep_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """Ray's own handler would dump a stack, exit with 15 and leave the trials RUNNING."""
    driver = training_sweep(tmp_path, updates=100_000)
    driver.send_signal(number)
    assert driver.wait(60) == 3
    assert_interrupted(tmp_path)
    said = (tmp_path / "errors").read_text()
    assert "stopping after this rung" in said
    assert "received at time" not in said


@pytest.mark.chaos
def test_a_signal_to_all_processes_of_the_group_ends_a_sweep_in_order(tmp_path: Path) -> None:
    """As scancel, systemd and timeout send it: Ray's processes end at once, and whoever asks them waits for ever."""
    driver = training_sweep(tmp_path, updates=100_000)
    os.killpg(driver.pid, signal.SIGTERM)
    assert driver.wait(45) == 3  # a minute after its GCS has ended, Ray ends the process
    assert_interrupted(tmp_path)
    assert "started again" not in (tmp_path / "errors").read_text()


@pytest.mark.chaos
def test_a_driver_that_is_told_after_all_else_has_ended_waits_for_no_answer(tmp_path: Path) -> None:
    """As by a signal to the group, of which it hears last: a rung is under way, and nobody will tell how it ended."""
    driver = training_sweep(tmp_path, updates=100_000)
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGSTOP)
    for process in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for number in (signal.SIGTERM, signal.SIGCONT):
        driver.send_signal(number)
    assert driver.wait(45) == 3
    assert_interrupted(tmp_path)


@pytest.mark.chaos
def test_a_killed_driver_leaves_no_process_behind(tmp_path: Path) -> None:
    driver = launch("sleep", tmp_path)
    _, _, pids, *_ = report(driver)
    assert pids
    driver.send_signal(signal.SIGKILL)
    driver.wait(5)
    agents = [pid for pid in pids if name(pid) in AGENTS]
    assert left([pid for pid in pids if pid not in agents], 20.0) == []
    for pid in agents:  # these two report to their dead head until that times out, within a minute
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()
