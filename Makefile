# Each target does its own set-up: an environment in .venv, with the versions in constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

# Tests that start clusters, servers, browsers, or kill things run by themselves, and so do those of the GPU engine, whose
# interpreter must be chosen before triton is imported; all others run side by side.
GPU := $(wildcard tests/core/recurrence/test_gpu*.py)
PROCESSES := tests/chaos tests/e2e tests/browser tests/adapters/ray tests/contract/test_executors.py
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile $(addprefix --ignore=,$(GPU) $(PROCESSES))

.PHONY: help install dev quickstart test check bench format lint types layers clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(VENV)/.installed ## the program and what it needs

dev: $(VENV)/.installed-dev ## and the tools of its developers

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,gpu,dashboard]'
	@touch $@

quickstart: install ## a real sweep in a few minutes: temporal order, with and without Omega
	$(BIN)/rnnsweep launch quickstart --fresh

check: dev lint types layers ## format, lint, types, layers, quick tests, doctests
	$(PYTEST) $(SIDE_BY_SIDE) -m 'not slow and not study'
	$(PYTEST) -m 'not slow and not study' $(GPU)

test: dev lint types layers ## everything: also the minutes long tests, and those with processes of their own
	$(PYTEST) $(SIDE_BY_SIDE) -m 'not study'
	$(PYTEST) -m 'not study' $(GPU)
	$(PYTEST) -m 'not study' $(PROCESSES)

format: dev ## rewrite the files in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: dev
	$(BIN)/pyright

layers: dev
	$(BIN)/lint-imports

bench: dev ## speed, measured on this machine, beside the floor and the peers
	$(BIN)/rnnsweep bench
	$(BIN)/python benchmarks/speed.py

clean: ## forget caches and builds; the store mlruns/ stays
	rm -rf dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
