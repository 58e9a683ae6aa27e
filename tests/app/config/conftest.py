"""Configs are loaded away from the checkout, without anything that the environment names."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RNNSWEEP_STORE", raising=False)
    monkeypatch.delenv("RNNSWEEP_CONFIG_DIR", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
