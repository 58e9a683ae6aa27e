"""Overrides that the grammar refuses: what is wrong, where, and what was meant."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.hydra.mistyped import FORMS
from rnnsweep.adapters.hydra.overrides import parse_override, split_overrides
from rnnsweep.errors import ConfigError

MISTAKES = {
    # brackets
    "x=interval(1,2": ("the ( at character 11 is never closed", "x=interval(1,2)"),
    "x=tag(log,interval(1,2)": ("the ( at character 6 is never closed", "x=tag(log,interval(1,2))"),
    "x=[1,2": ("the [ at character 3 is never closed", "x=[1,2]"),
    "x={a:1": ("the { at character 3 is never closed", "x={a:1}"),
    "x=a,b)": ("nothing opens the ) at character 6", "x=a,b"),
    "x=interval(1,2]": ("the ] at character 15 cannot close the ( at character 11", "x=interval(1,2)"),
    "x=interval[0,1]": ("a range has round brackets", "x=interval(0,1)"),
    # blanks and signs
    "x.y = 0.1": ("blanks around =", "x.y=0.1"),
    "x.y =0.1": ("blanks around =", "x.y=0.1"),
    "+ controllers=l1": ("no key is written like this (see character 2)", "+controllers=l1"),
    "a b=1": ("no key is written like this (see character 2)", None),
    "x..y=1": ("no key is written like this (see character 2)", "x.y=1"),
    "--x.y=1": ("an override has no dashes", "x.y=1"),
    "=0.1": ("no key before the =", None),
    "x==1": ("= stands twice", "x=1"),
    "x.y:1": ("no = between key and value", "x.y=1"),
    "x.y 1": ("no = between key and value", "x.y=1"),
    "x.y": ("no = between key and value", "x.y=VALUE"),
    "": ("no = between key and value", None),
    # quotes
    "x='a": ("the ' at character 3 begins a text that never ends", "x='a'"),
    "name=it's": ("the ' at character 8 begins a text that never ends", 'name="it\'s"'),
    "name=a;b": ("its value needs quotes (see ';' at character 7)", 'name="a;b"'),
    "x=[a.b,é, c]": ("its value needs quotes (see 'é' at character 8)", 'x=[a.b,"é",c]'),
    "x=(1)": ("its value needs quotes", 'x="(1)"'),
    "x=interval(1;2)": ("commas stand between values (see ';' at character 13)", "x=interval(1,2)"),
    # functions
    "x=intervall(1,2)": ("there is no function 'intervall' (see character 3)", FORMS["interval"]),
    "x=loguniform(0,1)": ("there is no function 'loguniform' (see character 3)", FORMS["tag"]),
    "x=interval(1)": ("interval takes other arguments (see character 3)", FORMS["interval"]),
    "x=interval(0.1 1)": ("interval takes other arguments (see character 3)", FORMS["interval"]),
    "x=int(a)": ("int takes other arguments (see character 3)", FORMS["int"]),
    "x=foo(0,1)": ("there is no function 'foo' (see character 3)", None),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_the_mistake_is_named_and_what_was_meant_can_be_typed(text):
    problem, meant = MISTAKES[text]
    with pytest.raises(ConfigError) as caught:
        split_overrides([text], ())
    error = caught.value
    assert (error.file, error.key, error.problem, error.hint) == ("command line", text, problem, meant)
    assert (error.allowed is None) == (meant is not None)
    assert len(str(error).splitlines()) == 1
    for word in ("token", "viable", "EOF", "extraneous", "Hydra", "Error"):  # the parser's own language
        assert word not in str(error)
    if meant is not None and meant not in FORMS.values():
        parse_override(meant)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["x.y", "=", "0.1"], "x.y=0.1"),
        (["x.y", "=0.1"], "x.y=0.1"),
        (["x.y=", "0.1"], "x.y=0.1"),
        (["family", "lstm"], "family=lstm"),
        (["family", "replicas=1"], "Did you mean 'family=VALUE', or 'name=family' for a sweep of that name?"),
    ],
)
def test_what_the_shell_has_split_is_put_together(typed, meant):
    with pytest.raises(ConfigError) as caught:
        split_overrides(typed, ("family",))
    assert caught.value.hint == meant
