"""Pages that mkdocs gets from code: config keys, commands, and the API of every module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))  # mkdocs loads this file by its path, so its neighbours are not importable without this

import api_pages  # noqa: E402
import command_pages  # noqa: E402
import config_keys  # noqa: E402


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    pages = {
        "reference/config.md": config_keys.page(ROOT / "conf"),
        "reference/commands.md": command_pages.page(),
        **api_pages.pages(ROOT / "rnnsweep"),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files
