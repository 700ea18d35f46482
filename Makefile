# make demo, make test and make lint need Python 3.11 or newer, make and a package index; they create .venv themselves.
PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-lowest torture lint format tools build bench bench-peers clean
.DEFAULT_GOAL := help

help:
	@echo "make demo     install aion into .venv and watch a workflow survive kill -9"
	@echo "make test     all tests (ARGS=tests/cli for some of them)"
	@echo "make torture  the fault suite in full: strace, power cuts, full disks; needs root, an hour"
	@echo "make lint     ruff, pyright, import-linter"
	@echo "make format   let ruff format and fix what it can"
	@echo "make build    the wheel, into dist/"
	@echo "make bench    speed, as ratios to limits and peers (ARGS='--only P4,P8'); make bench-peers installs the peers"
	@echo "make test-lowest  all tests with the lowest versions of the dependencies that pyproject.toml allows"
	@echo "make clean    remove .venv and caches"
	@echo "Another Python: make test PYTHON=python3.12"

demo: $(VENV)/.runtime
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto $(ARGS)

test-lowest: $(VENV)/lowest/.ready
	$(VENV)/lowest/bin/python -m pytest -n auto $(ARGS)

# Layers that need root, strace, mkfs.ext4 or mkfs.xfs say so and are skipped where those are not there. What measures
# time goes first, alone; the last lines are the figures of both.
TORTURED := tests/faults tests/contention tests/test_machine.py tests/test_kill.py tests/test_clocks.py \
	tests/test_hostile.py tests/test_hostile_texts.py tests/test_hostile_fuzz.py tests/runtime/test_damage.py
torture: export AION_TORTURE := 1
torture: export AION_FIGURES := $(CURDIR)/$(VENV)/figures.json
torture: $(VENV)/.dev
	@rm -f $(AION_FIGURES)
	@failed=0; \
	$(BIN)/python -m pytest -m alone $(TORTURED) $(ARGS) || failed=1; \
	$(BIN)/python -m pytest -m "not alone" -n auto -rs $(TORTURED) $(ARGS) || failed=1; \
	exit $$failed

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tools: $(VENV)/.dev

build: $(VENV)/.runtime
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

bench: $(VENV)/.runtime
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers:
	$(PYTHON) -m venv benchmarks/.peers
	benchmarks/.peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# What a user gets: aion and its four dependencies.
$(VENV)/.runtime: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("aion needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "installing aion into $(VENV) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# What a developer needs on top: test and lint tools.
$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing test and lint tools into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(VENV)/lowest/.ready: $(VENV)/.runtime
	@echo "installing the lowest versions into $(VENV)/lowest …"
	@$(BIN)/python -m venv $(VENV)/lowest
	@$(BIN)/python scripts/lowest.py >$(VENV)/lowest/constraints.txt
	@$(VENV)/lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(VENV)/lowest/constraints.txt --editable '.[test]'
	@touch $@
