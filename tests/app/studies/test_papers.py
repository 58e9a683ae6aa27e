"""Every paper that can be run has a published table, and its sweeps have names of their own."""

from __future__ import annotations

import pytest

from rnnsweep.app.studies.papers import PAPERS, TABLES


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_a_paper_has_a_table_and_three_scales(name):
    paper = PAPERS[name]
    assert name in TABLES
    assert list(paper.scales) == ["smoke", "small", "full"]
    for parts in paper.scales.values():
        names = [part.name for part in parts]
        assert names
        assert len(set(names)) == len(names)
