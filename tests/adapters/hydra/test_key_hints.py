"""Which key was meant: places left out, other places, misspelt parts; and that an ambiguous end asks."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.hydra.key_hints import key_meant
from rnnsweep.app.config.load import load
from rnnsweep.errors import ConfigError

KNOWN = [
    *("controllers", "controllers.clip", "controllers.clip.threshold", "controllers.l1", "controllers.l1.weight"),
    *("controllers.l2", "controllers.l2.weight", "engine", "family", "family.hidden", "family.activation"),
    *("optimizer", "optimizer.lr", "task", "task.length"),
]


@pytest.mark.parametrize(
    ("key", "wrong", "meant"),
    [
        ("lr", "lr", "optimizer.lr"),
        ("length", "length", "task.length"),
        ("lenght", "lenght", "task.length"),
        ("clip.threshold", "clip", "controllers.clip.threshold"),
        ("family.lr", "family.lr", "optimizer.lr"),
        ("optimiser.lr", "optimiser", "optimizer.lr"),
        ("familly.hiden", "familly", "family.hidden"),
        ("family.hiden", "family.hiden", "family.hidden"),
        ("weight", "weight", "Is it controllers.l1.weight or controllers.l2.weight?"),
        ("engin", "engin", "engine"),
        ("zzz", "zzz", None),
    ],
)
def test_the_key_that_was_meant(key, wrong, meant):
    assert key_meant(key, wrong.split("."), KNOWN) == meant


def test_every_last_part_that_is_unique_is_enough_for_the_full_key():
    """The whole kind, over the keys of a real sweep."""
    resolved = load("quickstart", check_units=False).resolved
    leaves = [leaf for leaf in _leaves(resolved) if not leaf.startswith("space.")]
    last = [leaf.rpartition(".")[2] for leaf in leaves]
    unique = [leaf for leaf, end in zip(leaves, last, strict=True) if "." in leaf and last.count(end) == 1]
    tops = set(resolved)
    checked = [leaf for leaf in unique if leaf.rpartition(".")[2] not in tops]
    assert {"optimizer.lr", "task.length", "budget.trials", "family.hidden"} <= set(checked)
    for leaf in checked[:: max(1, len(checked) // 12)]:
        with pytest.raises(ConfigError) as caught:
            load("quickstart", [f"{leaf.rpartition('.')[2]}=1"], check_units=False)
        assert caught.value.hint == leaf


def _leaves(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        elif not name.startswith("_"):
            yield f"{prefix}{name}"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("learner.estimate=1", "Is learner=NAME missing? The key is one of learner=teacher_forcing."),
        ("family.heads=2", "The key is one of family=mlstm, family=slstm."),
        ("family.hiden=2", "family.hidden"),
        ("optimizer.beta2=0.9", "optimizer="),
    ],
)
def test_a_key_of_another_unit_names_it(typed, meant):
    with pytest.raises(ConfigError) as caught:
        load("quickstart", [typed], check_units=False)
    assert meant in (caught.value.hint or "")
