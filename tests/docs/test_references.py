"""Every reference to a page, a heading or a file resolves: in docstrings, yaml comments, pages, links between them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
SOURCES = sorted(
    path
    for folder in ("rnnsweep", "conf", "sweeps", "tests", "benchmarks", "docs/site", "deploy")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".yaml", ".sh", ".j2") and path.parent != Path(__file__).parent  # they quote
)
NAMED = re.compile(r"\bdocs/[\w./-]+\.(?:md|png|ipynb|jsonl)(?:#[\w-]+)?")
LINK = re.compile(r"\]\(([^()\s]+)\)")
GENERATED = ("docs/reference/config.md", "docs/reference/commands.md", "docs/reference/api/index.md")
"""Pages that only the built site has, see `docs/site/hooks.py`."""
OUTSIDE = re.compile(r"\b(?:MATHS|DESIGN|FACTS|STYLE)(?:\.md|\b)")


@cache
def headings(page: Path) -> frozenset[str]:
    """Anchors of a page as mkdocs and GitHub make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return frozenset(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles)


def broken(reference: str, folder: Path) -> bool:
    name, _, anchor = reference.partition("#")
    target = (folder / name).resolve()
    if not str(target).startswith(str(ROOT)):
        return True
    if str(target.relative_to(ROOT)) in GENERATED:
        return False
    return not target.exists() or bool(anchor and anchor not in headings(target))


def local_links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = [link for link in LINK.findall(text) if "://" not in link]
    return [f"{page.name}{link}" if link.startswith("#") else link for link in links]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page):
    assert [link for link in local_links(page) if broken(link, page.parent)] == []


def test_pages_that_code_and_configs_name_exist_and_have_the_heading():
    named = [(path, found) for path in SOURCES for found in NAMED.findall(path.read_text(encoding="utf-8"))]
    assert len(named) >= 25
    assert [(str(path.relative_to(ROOT)), found) for path, found in named if broken(found, ROOT)] == []


def test_no_text_refers_to_a_document_that_is_not_here():
    texts = {path: path.read_text(encoding="utf-8") for path in [*SOURCES, *PAGES]}
    assert [
        (str(path.relative_to(ROOT)), OUTSIDE.findall(text)) for path, text in texts.items() if OUTSIDE.search(text)
    ] == []


def test_formulas_are_referred_to_by_their_heading():
    """One way: `docs/maths.md#heading`, never the page alone or a number."""
    bare = re.compile(r"docs/maths\.md(?!#)")
    assert [str(path.relative_to(ROOT)) for path in SOURCES if bare.search(path.read_text(encoding="utf-8"))] == []


def test_a_broken_reference_is_seen():
    assert broken("docs/maths.md#no-such-heading", ROOT)
    assert broken("docs/no-such-page.md", ROOT)
    assert not broken("docs/maths.md#omega", ROOT)


def test_the_rooms_that_the_architecture_names_exist():
    table = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("## Where things are")[2]
    named = re.findall(r"`([a-z_]+/[\w/.]*)`", table)
    assert len(named) >= 10
    assert [name for name in named if not ((ROOT / "rnnsweep" / name).exists() or (ROOT / name).exists())] == []
