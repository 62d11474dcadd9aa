# make demo   the sample, hosted and tried, in one command
# make test   everything that must hold before a change is merged
# PYTHON=/path/to/python3.12 make test   with another Python (3.11 or later)

VENV ?= .venv
BIN := $(VENV)/bin
SETUP := .ci/setup-venv pyproject.toml constraints.txt
AZURITE := .ci/setup-azurite tests/azurite/package.json tests/azurite/package-lock.json

# Tests wait for disks, processes and each other's answers: three at a time keep two cores busy.
PROCESSES ?= 3
BESIDE := --numprocesses $(PROCESSES) --dist worksteal

REPLAYED := tests/people tests/policy tests/workflow tests/http/test_workflows.py tests/http/test_events.py tests/differential tests/agents tests/functions/test_agents.py \
    tests/functions/test_workflows.py \
    --ignore=tests/workflow/test_crowd.py

.PHONY: demo test lint types pytest soak test-lowest test-newest clean

demo: $(VENV)/demo.stamp
	@$(BIN)/perdure demo

test: lint types pytest

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

# The second pass runs workflows as Azure does: from their history, by the official SDK.
pytest: $(VENV)/dev.stamp
	@.ci/setup-worker
	$(BIN)/python -m pytest $(BESIDE)
	$(BIN)/python -m pytest $(BESIDE) --replay $(REPLAYED)

soak: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m soak

# The framework's oldest supported and its newest release, each in an environment of its own.
test-lowest test-newest: test-%: $(VENV)/dev.stamp
	@.ci/test-framework $* $(VENV)

$(VENV)/demo.stamp: $(SETUP)
	@.ci/setup-venv "$(VENV)" ""
	@touch $@

$(VENV)/dev.stamp: $(SETUP) $(AZURITE)
	@.ci/setup-venv "$(VENV)" "[dev]"
	@.ci/setup-azurite "$(VENV)"
	@touch $(VENV)/demo.stamp $@

clean:
	rm -rf "$(VENV)" "$(VENV)-lowest" "$(VENV)-newest" .mypy_cache .pytest_cache .ruff_cache .hypothesis
