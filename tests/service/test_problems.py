"""Errors of the API: the command line's messages as problem+json."""

from __future__ import annotations

import json
import math

import pytest

from rnnsweep.errors import ConfigError, LockedError, RnnsweepError, StoreError
from rnnsweep.service.problems import MEDIA, RefusedError, problem_of, status_of, validation_line


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("unknown key", key="a.b", value=1), 400),
        (ConfigError("no such sweep", key="SWEEP", value="x"), 404),
        (ConfigError("sweep 's' has no such trial", key="TRIAL", value=9), 404),
        (ConfigError("the store has a sweep of this name", key="name", value="x"), 409),
        (StoreError("ledger", "away"), 503),
        (LockedError("s", "somebody"), 409),
        (RnnsweepError("no complete trial yet"), 409),
        (RefusedError("no"), 403),
        (RefusedError("too many", 429), 429),
    ],
)
def test_status_and_message(error: RnnsweepError, status: int):
    reply = problem_of(error)
    data = json.loads(bytes(reply.body))
    assert reply.status_code == status_of(error) == data["status"] == status
    assert reply.media_type == MEDIA
    assert data["detail"] == str(error) and data["exit_code"] == error.exit_code


def test_the_parts_of_a_config_error_make_the_same_error_again():
    error = ConfigError("is wrong", key="a", value=0.5, allowed=["x", "y"], file="f.yaml", hint="b")
    data = json.loads(bytes(problem_of(error).body))
    names = ("problem", "key", "value", "allowed", "file", "hint")
    parts = {name: data[name] for name in names}
    assert str(ConfigError(parts.pop("problem"), **parts)) == str(error)


@pytest.mark.parametrize("value", [math.inf, math.nan, "\ud800", b"x", 10**400, object])
def test_any_value_leaves_as_json(value: object):
    json.loads(bytes(problem_of(ConfigError("is wrong", key="a", value=value)).body))


def test_no_password_leaves():
    error = ConfigError("is wrong", key="store", value="postgresql://me:secret@host/db", hint="http://u:secret@h.")
    assert b"secret" not in bytes(problem_of(error).body)
    assert b"secret" not in bytes(problem_of(StoreError("ledger", "postgresql://me:secret@h/d: no")).body)


def test_a_form_says_key_and_fault():
    errors = [{"loc": ("body", "budget", "trials"), "msg": "Input should be a number", "input": "\x1b"}]
    assert validation_line(errors) == "budget.trials: input should be a number"
