"""Redaction of a ledger on a server; of a file, see `tests/app/run/test_redaction.py`."""

from __future__ import annotations

import sqlalchemy as sa

from rnnsweep.adapters.ledger import codec
from rnnsweep.adapters.ledger.database import parse
from rnnsweep.adapters.ledger.redaction import redact
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.sweep.ports import PutTrial, SweepView, TrialView
from rnnsweep.sweep.states import SweepState, TrialState

OLD = "postgresql://me:s3cret@h/d"


def test_every_row_with_a_password_and_no_other(postgres_url):
    ledger = open_ledger(postgres_url)
    for name in ("one", "two"):
        ledger.create(SweepView(name, SweepState.RUNNING, {"url": "http://h/x"}))
    fence = ledger.acquire("one", "test", 1.0)
    ledger.commit("one", fence, [PutTrial(TrialView(0, TrialState.FAILED, {}, reason=f"bug: {OLD}"))])
    stored = ledger.trials("one")[0].reason
    assert stored == "bug: postgresql://me:***@h/d"  # what is written today never holds one
    assert redact(postgres_url) == 0
    engine = sa.create_engine(parse(postgres_url))
    with engine.begin() as connection:
        text = connection.execute(sa.text("SELECT data FROM ledger_sweeps WHERE name = 'two'")).scalar_one()
        old = text.replace("http://h/x", OLD)
        connection.execute(sa.text("UPDATE ledger_sweeps SET data = :d WHERE name = 'two'"), {"d": old})
        connection.execute(sa.text("UPDATE ledger_sweeps SET data = '{broken ://' WHERE name = 'one'"))
    assert redact(postgres_url) == 1
    with engine.begin() as connection:
        text = connection.execute(sa.text("SELECT data FROM ledger_sweeps WHERE name = 'two'")).scalar_one()
        assert codec.decode(text)["config"] == {"url": "postgresql://me:***@h/d"}
    engine.dispose()
    ledger.close()
