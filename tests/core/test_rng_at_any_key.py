"""Both ways to make Philox's words, at any key, identifier and length.

A file of its own: tests of the GPU's words take known answers from `test_rng`, and run where hypothesis is missing.
"""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnsweep.core import rng


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(1, 13),
)
def test_torch_and_compiled_agree_to_the_bit(keys, identifier, stream, n):
    keys = torch.tensor(keys)
    ids = torch.stack((torch.full_like(keys, identifier), ~keys), dim=1)
    assert torch.equal(rng.words_torch(keys, ids, stream, n), rng.words_compiled(keys, ids, stream, n))
