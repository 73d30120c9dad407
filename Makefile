# The developer's verbs. `make` alone lists them. Everything is installed into .venv on first use.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-quick test-all check format bench bench-learning clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Einthoven needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(READY)

install: $(READY) ## create .venv and install Einthoven with everything that a developer needs

demo: $(READY) ## the whole path on the synthetic heart, in minutes; ends by saying where the report is
	$(BIN)/einthoven demo demo

test: $(READY) ## every test but the longest; skips, visibly, what needs recordings or golden values that are not here
	$(BIN)/python -m pytest -m "not long"

test-quick: $(READY) ## what takes seconds
	$(BIN)/python -m pytest -m "not slow and not long"

test-all: $(READY) ## everything
	$(BIN)/python -m pytest

check: $(READY) ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## measure: start-up, loader, ingest, scale, formats, audit, training step, augmentations, objectives; each prints its table
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/ingest_scale.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/formats.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/augment.py
	$(BIN)/python benchmarks/objectives.py

bench-learning: $(READY) ## does pretraining learn? masked accuracy, and a linear probe against a random encoder (every method: einthoven bench all)
	$(BIN)/python benchmarks/learning.py

clean: ## remove what was installed and the demo's output
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
