# Set-up and every command of the project. `make` lists them.
# Everything runs in $(VENV), made from requirements.lock on first use.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PIP := $(PYTHON) -m pip --disable-pip-version-check --quiet

# The matrices are small: BLAS threads cost more than they bring, and two cores run two chains.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= $(OMP_NUM_THREADS)
export PYTHONUTF8 := 1

.PHONY: help setup report test test-versions lint format bench browser-test docs notebook fuzz audit clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

setup: $(STAMP) ## set up .venv

report: $(STAMP) ## reanalyse Kaiser et al. (2021) into reports/kaiser2021/
	@$(PYTHON) -m reanalysis run models/kaiser2021.toml --out reports/kaiser2021

test: lint ## run the checks and the whole test suite
	@$(PYTHON) -m pytest

test-versions: ## run the tests on Python 3.12 and 3.13, each with oldest and newest versions (needs the network)
	@for python in 3.12 3.13; do for which in oldest newest; do .ci/versions $$python $$which; done; done

lint: $(STAMP) ## check style and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

format: $(STAMP) ## lay out the code
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

bench: $(STAMP) ## measure speed and accuracy beside peers
	@for file in benchmarks/*.py; do echo "== $$file"; $(PYTHON) "$$file"; done

browser-test: $(STAMP) ## open the report in headless Chromium
	@$(PYTHON) -m pytest -m browser

docs: $(STAMP) ## build the documentation into docs/_build/
	@if [ ! -e $(VENV)/.docs ]; then $(PIP) install --require-hashes -r requirements-docs.lock; touch $(VENV)/.docs; fi
	@$(PYTHON) -m sphinx -W --keep-going -q docs docs/_build
	@echo "docs/_build/index.html"

notebook: docs ## execute the notebook of the documentation
	@$(VENV)/bin/jupyter-execute --inplace docs/posterior_analysis.ipynb

fuzz: $(STAMP) ## throw 120,000 made-up tables and specs at `check` (about 15 minutes)
	@if [ ! -e $(VENV)/fuzz ]; then $(PIP) install --require-hashes --no-deps --target $(VENV)/fuzz -r requirements-fuzz.lock; fi
	@for kind in csv toml cells keys; do \
	  PYTHONPATH=$(VENV)/fuzz $(PYTHON) tests/fuzz/fuzz.py $$kind -runs=30000 -verbosity=0; \
	done

audit: $(STAMP) ## look the locked versions up in the databases of known vulnerabilities (needs the network)
	@$(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/pip --quiet install pip-audit
	@$(VENV)/audit/bin/pip-audit --require-hashes --disable-pip -r requirements.lock

clean: ## remove .venv, caches and built packages
	@rm -rf $(VENV) .venv-* dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The interpreter is the first of these that is Python 3.12 or newer and can make environments:
# the version of .python-version, then the newest on the path. Shims of missing versions fail here.
$(STAMP): requirements.lock pyproject.toml
	@if ! $(PYTHON) -c '' 2>/dev/null; then \
	  wanted=$$(cat .python-version); found=; \
	  for python in python$$wanted python3.14 python3.13 python3.12 python3; do \
	    if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' \
	        >/dev/null 2>&1; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "No suitable Python: install Python $$wanted (or any from 3.12) with its venv module, so that python$$wanted is on the path." >&2; \
	    exit 1; \
	  fi; \
	  echo "Setting up $(VENV) with $$($$found --version) (a minute or two)" >&2; \
	  rm -rf $(VENV); \
	  $$found -m venv $(VENV); \
	fi
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@
