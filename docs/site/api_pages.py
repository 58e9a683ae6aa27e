"""One page per package with the docstrings of its modules, and an index of them."""

from __future__ import annotations

import ast
from pathlib import Path

FOLDER = "reference/api"
FRONT = "rnnsweep.app.api"
"""What `import rnnsweep` offers."""


def pages(package: Path) -> dict[str, str]:
    """Markdown by page: `index.md`, and one page per package that has modules of its own."""
    made = {f"{FOLDER}/index.md": ""}
    lines = []
    for folder in sorted({file.parent for file in package.rglob("*.py")}):
        name = ".".join([package.name, *folder.relative_to(package).parts])
        modules = sorted(file for file in folder.glob("*.py") if file.stem != "__main__")
        body = [f"# {name}", *(f"::: {_module(package, file)}" for file in modules if _shown(package, file))]
        if len(body) > 1:
            made[f"{FOLDER}/{name}.md"] = "\n\n".join(body) + "\n"
            lines.append(f"- [`{name}`]({name}.md) {_summary(folder / '__init__.py')}")
    head = "# Python API\n\nWhat `import rnnsweep` offers:\n\n"
    made[f"{FOLDER}/index.md"] = f"{head}::: {FRONT}\n\n## All packages\n\n" + "\n".join(lines) + "\n"
    return made


def _module(package: Path, file: Path) -> str:
    parts = file.relative_to(package).with_suffix("").parts
    return ".".join([package.name, *parts[: -1 if parts[-1] == "__init__" else None]])


def _shown(package: Path, file: Path) -> bool:
    """Whether there is more to show than a package's own line, and it is not shown elsewhere."""
    return file.stem != "__init__" and _module(package, file) != FRONT


def _summary(init: Path) -> str:
    text = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) if init.is_file() else None
    return (text or "").partition("\n")[0]
