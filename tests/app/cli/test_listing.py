"""Tables that fit: what is left out, what is cut, and what never reaches a terminal."""

from __future__ import annotations

from rnnsweep.app.cli.listing import Column, cut_to, fit, print_table, printable

NUMBERS = Column("number", ["0.12345", "1"], 2, key="number")
TEXT = Column("note", ["a reason of thirty-one letters.", ""], 1, text=True, key="note")
NAME = Column("name", ["one", "two"], text=True, key="name")


def test_columns_leave_by_rank_and_the_first_rank_never():
    assert fit([NAME, NUMBERS, TEXT], None) == ([NAME, NUMBERS, TEXT], [])
    kept, left_out = fit([NAME, NUMBERS, TEXT], 24)
    assert [column.key for column in kept] == ["name", "note"]
    assert [column.key for column in left_out] == ["number"]
    assert fit([NAME, NUMBERS, TEXT], 1)[0] == [NAME]


def test_only_text_is_cut():
    assert cut_to([NAME, NUMBERS, TEXT], 37) == [4, 7, 22]
    assert cut_to([NUMBERS], 3) == [7]


def test_a_table_is_as_wide_as_it_may_be(capsys):
    assert print_table([NAME, NUMBERS, TEXT], width=33) == []
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name   number  note", "one   0.12345  a reason of thirt…", "two         1"]


def test_wide_letters_take_two_places(capsys):
    print_table([Column("choice", ["日本", "x"], text=True), Column("n", ["1", "2"])])
    assert capsys.readouterr().out.splitlines()[1:] == ["日本    1", "x       2"]


def test_control_characters_are_shown_not_sent():
    assert printable("a\x1b[31mb\r\n\u202e") == "a\\x1b[31mb\\r\\n\\u202e"
    assert Column("x", ["\x07"]).cells == ["\\x07"]
