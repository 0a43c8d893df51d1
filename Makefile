PYTHON ?= python3
SEEDS ?= 20000

# For the command line alone: conda, WSL and cloud shells have such names in the environment, too.
HOST = 127.0.0.1
PORT = 9443
NAME = $(firstword $(shell id -un 2>/dev/null) guest)

# Each version of Python has its own, so that none is tested with the packages of another.
ifeq ($(PYTHON),python3)
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
BIN := $(VENV)/bin
RUN := $(BIN)/python -m chat
# Two for each processor, since many tests wait for a process and do not calculate.
WORKERS := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: help demo server client quick test format lint types tests coverage fix hooks trace soak bench screenshots clean

help:
	@echo "make demo               watch an encrypted conversation between real processes"
	@echo "make server             run a room (HOST, PORT)"
	@echo "make client NAME=ira    join it (HOST, PORT)"
	@echo
	@echo "make quick              while you edit: lint, types, the tests that start no process"
	@echo "make test               before anything lands: format, lint, types, all tests"
	@echo "make fix                format the code, and mend what the linter can mend"
	@echo "make hooks              let git check format, lint and types before each commit"
	@echo "make coverage           run all tests, and list what they do not reach"
	@echo "make trace              follow one message call by call, from line to line"
	@echo "make soak               simulate many more rooms than the tests do (SEEDS)"
	@echo "make bench              measure the server"
	@echo "make screenshots        make the pictures in the README from a real conversation"
	@echo "make clean              remove what these made"
	@echo
	@echo "PYTHON=python3.13       with any of them: another Python, in a .venv-3.13 of its own"

demo: $(VENV)/ready
	@$(BIN)/python -m tools.demo

server: $(VENV)/ready
	@$(RUN) server --host $(HOST) --port $(PORT)

client: $(VENV)/ready
	@$(RUN) client $(HOST) $(PORT) "$(NAME)"

quick: lint types
	$(PYTEST) --ignore tests/processes -m "not slow"

test: format lint types tests

format: $(VENV)/ready-dev
	$(BIN)/ruff format --check .

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .

types: $(VENV)/ready-dev
	$(BIN)/mypy

tests: $(VENV)/ready-dev
	$(PYTEST)

coverage: $(VENV)/ready-dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

fix: $(VENV)/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks:
	git config core.hooksPath tools/hooks

trace: $(VENV)/ready
	@$(BIN)/python -m tools.trace

soak: $(VENV)/ready-dev
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

bench: $(VENV)/ready-dev
	$(BIN)/python -m benchmarks

screenshots: $(VENV)/ready-dev
	$(BIN)/python -m tools.screenshots

clean:
	rm -rf .venv .venv-* build dist *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/ready: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/ready-dev: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/ready
