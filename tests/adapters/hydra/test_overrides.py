"""Override grammar: what was typed, sorted by meaning."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.hydra.overrides import split_overrides
from rnnsweep.adapters.hydra.ranges import dimension
from rnnsweep.errors import ConfigError

GROUPS = ("family", "controllers", "sampler")


def test_overrides_are_sorted_by_meaning():
    typed = ["family=lstm", "optimizer.lr=0.1", "init.sigma=interval(0.1,1)", "+controllers=mine", "~controllers.clip"]
    found = split_overrides(typed, GROUPS)
    assert found.groups == {"family": "lstm"}
    assert found.values == [("optimizer.lr", 0.1)]
    assert list(found.searches) == ["init.sigma"]
    assert (found.added, found.removed, found.space) == (["mine"], ["clip"], None)


def test_a_list_of_controllers_replaces_what_was_added_before():
    found = split_overrides(["+controllers=l1", "controllers=[clip,omega]", "+controllers=l2"], GROUPS)
    assert found.groups == {"controllers": ["clip", "omega"]}
    assert found.added == ["l2"]


def test_a_searched_family_is_no_value():
    found = split_overrides(["family=choice(srn,lstm)"], GROUPS)
    assert found.groups == {}
    assert dimension("family", found.searches["family"], "").choices == ("srn", "lstm")


def test_the_later_override_wins():
    assert split_overrides(["optimizer.lr=interval(0,1)", "optimizer.lr=0.1"], GROUPS).searches == {}
    assert split_overrides(["optimizer.lr=0.1", "optimizer.lr=interval(0,1)"], GROUPS).values == []
    assert split_overrides(["family=choice(a,b)", "family=a"], GROUPS).searches == {}


def test_space_is_replaced_not_merged():
    assert split_overrides(["space={}"], GROUPS).space == {}
    found = split_overrides(["space={a.b: default, c: tag(log, interval(1, 2))}"], GROUPS).space
    assert found is not None
    assert list(found) == ["a.b", "c"]
    assert dimension("c", found["c"], "").log


@pytest.mark.parametrize(
    "text",
    [
        "optimizer.lr",
        "optimizer._target_=os.system",
        "optimizer={_target_: os.system}",
        "optimizer={nested: {_target_: os.system}}",
        "~optimizer.lr",
        "family@other=srn",
        "family=[srn,lstm]",
        "optimizer.lr=glob(*)",
        "space=3",
        "optimizer.lr=interval(1",
        "optimizer.lr=" + "[" * 3000 + "]" * 3000,
    ],
)
def test_what_cannot_be_typed(text):
    with pytest.raises(ConfigError) as caught:
        split_overrides([text], GROUPS)
    assert "command line" in str(caught.value)


def test_a_number_that_python_does_not_read_is_refused_in_a_line():
    for value in ("9" * 5000, f"choice({'9' * 5000},1)"):
        with pytest.raises(ConfigError, match=r"^command line: optimizer\.lr: is no number that can be read; allowed"):
            split_overrides([f"optimizer.lr={value}"], [])
