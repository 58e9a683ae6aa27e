"""One block of Philox by the code of the streams' kernel, for counters that no stream reaches."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from rnnsweep.core.gpu.random_numbers import four


@triton.jit(do_not_specialize=["stream", "block"])
def _block(keys, ids, stream, block, out):
    first = tl.arange(0, 1)
    made = four(keys, ids, stream, first, first, first.to(tl.int64) + block, first < 1)
    tl.store(out + first[:, None] + tl.arange(0, 4)[None, :], made.to(tl.int64))


def block(key: int, sequence: int, stream: int, number: int, device: str) -> list[int]:
    """The four words of block `number`."""
    keys, ids = (torch.tensor([value], device=device) for value in (key, sequence))
    out = torch.empty(4, dtype=torch.int64, device=device)
    _block[(1,)](keys, ids, stream, number, out)
    return out.tolist()
