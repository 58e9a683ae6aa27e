"""Pruners, one per file."""
