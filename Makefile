# One command for each thing to do; `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help setup up test check style types fix soak bench clean
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# How long `make soak` keeps each soak going, in seconds.
SOAK_SECONDS ?= 600
# What `make bench` is told: figures in numbers and as a picture; BENCH=--soak watches the memory instead.
BENCH ?= --json .cache/bench.json --plot .cache/bench.svg

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name what; do \
		printf '%-14s %s\n' "$$name" "$$what"; done

setup: ## Make .venv, or bring it up to date; the other targets do this first.
	@scripts/setup

up: setup ## Run the whole fleet here, until Ctrl-C.
	@$(BIN)/python -m factory.cli.fleet up

test: setup ## Check and test everything; installs the tools that tests need where it may.
	@scripts/system-packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST)

check: setup ## Style, types and the fast tests only, for use while you work.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m "not integration and not fleet and not slow and not soak"

style: setup ## Check the style.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## Check the types.
	$(BIN)/mypy

fix: setup ## Mend the style where a program can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: setup ## Run the long soaks; SOAK_SECONDS=60 shortens them.
	@scripts/system-packages
	SOAK_SECONDS=$(SOAK_SECONDS) $(PYTEST) tests/soak tests/fleet tests/mesh/protocol/ring -m soak --timeout=0 -rP

bench: setup ## Measure this product beside its peers; BENCH=--quick takes a minute.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	$(BIN)/python -m benchmarks $(BENCH)

clean: ## Remove .venv and everything that was built or cached.
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
