"""Signals of a session."""

from __future__ import annotations

import signal
import threading

import pytest

from rnnsweep.sweep.session import signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_the_second_raises_and_handlers_are_put_back(number: signal.Signals) -> None:
    before, count = signal.getsignal(number), [0]

    def interrupt() -> int:
        count[0] += 1
        return count[0]

    with signals(interrupt):
        signal.raise_signal(number)
        assert count == [1]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals(lambda: 1):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_of_the_main_thread_nothing_is_installed() -> None:
    seen: list[object] = []

    def work() -> None:
        with signals(lambda: 1):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
