"""Fenced blocks of a page: `sh`, `python` and `yaml title=FILE` are run by tests, `console` is for other machines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)

TINY = (
    *("cluster=inline", "task.length=10", "family.hidden=4", "training.batch=2", "training.report_every=5"),
    *("training.eval_size=4", "budget.updates=10", "replicas=1"),
)
"""Laid over what a page says, so that it takes a second: sizes only, never what the page is about."""


@dataclass(frozen=True)
class Block:
    """One fenced block; `options` is what follows its language."""

    language: str
    options: str
    text: str

    @property
    def file(self) -> str | None:
        """Where its text is to be saved, if it says so."""
        title = re.search(r'title="([^"]+)"', self.options)
        return title[1] if title else None


def blocks(page: Path) -> list[Block]:
    """All fenced blocks in order."""
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]
