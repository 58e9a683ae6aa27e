"""The notebook's cells run, top to bottom, in one namespace: no kernel needed."""

from __future__ import annotations

import json
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook" / "sweep.ipynb"


def test_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    space: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}:{cell['id']}", "exec"), space)
    assert space["sweep"].status()["trials"]["complete"] == 4
    assert len(space["trials"]) == 4
    assert set(space["curves"]["key"]) == {"valid/error", "weights/rho"}
    assert space["page"].is_file()
    outputs = space["network"](space["sequences"])
    assert outputs.shape == (2, 4)
