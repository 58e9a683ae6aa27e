"""The script that takes the documentation's pictures takes all that the pages show, from a small sweep."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import rnnsweep
from tests.docs.blocks import ROOT, TINY

pytestmark = [pytest.mark.browser, pytest.mark.study]

SCRIPT = ROOT / "docs/site/screenshots.py"
SERVICE = {f"service-{name}.png" for name in ("list", "sweep", "figures", "phone")}
ELSEWHERE = {"error_surface.png", "sweep_lyapunov.png", *SERVICE}
"""Made by `rnnsweep analyze`, by `docs/site/lab_picture.py` with it, and by `docs/site/page_pictures.py`."""


def shown() -> set[str]:
    """Pictures below docs/img that pages show."""
    texts = [page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]]
    return {name for text in texts for name in re.findall(r"\((?:docs/|\.\./)?img/([\w-]+\.png)\)", text)}


def test_every_picture_is_taken(chromium: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNSWEEP_TEST_CHROMIUM", chromium)
    rnnsweep.launch("quickstart", ["budget.trials=4", *TINY], store=tmp_path / "store", progress=False)
    words = [sys.executable, str(SCRIPT), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "img")]
    done = subprocess.run(words, env=None, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    taken = {file.name for file in (tmp_path / "img").glob("*.png")}
    assert shown() - ELSEWHERE <= taken
    assert all(file.stat().st_size > 10_000 for file in (tmp_path / "img").glob("*.png"))
