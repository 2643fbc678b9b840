# dp-spark: `make help` says what there is. Every target sets up what it needs by itself.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JARS := $(VENV)/.jars

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-fast test-connect test-matrix durability bench bench-quick wheel dist docs check lint types imports doctest clean

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(JARS) ## Make the environment in .venv and fetch the Delta jars
	@echo "dp-spark is ready: $(BIN)/dp-spark --help"

$(STAMP): pyproject.toml constraints.txt
	@bash scripts/check-java.sh
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "dp-spark needs Python 3.11 or later; run make PYTHON=/path/to/python3.11")'
	@echo "Installing dp-spark and its libraries into $(VENV) (about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev,docs]'
	@touch $@

$(JARS): $(STAMP)
	@bash scripts/check-java.sh
	@echo "Fetching the Delta jars through Spark (once, about half a minute)"
	@$(BIN)/python scripts/fetch_jars.py
	@touch $@

demo: $(JARS) ## Release real data (healthcare) and show exact against released values
	@$(BIN)/dp-spark demo healthcare

test: $(JARS) ## Run the tests of every change: all but the long lists, of which there is a case of each kind
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(JARS) ## Run every test, at last `make durability` (over an hour; before a version, docs/versions.md)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not durability"
	@$(MAKE) --no-print-directory durability

test-fast: $(JARS) ## Run the tests that need no Spark
	@$(BIN)/python -m pytest -m "not spark and not slow"

test-connect: $(JARS) ## Run the main parts of the suite on a local Spark Connect server (`make test-all` does, too)
	@PYTHONPATH=tests/support $(BIN)/python tests/system/test_connect.py

test-matrix: $(JARS) ## Run a core of the suite with each pyspark, delta-spark and Python (about an hour; docs/versions.md)
	@$(BIN)/python scripts/matrix.py

durability: $(JARS) ## Kill 22 runs at 11 points and race 8 processes 5 times (about half an hour; part of `make test-all`)
	@$(BIN)/python -m pytest -m durability tests/system/test_durability.py

bench: $(JARS) ## Measure dp-spark, exact queries and other libraries side by side (40 minutes, run it alone; ONLY="SECTION..." for some)
	@$(BIN)/python -m benchmarks.run $(if $(ONLY),--only $(ONLY))

bench-quick: $(JARS) ## The same on small tables, to see that it works (written to .bench/quick)
	@$(BIN)/python -m benchmarks.run --quick

wheel: $(STAMP) ## Build the wheels and the zip into dist/ (needs no network)
	@$(BIN)/python scripts/build_dist.py wheel

dist: $(STAMP) ## Build wheels, zip and packed environment into dist/ (about two minutes)
	@$(BIN)/python scripts/build_dist.py

# Not --quiet: warnings would pass.
docs: $(STAMP) ## Build the site of the documents into site/, to be opened from disk (needs no network)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The documents are in site/index.html"

check: lint types imports doctest ## Run ruff, mypy --strict, import-linter and the doctests

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/rumdl check --quiet .

types: $(STAMP)
	@$(BIN)/mypy

imports: $(STAMP)
	@$(BIN)/lint-imports

doctest: $(JARS)
	@$(BIN)/python -m pytest -q --doctest-modules dp_spark

clean: ## Remove the environment and everything that was made
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .rumdl_cache dist build site demo-out .bench .matrix
