"""Published numbers are the papers' own, cell by cell."""

from __future__ import annotations

from rnnsweep.report.published import TABLES


def test_every_table_names_its_source_and_unit():
    for name, table in TABLES.items():
        assert name == table.name
        assert table.source
        assert table.unit
        assert len(table.cells) == len(table.rows) * len(table.columns)


def test_a_picture_has_no_numbers():
    figure = TABLES["pascanu_fig7"]
    assert len(figure.rows) == 9  # three networks, three methods
    assert all(cell.value is None and cell.printed == "" for cell in figure.cells)


def test_values_as_printed():
    chernodub = TABLES["chernodub_table1"]
    assert chernodub.cell("T=100 on", "adding best").printed == ">99"
    assert chernodub.cell("T=100 on", "adding best").value == 99
    assert chernodub.cell("T=150 on", "temporal order best").value == 72
    assert chernodub.cell("T=150 off", "multiplication mean").value is None  # the paper prints n/a
    assert TABLES["momentum_timit"].cell("MomentumDTRIV-322", "test MSE").value == 1.169
    assert TABLES["pascanu_table1"].cell("PTB 5 steps", "MSGD").value is None
    assert chernodub.cell("T=200", "adding best") is None
