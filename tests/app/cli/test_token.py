"""`rnnsweep token`."""

from __future__ import annotations

import json


def test_give_list_take(run):
    assert "No accounts." in run("token").output
    token = run("token", "ada").output.strip()
    assert len(token) >= 43 and " " not in token
    assert json.loads(run("token", "--json").output) == [{"user": "ada", "role": "reader", "every": False}]
    made = json.loads(run("token", "bob", "--role", "operator", "--all", "--json").output)
    assert made.pop("token") != token and made == {"user": "bob", "role": "operator", "every": True}
    lines = run("token").output.splitlines()
    assert [line.split() for line in lines[1:]] == [["ada", "reader", "own"], ["bob", "operator", "all"]]
    assert "Removed the account 'ada'" in run("token", "ada", "--revoke").output
    assert token not in run("token").output


def test_what_does_not_fit(run):
    for words in (["--revoke"], ["--role", "reader"], ["ada", "--role", "x"], ["a b"], ["ada", "--revoke"]):
        result = run("token", *words)
        assert result.exit_code == 2 and result.output.startswith("error: "), words
    assert run("token", "--json").output.strip() == "[]"
