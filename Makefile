# make repro: the pipeline on the embedded data.  make curve: all β from one training.  make test: the
# tests.  Each builds .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PORT ?= 5000
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro curve test lint ui lock tables venv deps schema
.DEFAULT_GOAL := repro

repro: venv
	dvc repro

curve: venv
	dvc repro curve/dvc.yaml
	@if [ -e artifacts/report ]; then dvc repro --force --single-item report; fi  # with the slider

test: venv
	python -m pytest -n auto --dist loadfile

lint: venv
	ruff check .
	ruff format --check .
	mypy

ui: venv
	vaebalance ui --port $(PORT)

venv: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is $$($(PYTHON) --version); vaebalance needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --require-hashes --requirement requirements.lock
	python -m pip install --quiet --no-deps --no-build-isolation --editable .
	python -m vaebalance.pages.dvc_plots .dvc/plots/offline.html
	touch $@

# Fill the documentation's tables from benchmarks/results.
tables: venv
	python benchmarks/tables.py

# Needs uv. Names, versions and hashes only: no download address.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --output-file requirements.lock

# Write the rooms that each stage imports into dvc.yaml and curve/dvc.yaml.
deps: venv
	python -m tests.helpers.stage_dependencies

# Write params.schema.json, from which editors complete and check params.yaml.
schema: venv
	python -m vaebalance.settings.schema
