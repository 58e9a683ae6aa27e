"""The notify list: checked before anything is written, and its addresses are kept nowhere."""

from __future__ import annotations

import json

import pytest

from rnnsweep.app.config.load import from_json, load, to_json
from rnnsweep.app.config.notify import DEFAULTS, address, check_address, kept_notify
from rnnsweep.errors import ConfigError

SECRET = "https://hooks.slack.com/services/T000/B000/XXXX"


def loaded(*overrides: str, sweep: str = "quickstart"):
    return load(sweep, ["cluster=inline", *overrides], check_units=False)


def test_an_address_of_the_environment_is_kept_as_it_was_written(monkeypatch):
    monkeypatch.setenv("HOOK", SECRET)
    config = loaded('notify=[{url:"${oc.env:HOOK}",events:[end,best],form:slack}]')
    assert config.notify == ({**DEFAULTS, "url": "${oc.env:HOOK}", "events": ["end", "best"], "form": "slack"},)
    stored = json.dumps([to_json(config), list(config.plan.overrides), repr(config.plan)])
    assert "XXXX" not in stored and "T000" not in stored
    assert from_json(to_json(config)).notify == config.notify
    assert address(config.notify[0]["url"], "notify.0.url") == SECRET


def test_a_sweep_file_may_say_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH_OF_HOOK", "T000/B000/XXXX")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "defaults: [quickstart]\n"
        "notify:\n  - url: https://hooks.slack.com/services/${oc.env:PATH_OF_HOOK}\n    events: [failure]\n"
    )
    config = loaded(sweep=str(file))
    assert config.notify[0]["url"] == "https://hooks.slack.com/services/${oc.env:PATH_OF_HOOK}"
    assert address(config.notify[0]["url"], "notify.0.url") == SECRET


def test_addresses_of_this_machine_may_stand_in_the_config():
    for host in ("localhost:8000", "127.0.0.1", "[::1]:99"):
        assert loaded(f'notify=[{{url:"http://{host}/hook"}}]').notify[0]["url"] == f"http://{host}/hook"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f'notify=[{{url:"{SECRET}"}}]', r"notify\.0\.url='hooks\.slack\.com/\.\.\.': is stored"),
        ('notify=[{url:"ftp://localhost/x"}]', "notify.0.url='ftp://...': is no web address"),
        ('notify=[{url:"file:///etc/passwd"}]', "notify.0.url='file://...': is no web address"),
        ('notify=[{url:"localhost:8000/x"}]', "is no web address"),
        ('notify=[{url:"http://localhost:port/x"}]', "is no web address"),
        ('notify=[{url:"http://me:XXXX@localhost/x"}]', "has a user in it"),
        ('notify=[{url:"http://localhost/x?token=XXXX"}]', "no place for a password"),
        ('notify=[{url:"${oc.env:SURELY_NOT_SET}"}]', "SURELY_NOT_SET"),
        ("notify=[{events:[end]}]", "notify.0.url: names no address"),
        ('notify=[{url:"http://localhost/x",events:[ends]}]', "notify.0.events='ends'.*Did you mean 'end'"),
        ('notify=[{url:"http://localhost/x",events:[]}]', "is no list of events"),
        ('notify=[{url:"http://localhost/x",evnts:[end]}]', "notify.0.evnts: unknown key.*Did you mean 'events'"),
        ('notify=[{url:"http://localhost/x",on:[end]}]', "unknown key.*Did you mean 'events'"),
        ('notify=[{url:"http://localhost/x",form:teams}]', "notify.0.form='teams'"),
        ('notify=[{url:"http://localhost/x",diverged_above:2}]', "notify.0.diverged_above=2"),
        ('notify=[{url:"http://localhost/x",link:3}]', "notify.0.link=3: is no text"),
        ("notify=http://localhost/x", "notify: is no list"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_without_secrets(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        loaded(override)
    assert "\n" not in str(caught.value) and "XXXX" not in str(caught.value)


def test_an_address_with_a_default_is_not_kept():
    """The default would be the secret itself, in the config."""
    with pytest.raises(ConfigError, match="is stored with the sweep"):
        kept_notify([{"url": SECRET}], [{"url": "${oc.env:HOOK," + SECRET + "}"}])


def test_a_variable_that_is_gone_is_named(monkeypatch):
    monkeypatch.delenv("GONE", raising=False)
    with pytest.raises(ConfigError, match="the variable GONE is not set"):
        address("${oc.env:GONE}", "notify.0.url")
    monkeypatch.setenv("GONE", "gopher://XXXX")
    with pytest.raises(ConfigError, match="is no web address") as caught:
        address("${oc.env:GONE}", "notify.0.url")
    assert "XXXX" not in str(caught.value)


def test_hosts():
    assert check_address("https://example.org:8443/a?b=c", "url") == "example.org"
    for broken in ("http://", "http:///x", "http://a b/", "http://[::1", "", "http://a/\r\nHost: b"):
        with pytest.raises(ConfigError, match="no web address"):
            check_address(broken, "url")
