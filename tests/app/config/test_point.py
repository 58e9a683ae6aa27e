"""A trial's config from the variants and its parameters."""

from __future__ import annotations

import pytest

from rnnsweep.app.config.point import Variant, lookup, put, resolve_point, without_passwords
from rnnsweep.errors import ConfigError


def test_variants_and_points():
    variants = [Variant({"family": "a"}, {"x": 1, "family": {}}), Variant({"family": "b"}, {"y": 2})]
    assert resolve_point(variants, {"family": "b", "y": 3}) == {"y": 3}
    assert resolve_point(variants, {}) == {"x": 1, "family": {}}
    with pytest.raises(ConfigError, match="no such combination"):
        resolve_point(variants, {"family": "c"})
    with pytest.raises(ConfigError, match="unknown key"):
        resolve_point(variants, {"z": 1})


def test_passwords_are_hidden():
    data = {"a": ["postgresql+psycopg://u:p%40ss@h:1/d", 3], "b": "http://h:80/x"}
    assert without_passwords(data) == {"a": ["postgresql+psycopg://u:***@h:1/d", 3], "b": "http://h:80/x"}
    for form in ("u:se/cret@h/d", "u:se@cret@h/d", "u:se cret@h/d", "h/d?user=u&password=se cret"):
        (text,) = without_passwords([f"store.ledger='postgresql://{form}'"])
        assert "***" in text
        assert "cret" not in text
    forms = ["u:p/w@h/d", "u:p@w@h/d", "u:p w@h/d", "h/d?user=u&password=p w"]
    for text in without_passwords([f"store.ledger='postgresql://{form}'" for form in forms]):
        assert "***" in text
        assert "p" not in text.removeprefix("store.ledger='postgresql").replace("password", "")


def test_blocks_carry_the_name_of_their_unit():
    variant = Variant({}, {"family": {"hidden": 3}, "seed": 1}, {"family": "srn"})
    assert resolve_point([variant], {"family.hidden": 4}) == {"family": {"hidden": 4, "_name_": "srn"}, "seed": 1}
    assert variant.resolved == {"family": {"hidden": 3}, "seed": 1}, "a point is a copy"


def test_dotted_keys_are_looked_up_and_set_only_where_they_exist():
    tree = {"a": {"b": 1}, "c": 2}
    put(tree, "a.b", 3)
    assert (lookup(tree, "a.b"), lookup(tree, "a.x", "none"), lookup(tree, "c.d")) == (3, "none", None)
    for key in ("a.x", "c.d", "e"):
        with pytest.raises(ConfigError, match="unknown key"):
            put(tree, key, 1)
