"""Which results of others a sweep begins with, and what is said of the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnsweep.sweep import earlier_trials
from rnnsweep.sweep.earlier_trials import ABSENT, Earlier, fitted, together
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView

SPACE = Space(
    (
        Dimension("family", "categorical", choices=("srn", "lstm")),
        Dimension("lr", "float", 0.01, 1.0, log=True),
        Dimension("bias", "float", 0.0, 2.0, when={"family": ("lstm",)}),
    )
)


def complete(number: int, *values: float, **params) -> TrialView:
    return TrialView(number, TrialState.COMPLETE, params, values or (0.5,))


def had(view: TrialView, key: str):
    """Of other sweeps' fixed values only `family` is known."""
    return view.params.get(key, "srn" if key == "family" else ABSENT)


def test_keys_that_were_fixed_have_their_value_and_what_nobody_knows_is_left_out_aloud() -> None:
    views = [
        complete(0, lr=0.1, other=7),
        complete(1, family="lstm", lr=0.1, bias=1.0),
        complete(2, family="lstm", lr=0.1),
        complete(3, lr=9.0),
        complete(5),
        complete(4, 0.1, 0.2, lr=0.1),
        replace(complete(6, lr=0.1), state=TrialState.FAILED, values=()),
    ]
    found = fitted(SPACE, "sweep old", views, had)
    assert [(view.number, dict(view.params)) for view in found.trials] == [
        (0, {"family": "srn", "lr": 0.1}),
        (1, {"family": "lstm", "lr": 0.1, "bias": 1.0}),
    ]
    assert found.offset == 7
    assert found.told == (
        "sweep old: 2 trials to learn from; "
        "left out: 1 outside of lr, 2 without a result, 1 without bias, 1 without lr",
    )


def test_it_survives_the_ledger() -> None:
    found = fitted(SPACE, "sweep old", [replace(complete(3, lr=0.1), diverged_share=0.5)], had)
    assert Earlier.of_plain(found.plain()) == found


def test_several_sources_have_numbers_of_their_own() -> None:
    one = fitted(SPACE, "a", [complete(0, lr=0.1), complete(4, lr=0.2)], had)
    two = fitted(SPACE, "b", [complete(0, lr=0.3)], had)
    both = together([one, two])
    assert [view.number for view in both.trials] == [0, 4, 5]
    assert (both.offset, len(both.told)) == (6, 2)
    assert together([one]) == one


def test_of_very_many_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier_trials, "MOST", 2)
    found = fitted(SPACE, "a", [complete(number, lr=0.1) for number in range(5)], had)
    assert [view.number for view in found.trials] == [3, 4]
    assert found.told == ("a: 2 trials to learn from; left out: 3 beyond the newest",)
