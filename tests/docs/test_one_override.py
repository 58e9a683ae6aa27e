"""The walk of one override: as short as promised, and the page lists what is walked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_one_override_passes_twelve_files_and_the_page_lists_them(tmp_path):
    code = "import json; from benchmarks.walks import one_override; print(json.dumps(one_override()))"
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    files = json.loads(done.stdout.splitlines()[-1])
    assert len(files) <= 12
    section = (ROOT / "docs/architecture.md").read_text().partition("## One override")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z_/]+\.py)`", section, re.MULTILINE)) == files
