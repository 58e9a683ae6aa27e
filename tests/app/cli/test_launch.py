"""`rnnsweep launch`: what it refuses, and what it leaves behind."""

from __future__ import annotations

from rnnsweep.errors import ConfigError


def test_a_cluster_that_does_not_answer_leaves_nothing_behind(tmp_path, run, monkeypatch):
    def away(settings):
        raise ConfigError("no Ray cluster answers here", key="cluster.address", value=settings.address)

    monkeypatch.setattr("rnnsweep.adapters.ray.executor.connect", away)
    store = tmp_path / "new"
    result = run("launch", "quickstart", "cluster=ray", "cluster.address=10.0.0.1:6379", "--store", store)
    assert result.exit_code == 2
    assert "cluster.address" in result.stderr
    assert not store.exists()


def test_a_cluster_that_asks_for_a_token_is_told_so(tmp_path, run, monkeypatch):
    from ray.exceptions import AuthenticationError

    def closed(address):
        raise AuthenticationError("Missing authentication token")

    monkeypatch.setattr("rnnsweep.adapters.ray.jobs.JobSubmissionClient", closed)
    typed = ("cluster=ray", "cluster.address=http://10.0.0.1:8265", "--submit", "--store", tmp_path)
    result = run("launch", "quickstart", *typed)
    assert result.exit_code == 2
    assert "RAY_AUTH_MODE=token" in result.stderr


def test_a_fresh_launch_says_its_name_and_prints_commands_with_it(run, tiny, monkeypatch, store):
    """A second `make quickstart`: whoever types what the README says of `quickstart` would see the first one."""
    from dataclasses import replace

    from rnnsweep.app import api

    monkeypatch.setattr(api, "fresh", lambda *words, **more: ("quickstart-2", None))

    def launch(name, typed, *, on_result, **more):
        assert "name=quickstart-2" in typed
        done = replace(tiny[1], outcome=tiny[1].outcome)
        on_result(done)
        return done

    monkeypatch.setattr(api, "launch", launch)
    result = run("launch", "quickstart", "--fresh")
    assert result.stderr.startswith("Launching sweep 'quickstart-2'.\n")
    assert f"rnnsweep report {tiny[1].name}" in result.stdout


def test_or_resume_goes_on_with_what_the_store_has_and_launches_what_it_has_not(run, tiny, monkeypatch, store):
    from dataclasses import replace

    from rnnsweep.app import api

    called: list[tuple[str, str]] = []

    def resume(name, *words, on_result, **more):
        called.append(("resume", name))
        return replace(tiny[1])

    def launch(name, typed, *, on_result, **more):
        called.append(("launch", name))
        return replace(tiny[1])

    monkeypatch.setattr(api, "resume", resume)
    monkeypatch.setattr(api, "launch", launch)
    result = run("launch", "quickstart", "budget.trials=9", "--or-resume")
    assert "Going on with the sweep 'quickstart' as it was launched." in result.stderr
    run("launch", "quickstart", "name=other", "--or-resume")
    run("launch", "search", "name=quickstart", "--or-resume")
    assert called == [("resume", "quickstart"), ("launch", "quickstart"), ("resume", "quickstart")]
    for beside in ("--fresh", "--submit"):
        result = run("launch", "quickstart", "--or-resume", beside)
        assert (result.exit_code, f"--or-resume {beside}: choose one" in result.stderr) == (2, True)
