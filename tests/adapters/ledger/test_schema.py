"""Tables, and their creation by several at once."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rnnsweep.adapters.ledger import schema


@pytest.fixture
def connection() -> sa.Connection:
    return sa.create_engine("sqlite://").connect()


def test_there_is_a_version_once_the_tables_are_made_and_making_them_twice_is_making_them_once(connection) -> None:
    assert schema.found_version(connection) is None
    schema.create_all(connection)
    schema.create_all(connection)
    assert schema.found_version(connection) == schema.VERSION
    assert connection.execute(sa.select(sa.func.count()).select_from(schema.schema)).scalar() == 1


def test_names_do_not_collide_with_those_of_optuna_and_mlflow() -> None:
    assert all(name.startswith("ledger_") for name in schema.metadata.tables)


def test_a_rung_is_journalled_once_and_everything_else_as_often_as_it_comes(connection) -> None:
    schema.create_all(connection)
    connection.execute(schema.sweeps.insert().values(id=1, name="s", data="{}"))
    entry = {"sweep": 1, "at": 0.0, "data": "{}"}
    for _ in range(2):
        connection.execute(schema.journal.insert().values(**entry, kind="trial", trial=0))
    connection.execute(schema.journal.insert().values(**entry, kind="rung", trial=0, rung=1))
    with pytest.raises(IntegrityError):
        connection.execute(schema.journal.insert().values(**entry, kind="rung", trial=0, rung=1))
    with pytest.raises(IntegrityError):
        connection.execute(schema.verdicts.insert(), [{"sweep": 1, "trial": 0, "rung": 1, "verdict": "keep"}] * 2)
