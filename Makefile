# Bare `make` lists what there is.  `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3.11
VENV ?= .venv
# TORCH=keep leaves an already installed torch (your own GPU build) alone: see README, "Your own torch".
TORCH ?= pinned
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test test-slow lint types layers check bench bench-metrics clean

help:
	@echo "make install    build $(VENV) with everything the constraints file pins"
	@echo "make demo       simulated plant -> Kafka-protocol broker -> tsad -> webhooks, about 90 s"
	@echo "make test       the tests (offline, under 10 minutes)"
	@echo "make test-slow  the tests that take over a minute each"
	@echo "make check      lint, types and import layers, as in CI"
	@echo "make bench      the benchmarks; tables go to standard output"
	@echo "make bench-metrics  the metrics beside their reference packages (installs those into .venv-references)"
	@echo "make clean      remove $(VENV) and caches"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),keep)
	@$(BIN)/python -c 'import torch' || { echo 'TORCH=keep: install your torch into $(VENV) first'; exit 1; }
	@grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
else
	@cp constraints.txt $(VENV)/constraints.txt
endif
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[demo,dev]'
	@touch $@

demo: install
	$(BIN)/tsad demo

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: install
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports

check: lint types layers

bench: install
	$(BIN)/python -m benchmarks

# The reference packages need libraries older than ours, so they get an environment of their own.
bench-metrics: install
	@test -x .venv-references/bin/python || $(PYTHON) -m venv .venv-references
	.venv-references/bin/python -m pip install --quiet --no-deps --requirement benchmarks/reference_requirements.txt
	$(BIN)/python -m benchmarks metrics --references .venv-references/bin/python

clean:
	rm -rf $(VENV) .venv-references .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build *.egg-info
