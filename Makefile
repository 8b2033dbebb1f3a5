VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
PLUGIN = plugins/musicemo_musicnn

# Most modules of the installed packages are never imported: those that are get compiled at their first import.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo install test test-fast faults lint docs bench clean

demo: $(VENV)/installed ## Train the default experiment on synthesized music.
	$(BIN)/musicemo run experiments/multitask.toml

install: $(VENV)/bin/python ## Install all that tests, lint and docs need, in one call of pip.
	$(INSTALL) --editable '.[docs,lint,test]' --editable $(PLUGIN)
	@touch $(VENV)/installed $(VENV)/installed-docs $(VENV)/installed-lint $(VENV)/installed-test

test: $(VENV)/installed-test ## Run the tests.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder # one process per core, each with one thread

test-fast: $(VENV)/installed-test ## Run the fast tests: about a minute and a half on two cores.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto -m "not slow and not packaging"

faults: $(VENV)/installed-test ## Damage files and interrupt runs, fifty times as often as in the tests: about an hour.
	OMP_NUM_THREADS=1 MUSICEMO_FAULTS=50 $(BIN)/pytest -n auto --timeout 3600 tests/faults

lint: $(VENV)/installed-lint ## Check style, types and the imports between modules.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

docs: $(VENV)/installed-docs ## Build the site in build/site; warnings are errors.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/installed-test ## Measure speed, as ratios. Takes minutes; needs a machine without other load.
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/soft_rank.py
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/weightings.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/intervals.py

clean: ## Remove the virtual environment, but not the runs.
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "musicemo needs Python 3.11 or later; name one with make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) --editable .
	@touch $@

$(VENV)/installed-%: $(VENV)/installed
	$(INSTALL) --editable '.[$*]'
	@touch $@

$(VENV)/installed-test: $(VENV)/installed $(PLUGIN)/pyproject.toml
	$(INSTALL) --editable '.[test]' --editable $(PLUGIN)
	@touch $@
