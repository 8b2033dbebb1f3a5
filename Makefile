VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test faults lint docs bench clean

demo: $(VENV)/installed ## Train the default experiment on synthesised music.
	$(BIN)/musicemo run experiments/multitask.toml

test: $(VENV)/installed-test ## Run the tests.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile # a process a core, each with one thread

faults: $(VENV)/installed-test ## Damage files and interrupt runs, fifty times as often as the tests do: about an hour.
	OMP_NUM_THREADS=1 MUSICEMO_FAULTS=50 $(BIN)/pytest -n auto --timeout 3600 tests/faults

lint: $(VENV)/installed-lint ## Check style, types and which modules import which.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

docs: $(VENV)/installed-docs ## Build the site in build/site; warnings are errors.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/installed-test ## Measure speed, as ratios: minutes, on a machine with nothing else to do.
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/soft_rank.py
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/weightings.py
	$(BIN)/python benchmarks/scale.py

clean: ## Remove the virtual environment; runs stay.
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
