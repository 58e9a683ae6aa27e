"""A sweep of a service answers as the same sweep in its store."""

from __future__ import annotations

import inspect
from pathlib import Path

import pandas as pd
import pytest

import rnnsweep
from rnnsweep.app.remote.remote_sweep import RemoteSweep, RemoteTrial
from rnnsweep.app.results.sweep import Sweep, TrialResult
from rnnsweep.errors import ConfigError, RnnsweepError
from tests.kit.small_front import SmallFront

OF_THE_STORE = {"log_model", "place"}
"""What needs the store itself."""


@pytest.fixture
def remote(url: str, token: str) -> RemoteSweep:
    return rnnsweep.connect(url, token).open_sweep("quickstart")


@pytest.fixture
def local(front: SmallFront) -> Sweep:
    return rnnsweep.open_sweep("quickstart", store=front.place)


@pytest.mark.parametrize(("here", "there"), [(Sweep, RemoteSweep), (TrialResult, RemoteTrial)])
def test_it_has_the_methods_of_a_local_one_with_their_parameters(here: type, there: type):
    ours = {name: member for name, member in vars(here).items() if not name.startswith("_")}
    for name, member in ours.items():
        if name in OF_THE_STORE or name == "view":
            continue
        assert hasattr(there, name) or name in there.__annotations__, name
        if inspect.isfunction(member):
            theirs = list(inspect.signature(getattr(there, name)).parameters)
            assert theirs[: len(inspect.signature(member).parameters)] == list(inspect.signature(member).parameters)


def test_what_is_printed_is_the_same(remote: RemoteSweep, local: Sweep):
    assert remote.status() == local.status() and remote.state == local.state
    assert remote.table() == local.table() and remote.ranking() == local.ranking()
    assert remote.front() == local.front()
    here = local.show(1)
    assert remote.show(1) == {**here, "history": [list(line) for line in here["history"]]}
    assert [change.seq for change in remote.log()] == [change.seq for change in local.log()]


def test_lineages_are_the_same(remote: RemoteSweep, local: Sweep):
    assert remote.lineage(1) == local.lineage(1) and remote.stretches(1) == local.stretches(1)
    assert remote.trial(1).point == local.trial(1).point


def test_frames_are_the_same(remote: RemoteSweep, local: Sweep):
    pd.testing.assert_frame_equal(remote.trials(), local.trials())
    pd.testing.assert_frame_equal(remote.replicas(), local.replicas())
    pd.testing.assert_frame_equal(remote.curves(), local.curves())
    pd.testing.assert_frame_equal(remote.curves("valid/error", trial=1), local.curves("valid/error", trial=1))
    with pytest.raises(ConfigError, match="no such metric"):
        remote.curves("valid/eror")


def test_trials(remote: RemoteSweep, local: Sweep):
    for here, there in ((local.best, remote.best), (local.trial(5), remote.trial(5))):
        assert (there.number, there.state, there.objective, there.solved_at) == (
            *(here.number, here.state, here.objective, here.solved_at),
        )
        assert there.params == dict(here.params)
    with pytest.raises(ConfigError, match="has no such trial; allowed: 0 to 5"):
        remote.trial(77)
    with pytest.raises(RnnsweepError, match="a network is loaded there"):
        remote.best.load()


def test_requests_arrive(remote: RemoteSweep, front: SmallFront):
    before = len(front.asked)
    remote.enqueue({"init.sigma": 0.1})
    remote.raise_budget(trials=1000)
    remote.pause("lunch")
    remote.resume(["budget.trials=2000"])
    remote.trial(5).end("enough")
    remote.trial(5).pause()
    remote.trial(5).unpause()
    remote.edit("init.sigma=interval(0.1,0.2)")
    assert [asked[0] for asked in front.asked[before:]] == [
        *("request", "request", "pause", "resume", "request", "request", "request", "request"),
    ]
    assert front.asked[-1][2:] == ("edit", {"overrides": ["init.sigma=interval(0.1,0.2)"], "by": "root"})
    assert remote.edits() == []
    assert front.asked[before + 4][2:] == ("end_trial", {"trial": 5, "reason": "enough"})
    assert remote.stop() is False  # it does not run
    with pytest.raises(ConfigError, match="names a key that is not searched"):
        remote.enqueue({"init.sigm": 0.1})


def test_files(remote: RemoteSweep, front: SmallFront, tmp_path: Path):
    folder = front.place.root / "checkpoints" / "quickstart" / "0"
    folder.mkdir(parents=True)
    (folder / "file.json").write_text("fine")
    written = remote.download(tmp_path)
    assert tmp_path / "checkpoints" / "quickstart" / "0" / "file.json" in written
    assert all(file.is_file() for file in written) and "fine" in [file.read_text() for file in written]
    page = remote.report(tmp_path / "report")
    assert page == tmp_path / "report" / "index.html" and page.read_text().startswith("<!doctype html>")
    with pytest.raises(ConfigError, match="--format='svg'"):
        remote.report(tmp_path, ["svg"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--out=.*cannot be written"):
        remote.report(tmp_path / "file")


def test_a_service_that_is_none_does_not_choose_places_here(tmp_path: Path):
    class Lying:
        url = "http://liar"

        def get(self, *path: object, **query: object) -> list[dict[str, object]]:
            return [{"path": "../evil", "bytes": 1}]

    with pytest.raises(RnnsweepError, match="names a file outside of its folder"):
        RemoteSweep("s", Lying()).download(tmp_path / "in")  # type: ignore[arg-type]
