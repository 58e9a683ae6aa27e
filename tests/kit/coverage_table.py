"""Coverage by package, from the `.coverage` that a test run left: `python -m tests.kit.coverage_table`."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

DEPTH = 3
"""Parts of a package's name: rnnsweep.core.families, with all that lies below it."""


def by_package(report: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """(covered, all) lines of code by package, and of all together, from coverage's JSON report."""
    covered: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for name, file in report["files"].items():
        parts = PurePath(name).parent.parts[:DEPTH]
        for package in {".".join(parts), "total"}:
            covered[package] += file["summary"]["covered_lines"]
            lines[package] += file["summary"]["num_statements"]
    packages = sorted(package for package in lines if package != "total")
    return {package: (covered[package], lines[package]) for package in [*packages, "total"] if package in lines}


def table(report: Mapping[str, Any]) -> str:
    """The table as text."""
    rows = [f"{'package':<36}{'lines':>8}{'covered':>10}"]
    for package, (covered, lines) in by_package(report).items():
        rows.append(f"{package:<36}{lines:>8}{100 * covered / max(lines, 1):>9.1f}%")
    return "\n".join(rows)


def main() -> None:
    """Print the table of the run in the working directory."""
    from coverage import Coverage

    data = Coverage()
    data.load()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "coverage.json"
        data.json_report(outfile=str(out))
        print(table(json.loads(out.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
