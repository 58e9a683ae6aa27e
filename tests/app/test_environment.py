"""What a run was done with."""

from __future__ import annotations

import subprocess

from rnnsweep.app import environment


def test_everything_is_text_and_names_no_person_or_place(monkeypatch):
    monkeypatch.setenv("USER", "somebody-in-particular")
    facts = environment.describe()
    assert all(isinstance(value, str) and value for value in facts.values())
    assert {"rnnsweep", "commit", "python", "processor", "cores", "torch", "gpus"} <= set(facts)
    assert not any("somebody-in-particular" in value or "/home" in value for value in facts.values())


def test_a_library_that_is_not_there_is_missing_not_an_error(monkeypatch):
    monkeypatch.setattr(environment, "LIBRARIES", ("torch", "no-such-library"))
    assert environment.versions()["no-such-library"] == "missing"


def test_gpus_are_what_the_driver_lists(monkeypatch):
    def listed(*args, **kwargs):
        return subprocess.CompletedProcess(args, 0, stdout="NVIDIA X\n\nNVIDIA Y\n")

    monkeypatch.setattr(environment.subprocess, "run", listed)
    assert environment.gpus() == ["NVIDIA X", "NVIDIA Y"]


def test_no_driver_no_gpus(monkeypatch):
    def absent(*args, **kwargs):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(environment.subprocess, "run", absent)
    assert environment.gpus() == []
    assert environment.commit() is None
