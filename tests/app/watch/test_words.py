from __future__ import annotations

from dataclasses import replace

from rnnsweep.app.watch.feed import SweepFeed
from rnnsweep.app.watch.journal_source import StoreSource
from rnnsweep.app.watch.words import details, headline
from rnnsweep.sweep.ports import PutSweep, PutTrial
from rnnsweep.sweep.states import TrialState


def test_the_headline_says_how_it_stands_and_why_it_ended(driven) -> None:
    made = driven(8)
    feed = SweepFeed(StoreSource(made.sweep().place, "watched"))
    first, second = headline(feed.read()).splitlines()
    assert first == "watched  RUNNING · 2 waiting, 2 running, 2 complete, 2 pruned · best 0.1111 (trial 4)"
    assert second == "1000 updates · 0:10"
    made.write(PutSweep(replace(made.view, reason="a bug\nTraceback", wall_s=20.0, updates=3000)))
    assert headline(feed.read()).splitlines()[1] == "3000 updates · 200 updates/s · 0:20 · a bug"
    feed.close()


def test_details_have_params_reason_and_history(driven) -> None:
    made = driven(4)
    feed = SweepFeed(StoreSource(made.sweep().place, "watched"))
    paused = replace(feed.read().trials[2], state=TrialState.PAUSED, reason="paused by request: \x1b[2Jlunch")
    made.write(PutTrial(replace(paused, history=("PAUSED at update 0: paused by request",), worker="w1", engine="cpu")))
    text = details(feed.read(), 2)
    assert text.splitlines()[0] == "trial 2  PAUSED at update 0, attempt 0"
    assert "  init.sigma=0.385714285714" in text and "worker w1, engine cpu" in text
    assert "PAUSED at update 0: paused by request" in text and "\x1b" not in text
    feed.close()
