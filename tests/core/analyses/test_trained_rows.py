"""What all analyses of trained rows promise: rows are strangers, packs are cut anywhere, settings are checked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rnnsweep.core import analyses as package
from rnnsweep.core.analyses import trained_rows
from rnnsweep.core.analyses.trained_rows import SweepAnalysis, long_table, measured
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.families.momentum_lstm import MomentumLstm
from rnnsweep.core.families.srn import Srn
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup
from tests.kit.trained import rows_of
from tests.kit.units import concrete

KINDS = concrete(package, SweepAnalysis)
SMALL = {"sequences": 3, "starts": 11, "steps": 12, "transient": 5, "samples": 4, "lags": 5}


def small(kind: type[SweepAnalysis]) -> SweepAnalysis:
    return kind(**{name: value for name, value in SMALL.items() if name in kind.fields()})


def of_row(tables: trained_rows.Tables, row: int) -> dict:
    return {
        (name, column): values[columns["row"] == row]
        for name, columns in tables.items()
        for column, values in columns.items()
        if column != "row"
    }


@pytest.mark.parametrize(
    "family", [Srn(hidden=7), Gru(hidden=5), MomentumLstm(hidden=3)], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_row_alone_gives_the_bits_that_it_gives_in_a_pack(kind, family):
    rows = rows_of(Setup(family=family, sigma=0.6))
    together = measured(small(kind), rows)
    for row in (0, 2):
        alone = of_row(measured(small(kind), rows.part(row, row + 1)), 0)
        for name, values in of_row(together, row).items():
            np.testing.assert_array_equal(values, alone[name], err_msg=str(name))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_diverged_row_changes_no_other(kind):
    rows = rows_of(Setup(family=Srn(hidden=5, activation="relu")))
    alone = measured(small(kind), rows.part(0, 1))
    for value in rows.values.values():
        value[1] = math.nan
    together = measured(small(kind), rows)
    for name, values in of_row(alone, 0).items():
        np.testing.assert_array_equal(values, of_row(together, 0)[name], err_msg=str(name))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_packs_are_cut_where_memory_ends(kind, monkeypatch):
    rows = rows_of()
    whole = measured(small(kind), rows)
    monkeypatch.setattr(trained_rows, "ROW_ENTRIES", 1)
    cut = measured(small(kind), rows)
    for name, columns in whole.items():
        order = np.argsort(cut[name]["row"], kind="stable")
        for row in range(3):
            for column, values in columns.items():
                one, other = values[columns["row"] == row], cut[name][column][order][cut[name]["row"][order] == row]
                np.testing.assert_array_equal(one, other)


def test_all_rows_see_the_same_sequences():
    rows = rows_of()
    batch = rows.batch(4)
    assert torch.equal(batch.inputs[0], batch.inputs[2])
    assert batch.inputs.shape[1] == int(batch.lengths[0])
    assert not torch.equal(batch.inputs[0], trained_rows.replace(rows, seed=1).batch(4).inputs[0])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_settings_are_checked_and_named_as_they_are_typed(kind):
    with pytest.raises(ConfigError, match=r"mine\.sequences=0: out of range"):
        kind(sequences=0, unit_name="mine")
    assert set(kind.fixed) == set(kind.fields()), "every setting has a range"


def test_long_tables_leave_out_what_is_not_kept():
    table = long_table(np.array([[True, False], [True, True]]), row=np.arange(2)[:, None], x=torch.ones(2, 2))
    assert table["row"].tolist() == [0, 1, 1]
    assert table["x"].tolist() == [1, 1, 1]
