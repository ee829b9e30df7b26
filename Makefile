# Everything runs in .venv, which each target makes when it is not there; only python3 >= 3.11 is needed.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
export VENV

# One thread a process, waiting without spinning: two processes on two cores then do not fight.
QUIET = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

.PHONY: help setup demo test check papers clean

help:    ## list these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup:   ## make .venv and install redraft into it
	@$(PYTHON) scripts/bootstrap.py

demo: setup   ## train, generate, evaluate on the embedded pictures; minutes on a laptop
	$(BIN)/redraft demo

test: tools   ## all tests
	$(QUIET) $(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

check: tools   ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

papers: tools   ## the slow tests: the papers' experiments (hours)
	$(QUIET) $(BIN)/python -m pytest -q -m slow --timeout 0 $(ARGS)

clean:   ## remove the environment and everything that tools left behind
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: tools
tools:
	@$(PYTHON) scripts/bootstrap.py dev all
