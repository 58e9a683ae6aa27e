"""Optional parts: what to install for an extra, in words that work for a checkout, a wheel and an index alike."""

from __future__ import annotations

import re
from importlib import metadata

NAME = "rnnsweep"


def packages(extra: str) -> list[str]:
    """Requirements of an extra as the installed metadata has them; empty where it has no such extra."""
    try:
        required = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        return []  # run from a source tree that was never installed
    wanted = re.compile(rf"extra == ['\"]{re.escape(extra)}['\"]")
    return [line.partition(";")[0].strip() for line in required if wanted.search(line)]


def install_hint(extra: str) -> str:
    """What a message advises where the packages of an extra are missing.

    It names the packages themselves: rnnsweep may come from a checkout, and then no index need have it.
    """
    names = packages(extra) or [f"{NAME}[{extra}]"]
    return f"Install it with: pip install {' '.join(map(repr, names))} (extra '{extra}')."
