# From a bare clone, with Python 3.11 or newer: `make run`, `make test`.
PYTHON ?= python3

VENV := .venv
HINT = Name another: make $(or $(MAKECMDGOALS),run) PYTHON=python3.12
NPM_PACKAGES := tests/fhir_engine/node_modules/.package-lock.json

.PHONY: help run test coverage test-fast lint format typecheck docs bench dist explore mutants clean
help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

run: $(VENV)/.run  ## a facade on 127.0.0.1:8080 in front of a sandbox; prints a curl to paste; Ctrl-C stops both
	@$(VENV)/bin/facade sandbox --serve config/sandbox.toml

test: $(VENV)/.test $(NPM_PACKAGES)  ## everything: tests, lint, types, import rules
	$(VENV)/bin/python -m $(if $(MEASURED),$(MEASURED) )pytest

coverage: $(VENV)/.test  ## the same, measured: branch coverage of all processes; fails below the floor in pyproject.toml
	@rm -rf .coverage && mkdir .coverage
	$(MAKE) --no-print-directory test MEASURED='coverage run -m'
	$(VENV)/bin/python -m coverage combine --quiet
	$(VENV)/bin/python -m coverage report

test-fast: $(VENV)/.test  ## the tests that start no process and need no store but SQLite; under a minute
	$(VENV)/bin/python -m pytest -m fast

lint: $(VENV)/.test  ## lint, format and import rules; changes nothing
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

format: $(VENV)/.test  ## format the code and apply the safe fixes of the linter
	$(VENV)/bin/ruff check --fix --exit-zero .
	$(VENV)/bin/ruff format .

typecheck: $(VENV)/.test  ## mypy, strict
	$(VENV)/bin/mypy

bench: $(VENV)/.test  ## measure the cost of the ledger, the send window, and slow clients; some minutes
	$(VENV)/bin/python -m bench.ledger_share
	$(VENV)/bin/python -m bench.send_window
	$(VENV)/bin/python -m bench.slow_clients

dist: $(VENV)/.test  ## the sdist, and the wheel built from it, in dist/
	rm -rf dist
	$(VENV)/bin/python -m build

explore: $(VENV)/.test  ## every interleaving of cancels, kills and faults, 100,000 states of each configuration; some minutes
	$(VENV)/bin/python -m tests.explorer

mutants: $(VENV)/.test  ## one guard after the other is taken away, and the tests must notice; ten minutes
	$(VENV)/bin/python -m tests.mutants

docs: $(VENV)/.test  ## the documentation site, in build/docs; a warning is an error
	$(VENV)/bin/python -m sphinx -b html -W --keep-going docs build/docs

clean:  ## forget what was installed here, for example after a change of Python
	rm -rf $(VENV) $(dir $(NPM_PACKAGES))

# Installed again only when what says what to install has changed; what the tests need is enough to run.
$(VENV)/.run: setup.cfg pyproject.toml $(VENV)/pyvenv.cfg
	@echo "Installing into $(VENV) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml $(VENV)/pyvenv.cfg
	@echo "Installing into $(VENV), with what the tests need ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "fhir-facade needs Python 3.11 or newer, and there is no $(PYTHON) here. $(HINT)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "fhir-facade needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1). $(HINT)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# A FHIR server and a validator that this project did not write; the tests do without them where they cannot be installed, CI
# does not.
$(NPM_PACKAGES): tests/fhir_engine/package-lock.json | $(VENV)/.test
	@echo "Installing Medplum's FHIR engine ..."
	@$(VENV)/bin/python -m tests.support.node
