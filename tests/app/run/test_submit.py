"""A launch as a job of a Ray cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.run.submit import entrypoint, submit_launch
from rnnsweep.errors import ConfigError


def test_submitted_command_goes_to_the_cluster_itself_and_shows_no_password():
    command = entrypoint("quickstart", ["budget.trials=4", "cluster.address=http://127.0.0.1:8265"])
    assert command == "rnnsweep launch quickstart budget.trials=4 cluster.address=auto"
    here = entrypoint("quickstart", [], Path("stores"))
    assert here == f"rnnsweep launch quickstart cluster.address=auto --store {Path.cwd() / 'stores'}"
    for url in ("me:secret@db/rnn", "me:p/w@db/rnn", "me:p w@db/rnn", "me:p@w@db/rnn", "db/rnn?user=me&password=S"):
        with pytest.raises(ConfigError, match="password"):
            entrypoint("quickstart", [f"store.ledger='postgresql://{url}'"])


@pytest.mark.parametrize(("folder", "travels"), [("checkout", False), ("users", True)])
def test_only_configs_of_the_users_own_travel_with_a_job(folder, travels, tmp_path, monkeypatch):
    from rnnsweep.adapters.hydra.search import packaged_configs
    from rnnsweep.adapters.ray import jobs

    here = tmp_path / folder
    (here / "conf" / "family").mkdir(parents=True)
    if folder == "checkout":  # the working directory is the one that the packaged configs lie in
        here = packaged_configs()[0].parent
    monkeypatch.chdir(here)
    sent = []
    monkeypatch.setattr(jobs, "submit", lambda *args, working_dir=None: sent.append(working_dir) or "job")
    monkeypatch.setattr(jobs, "failed_at_once", lambda *args: None)
    typed = ["cluster=ray", "cluster.address=http://127.0.0.1:8265", "name=never-launched"]
    submit_launch(load("quickstart", typed, check_units=False), "quickstart", typed)
    assert sent == ["." if travels else None]
