# Each target does its own set-up: an environment in .venv, with the versions in constraints.txt and the files in hashes.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

# Tests that start clusters, servers, browsers, or kill things run after all others, and wait more than they work: four
# files at a time. Those of the GPU engine have processes of their own: its interpreter must be chosen before triton is imported.
GPU := $(wildcard tests/core/test_gpu*.py tests/core/gpu/test_*.py tests/core/recurrence/test_gpu*.py)
GPU_LOG := $(VENV)/gpu-tests.log
REPLAYED := tests/contract/test_replay.py
PROCESSES := tests/browser tests/chaos tests/e2e tests/adapters/ray tests/contract/test_executors.py
# Folders with the longest files come first: begun last, such a file would be left to one process alone.
BY_FILE := --dist loadfile --no-loadscope-reorder
LONG := tests/docs tests/app tests/contract
OTHERS := $(filter-out $(LONG) $(PROCESSES) tests/kit tests/conftest.py %/__pycache__,$(wildcard tests/*))
SIDE_BY_SIDE := --numprocesses 2 $(BY_FILE) $(addprefix --ignore=,$(GPU) $(PROCESSES)) $(LONG) $(OTHERS) rnnsweep

# Coverage is nearly free from Python 3.12 on (sys.monitoring). Before, tracing costs half as much again, to say the same.
SYSMON = $(shell $(BIN)/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "")')
COVER = $(if $(SYSMON),--cov=rnnsweep --cov-report=)

# Ctrl-C stops a sweep in order: it says how to go on, and ends with this code, which is no error of make's to report.
STOPPED := 3

.PHONY: help install dev quickstart test test-gpu check docs bench format lint types layers clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(VENV)/.installed ## the program and what it needs

dev: $(VENV)/.installed-dev ## and the tools of its developers

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# pip hashes no checkout, and which build of torch or triton a machine has is its own matter: files that differ are refused
# for all else, which comes first.
define INSTALL
	$(BIN)/python deploy/requirements.py hashed $(1) > $(VENV)/hashed.txt
	$(BIN)/python deploy/requirements.py builds $(1) > $(VENV)/builds.txt
	$(BIN)/python -m pip install --quiet --constraint hashes.txt --requirement $(VENV)/hashed.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --requirement $(VENV)/builds.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
endef

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt hashes.txt
	$(call INSTALL)

$(VENV)/.installed-dev: $(VENV)/.installed
	$(call INSTALL,dev gpu dashboard postgres onnx tensorboard wandb watch docs)

quickstart: install ## a real sweep in a few minutes: temporal order, with and without Omega
	@echo '$(BIN)/rnnsweep launch quickstart --fresh'
	@trap : INT; $(BIN)/rnnsweep launch quickstart --fresh; code=$$?; \
	echo 'Commands above need the environment once per shell:  . $(VENV)/bin/activate'; \
	test $$code -eq $(STOPPED) || exit $$code

check: dev lint types layers ## format, lint, types, layers, quick tests, doctests
	$(PYTEST) $(SIDE_BY_SIDE) -m 'not slow and not study'
	$(PYTEST) --numprocesses 2 $(BY_FILE) -m 'not slow and not study' $(GPU)

test: dev lint types layers docs ## everything: also the minutes long tests, those with processes of their own, and the site
	$(if $(SYSMON),COVERAGE_CORE=$(SYSMON)) $(PYTEST) $(SIDE_BY_SIDE) -m 'not study' --durations=20 $(COVER)
	@# those of the GPU compute while the others wait for their processes
	$(PYTEST) --numprocesses 1 $(BY_FILE) -m 'not study' $(GPU) > $(GPU_LOG) 2>&1 & gpu=$$!; \
	$(PYTEST) --numprocesses 4 $(BY_FILE) -m 'not study' --durations=20 $(PROCESSES); code=$$?; \
	wait $$gpu || code=1; cat $(GPU_LOG); exit $$code
	$(if $(COVER),$(BIN)/python -m tests.kit.coverage_table)

# For a machine that is lent for a while: nothing is installed, and its own Python will do where there is no environment.
# No more is needed than torch, triton, numba, scipy, jaxtyping, hydra-core, pytest and what these need.
test-gpu: ANY = $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
test-gpu: ## kernels and replayed updates on the GPU that is here; without one in Triton's interpreter
	@$(ANY) -c 'import torch; gpu = torch.cuda.is_available(); print("on", torch.cuda.get_device_name() if gpu else "the CPU, by an interpreter")'
	PYTHONPATH=. $(ANY) -m pytest -m 'not study' $(GPU)
	PYTHONPATH=. $(ANY) -m pytest -m 'not study' $(REPLAYED)

docs: dev ## the site, in site/: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

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
	$(BIN)/python benchmarks/gpu.py

clean: ## forget caches and builds; the store mlruns/ stays
	rm -rf dist build site .coverage .pytest_cache .ruff_cache .hypothesis .import_linter_cache
