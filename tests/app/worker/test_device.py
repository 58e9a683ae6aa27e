"""The memory model against what a pack really holds, and that freed memory is kept."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest
import torch

from rnnsweep.app.config.load import load
from rnnsweep.app.environment import processor
from rnnsweep.app.worker.device import device_name, keep_freed_memory, row_bytes, rows_that_fit, single_threaded
from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
from rnnsweep.core.pack import Member, Pack, Streams
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine

CPU = torch.device("cpu")


def packed(tmp_path: Path, rows: int, *overrides: str) -> Pack:
    config = load(None, ["name=t", "space={}", *overrides], store=tmp_path, check_units=False).resolved
    units = build_units(config)
    program = build_program(config, units, CPU)
    pack = Pack(program)
    streams = [Streams(0, index) for index in range(rows)]
    pack.join([(Member(s.replica, 1, row_hypers(units), s), initial_state(program, units, s)) for s in streams])
    return pack


def held(pack: Pack) -> int:
    tensors = [pack.params, pack.status, *pack.slots.values(), *pack.hypers.values(), *pack.keys.values(), pack.step]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_the_model_covers_what_a_row_holds_and_its_proposal(tmp_path):
    """Twice the held bytes: a joining row and a proposed step need a second copy; the model may not be far above."""
    for overrides in (["family.hidden=100"], ["family.hidden=64", "optimizer=adam"]):
        small, large = packed(tmp_path, 8, *overrides), packed(tmp_path, 40, *overrides)
        per_row = (held(large) - held(small)) / 32
        assert 1.9 * per_row <= row_bytes(large.program) <= 4.1 * per_row


def test_untiled_programs_count_their_record(tmp_path):
    pack = packed(tmp_path, 1)
    program = pack.program
    before = row_bytes(program)
    program.engine.tile = None  # as an engine that trains the whole pack at once
    assert row_bytes(program) == before + program.record_bytes


def test_at_least_one_row_fits_and_no_more_than_the_limit(tmp_path):
    assert 1 <= rows_that_fit(packed(tmp_path, 1).program, CPU) <= 512


def test_loops_run_over_the_workers_cores_and_torch_over_one():
    try:
        single_threaded(3)
        assert torch.get_num_threads() == 1
        assert CpuEngine().threads == 3 and CpuEngine(2).threads == 2
    finally:
        single_threaded(1)
    assert CpuEngine().threads == 1


def test_a_processor_has_one_name():
    assert device_name(CPU) == f"{processor()} ({torch.backends.cpu.get_cpu_capability()})"


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library's allocator"
)
def test_glibc_takes_what_it_is_told():
    """How many page faults that saves depends on what else was allocated: decision 40 has a measurement."""
    assert keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
