"""One message over HTTP, against a real server: delivered, away or refused, and never with its address in an error."""

from __future__ import annotations

import json
import math
import socket

import pytest

from rnnsweep.adapters.webhooks.delivery import RefusedError, body, post
from rnnsweep.errors import StoreError
from tests.kit.receiver import receiving


def send(url: str, timeout: float = 5.0) -> None:
    post("notify-0", url, b'{"event": "end"}', "id-1", timeout)


def test_a_message_is_delivered_with_its_id():
    with receiving() as receiver:
        receiver.answers = [204]
        send(receiver.url)
        assert receiver.got == [{"event": "end"}] and receiver.asked == ["id-1"]
        assert receiver.paths == ["/hook/SECRET"]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_what_may_be_well_later_is_away(status):
    with receiving() as receiver:
        receiver.answers = [status]
        with pytest.raises(StoreError, match=f"notify-0: 127.0.0.1 answers {status}$"):
            send(receiver.url)


@pytest.mark.parametrize("status", [400, 401, 404, 410, 301, 302, 307])
def test_what_will_never_be_well_is_refused_and_no_redirection_followed(status):
    with receiving() as receiver:
        receiver.answers = [status]
        receiver.headers = {"Location": receiver.url + "/elsewhere"}
        with pytest.raises(RefusedError, match=f"^127.0.0.1 answers {status}$"):
            send(receiver.url)
        assert len(receiver.asked) == 1


def test_nobody_there_and_nobody_answering():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StoreError, match=r"notify-0: 127.0.0.1: Connection refused$"):
        send(f"http://127.0.0.1:{port}/SECRET")
    with receiving() as receiver:
        receiver.delay = 1.0
        with pytest.raises(StoreError, match=r"no answer in time|timed out") as caught:
            send(receiver.url, timeout=0.1)
        assert "SECRET" not in str(caught.value)


def test_an_answer_that_is_no_http_tells_nothing_of_the_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"NONSENSE\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(StoreError, match=r"notify-0: 127.0.0.1: ") as caught:
            send(f"http://127.0.0.1:{server.getsockname()[1]}/SECRET")
        thread.join()
    assert "SECRET" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_no_other_scheme_is_opened(url):
    with pytest.raises(StoreError):
        send(url)


def test_bodies():
    payload = {"event": "end", "x": math.inf, "y": (1, "ä\ud800")}
    assert json.loads(body("generic", payload)) == {"event": "end", "x": "inf", "y": [1, "ä\ud800"]}
    told = {
        "event": "failure", "sweep": "a<b>&c", "trial": 1, "reason": "x", "state": "RUNNING", "link": None,
        "best": None, "objective": {}, "trials": {},
    }  # fmt: skip
    assert json.loads(body("slack", told)) == {"text": "Sweep a&lt;b&gt;&amp;c: trial 1 failed: x. ."}
