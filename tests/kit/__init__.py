"""Doubles for every port, with failures on purpose; import them in any test."""
