"""What the site makes of our docstrings' `Example:`: code, whether doctest or not."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^Example:\n((?:[ \t]+.*\n?|\n)*)", flags=re.MULTILINE)


class Examples(griffe.Extension):
    """Rewrites `Example:` to the section that griffe knows, before it reads it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Every object once, when it is complete."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(lambda match: _section(match[1]), obj.docstring.value)


def _section(body: str) -> str:
    if ">>>" in body:
        return f"Examples:\n{body}"
    return f"Examples:\n    ```python\n{body.rstrip()}\n    ```\n"
