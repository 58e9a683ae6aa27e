"""Forms that other pages cannot send."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from rnnsweep.errors import ConfigError
from rnnsweep.service.page.form_guard import FIELD, LONGEST, FormGuard, read_form


def request(body: bytes = b"", **headers: str) -> Request:
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": named}, receive)


def test_the_word_of_the_users_own_page_is_right():
    guard = FormGuard()
    assert guard.right(request(), {FIELD: guard.word("ada")}, "ada")
    assert guard.right(request(sec_fetch_site="same-origin"), {FIELD: guard.word("ada")}, "ada")


@pytest.mark.parametrize("word", ["", "0" * 64, "é"])
def test_any_other_word_is_wrong(word):
    assert not FormGuard().right(request(), {FIELD: word}, "ada")


def test_words_of_other_users_and_of_earlier_services_are_wrong():
    guard = FormGuard()
    assert not guard.right(request(), {FIELD: guard.word("bob")}, "ada")
    assert not guard.right(request(), {FIELD: FormGuard().word("ada")}, "ada")
    assert not guard.right(request(), {}, "ada")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_says_that_another_site_asks_is_believed(site):
    guard = FormGuard()
    assert not guard.right(request(sec_fetch_site=site), {FIELD: guard.word("ada")}, "ada")


def test_a_form_is_read_with_its_empty_fields():
    assert asyncio.run(read_form(request(b"act=stop&point.init.sigma=&name=a%26b+c"))) == {
        "act": "stop",
        "point.init.sigma": "",
        "name": "a&b c",
    }


@pytest.mark.parametrize("body", [b"a=" + b"x" * LONGEST, b"a=1&" * 3000, b"\xff\xfe"])
def test_what_is_too_long_or_no_form_is_refused(body):
    with pytest.raises(ConfigError, match="form"):
        asyncio.run(read_form(request(body)))
