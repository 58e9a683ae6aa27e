"""Where commands find sweeps."""

from __future__ import annotations

import pytest

from rnnsweep.app.cli import source
from rnnsweep.errors import ConfigError, ConfigWarning

URL = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(source.VARIABLE, raising=False)
    yield
    source.take_service([])


@pytest.mark.parametrize(
    "words",
    [
        ["--service", URL, "list", "--json"],
        ["list", "--service", URL, "--json"],
        ["list", "--json", f"--service={URL}"],
    ],
)
def test_it_may_stand_anywhere(words: list[str]):
    assert source.take_service(words) == ["list", "--json"]
    service = source.service(None)
    assert service is not None and service.connection.url == URL
    assert source.option() == ("--service", URL)


def test_the_environment_and_what_wins_over_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(source.VARIABLE, URL)
    source.take_service(["list"])
    assert source.service(None) is not None and source.option() == ()
    for words in (["list", "--store", "x"], ["list", "--store=x"], ["train"], ["doctor"]):
        source.take_service(words)
        assert source.service(None) is None, words
    source.take_service(["list", "--service", "http://127.0.0.1:2"])
    service = source.service(None)
    assert service is not None and service.connection.url == "http://127.0.0.1:2"


def test_without_either_it_is_a_store():
    assert source.take_service(["table", "s", "--", "--service"]) == ["table", "s", "--", "--service"]
    assert source.service(None) is None


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["list", "--service"], "needs a URL"),
        (["list", "--service", "--json"], "needs a URL"),
        (["train", "--service", URL], "is not for this command"),
        (["list", "--service", URL, "--store", "x"], "choose one of them"),
    ],
)
def test_what_does_not_fit(words: list[str], problem: str):
    with pytest.raises(ConfigError, match=problem):
        source.take_service(words)


def test_a_token_in_clear_over_a_network_is_warned_of(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RNNSWEEP_TOKEN", "t")
    source.take_service(["list", "--service", "http://example.org"])
    with pytest.warns(ConfigWarning, match="crosses the network in clear"):
        source.service(None)


def test_options_of_the_machine_with_the_store(monkeypatch: pytest.MonkeyPatch):
    source.take_service(["resume", "s", "--service", URL])
    service = source.service(None)
    assert service is not None
    source.refuse_options(service, {"--failed": False})
    with pytest.raises(ConfigError, match=f"--failed: is not for the service {URL}"):
        source.refuse_options(service, {"--failed": True})


@pytest.mark.postgres
def test_an_empty_store_on_a_server_is_named_without_its_password(postgres_url: str):
    entries, place = source.statuses(postgres_url)
    assert entries == []
    assert place.startswith("postgresql") and "secret" not in source.statuses(_with_password(postgres_url))[1]


def _with_password(url: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(url).set(password="secret").render_as_string(hide_password=False)
