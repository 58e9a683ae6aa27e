"""Pages that mkdocs gets from code: config keys, commands, and the API of every module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))  # mkdocs loads this file by its path, so its neighbours are not importable without this

import api_pages  # noqa: E402
import command_pages  # noqa: E402
import config_keys  # noqa: E402


def generated() -> dict[str, str]:
    """Markdown by page."""
    return {
        "reference/config.md": config_keys.page(ROOT / "conf"),
        "reference/commands.md": command_pages.page(),
        **api_pages.pages(ROOT / "rnnsweep"),
    }


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill `folder/*` in nav, so that a new page joins without a list to edit."""
    known = [*generated(), *(str(file.relative_to(ROOT / "docs")) for file in (ROOT / "docs").rglob("*.md"))]
    config.nav = _filled(config.nav, sorted(known))
    return config


def _filled(entries: list[Any], known: list[str]) -> list[Any]:
    filled: list[Any] = []
    for entry in entries:
        if isinstance(entry, str) and entry.endswith("/*"):
            filled += _inside(entry, known)
        elif isinstance(entry, dict):
            filled.append({title: _value(value, known) for title, value in entry.items()})
        else:
            filled.append(entry)
    return filled


def _value(value: Any, known: list[str]) -> Any:
    if isinstance(value, list):
        return _filled(value, known)
    return _inside(value, known) if value.endswith("/*") else value


def _inside(pattern: str, known: list[str]) -> list[str]:
    """Pages of a folder, its index first."""
    found = [page for page in known if page.startswith(pattern[:-1])]
    return sorted(found, key=lambda page: (not page.endswith("index.md"), page))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for name, text in generated().items():
        files.append(File.generated(config, name, content=text))
    return files
