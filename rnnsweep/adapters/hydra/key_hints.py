"""Which key was meant by one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from rnnsweep.errors import nearest

SURE = 0.75
"""How alike a key's last part must be to one from another place; names nearby need less."""


def key_meant(key: str, parts: Sequence[str], known: Sequence[str]) -> str | None:
    """The full key that an unknown one was most likely meant to be, or a question where there are several.

    People leave out what leads to a key, put something else in front, or misspell one of its parts.

    Args:
        key: as typed.
        parts: its parts up to the first wrong one.
        known: all full keys.

    Example:
        >>> known = ["family", "family.hidden", "optimizer", "optimizer.lr"]
        >>> key_meant("lr", ["lr"], known), key_meant("family.lr", ["family", "lr"], known)
        ('optimizer.lr', 'optimizer.lr')
        >>> key_meant("optimiser.lr", ["optimiser"], known), key_meant("hiden", ["hiden"], known)
        ('optimizer.lr', 'family.hidden')
    """
    parent, last = ".".join(parts[:-1]), key.rpartition(".")[2]
    siblings = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent]
    near = nearest(parts[-1], siblings)
    head = ".".join([*parts[:-1], near]) if near else ""
    whole = head + key.removeprefix(".".join(parts))
    if head and whole != head and whole in known:  # one part in the middle is misspelt, all the rest is right
        return whole
    if same := _ending_in(key, known) or _ending_in(last, known):
        return same
    far = nearest(last, {name.rpartition(".")[2] for name in known})
    rival = _alike(last, near or "") if last == parts[-1] else 0.0  # else the part that is wrong is another one
    if far and _alike(last, far) > max(SURE, rival):
        return _ending_in(far, known)
    return head or nearest(key, known)


def _ending_in(end: str, known: Sequence[str]) -> str | None:
    names = [name for name in known if name.endswith(f".{end}")]
    if not names:
        return end if end in known else None
    return names[0] if len(names) == 1 else f"Is it {', '.join(names[:-1])} or {names[-1]}?"


def _alike(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
