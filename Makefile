# Two commands do everything: `make run` and `make test`. Each makes its environment in .venv and nothing elsewhere.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# A file of tests runs in one process, and up to four files at once; ARGS="-n 0" runs all in this one, for a debugger.
PYTEST := -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
# Numba's disk cache does not see edits in other files, so it is keyed by the engine's source.
export NUMBA_CACHE_DIR := $(CURDIR)/.cache/numba/$(shell find fastals/engine -name '*.py' | sort | xargs cat | sha256sum | cut -c1-16)

.DEFAULT_GOAL := help
.PHONY: run published test fuzz floor lint docs look wheel bench quality clean help

run: .venv/run.stamp ## measure, recommend and say what to do next, on MovieLens 100K or ARGS="--data FILE --out DIR"
	$(BIN)/python -m fastals $(ARGS)

published: .venv/run.stamp ## print the figures that three texts publish beside ours, on MovieLens 100K
	$(BIN)/python -m fastals demo --published

test: .venv/dev.stamp ## run all tests
	$(BIN)/python $(PYTEST) $(ARGS)

fuzz: .venv/dev.stamp ## try faults for SECONDS=600 and print a table by kind; ARGS="--only forks --json docs/reliability.json"
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600) $(ARGS)

floor: ## run all tests with the oldest dependencies that are allowed; PYTHON=python3.10 for the oldest Python too
	$(PYTHON) -m venv .cache/floor
	.cache/floor/bin/pip install --quiet --editable '.[dev]' \
		$(shell sed -n '/^dependencies/s/[^"]*"\([^"]*\)>=\([^"]*\)"[^"]*/\1==\2 /gp' pyproject.toml)
	.cache/floor/bin/python $(PYTEST) $(ARGS)

lint: .venv/dev.stamp ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/docs.stamp ## build the documentation in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html $(ARGS)

look: .venv/docs.stamp ## look at what make docs has built, in a headless Chromium that is on the machine
	$(BIN)/pip install --quiet playwright
	$(BIN)/python docs/look.py $(ARGS)

wheel: .venv/dev.stamp ## build the sdist and the wheel in dist, and test what is in them
	rm -rf dist
	$(BIN)/pip install --quiet build
	$(BIN)/python -m build
	$(BIN)/python -m pytest tests/test_packaging.py

bench: .venv/peers.stamp ## run the benchmarks beside the peers and rewrite the tables of README.md and docs/benchmarks.md
	$(BIN)/python -m bench.report $(ARGS)

quality: .venv/peers.stamp ## search parameters beside the peers, measure, and rewrite the tables of quality in docs/benchmarks.md
	$(BIN)/python -m bench.bench_quality $(ARGS)

clean: ## remove everything that the other targets made
	rm -rf .venv .cache .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks build dist *.egg-info docs/_build docs/api/generated docs/examples
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "fastals needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run.stamp: pyproject.toml .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[io,plots,progress]'
	@touch $@

.venv/dev.stamp: pyproject.toml .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ .venv/run.stamp

.venv/docs.stamp: pyproject.toml .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@ .venv/run.stamp

.venv/peers.stamp: pyproject.toml .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[peers]'
	@touch $@ .venv/dev.stamp .venv/run.stamp
