from __future__ import annotations

import json

import pytest

import rnnsweep
from rnnsweep.app.accounts import first_token
from rnnsweep.app.watch.feed import SweepFeed
from rnnsweep.app.watch.journal_source import ServiceSource, StoreSource
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.service.http import serve_http
from rnnsweep.sweep.ports import PutRung
from tests.kit.small_front import SmallFront


def test_a_service_shows_what_its_store_shows(driven) -> None:
    made = driven(9)
    front = SmallFront(made.sweep().place.root)
    token = first_token(front.place)
    with serve_http(front, port=0).start() as server:
        remote = rnnsweep.connect(server.url, token).open_sweep("watched")
        near, far = SweepFeed(StoreSource(front.place, "watched")), SweepFeed(ServiceSource(remote))
        # a clock's column: running trials show the time since their start
        shown, same = near.read(), far.read()
        assert json.dumps(list(shown.entries), default=str) == json.dumps(list(same.entries), default=str)
        assert (shown.trials, shown.curves, shown.best, shown.view.state) == (
            *(same.trials, same.curves, same.best, same.view.state),
        )
        assert near.metrics(5) == far.metrics(5) != {}
        made.write(PutRung(5, 5, 500, {"valid/error": 0.001}, (0.001,)))
        assert far.read().curves[5][-1] == (500.0, 0.001)
        made.ledger.release(made.name, made.fence)
        assert far.read().view.state.value == "INTERRUPTED"
        with pytest.raises(ConfigError, match="no such sweep"):
            ServiceSource(rnnsweep.app.remote.remote_sweep.RemoteSweep("watchd", remote.connection)).view()
    with pytest.raises(StoreError, match="service"):
        far.read()
