"""A small tree of configs: packaged units, and one sweep."""

from __future__ import annotations

import pytest


@pytest.fixture
def tree(tmp_path):
    def write(path: str, text: str):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    write("packaged/family/srn.yaml", "hidden: 50\n_search_:\n  hidden: int(interval(1, 9))\n")
    write("packaged/family/lstm.yaml", "hidden: 20\nforget: 1.0\n")
    write("packaged/controllers/clip.yaml", "threshold: 1.0\n")
    write("packaged/controllers/omega.yaml", "weight: 0.0\n")
    write("sweeps/first.yaml", "# The first sweep.\ndefaults: [config, override /family: srn, _self_]\nseed: 1\n")
    return write
