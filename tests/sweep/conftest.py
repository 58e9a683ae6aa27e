from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:  # `tests.kit` is imported by name, also when pytest was not started as a module
    sys.path.insert(0, ROOT)
