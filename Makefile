PYTHON ?= python3
SEEDS ?= 20000

# For the command line alone: conda, WSL and cloud shells have such names in the environment, too.
HOST = 127.0.0.1
PORT = 9443
NAME = $(firstword $(shell id -un 2>/dev/null) guest)

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m chat

.PHONY: help demo server client test check format lint types tests soak bench screenshots clean

help:
	@echo "make demo               watch an encrypted conversation between real processes"
	@echo "make test               everything that is tested: format, lint, types, tests"
	@echo "make server             run a room (HOST, PORT)"
	@echo "make client NAME=ira    join it (HOST, PORT)"
	@echo "make soak               simulate many more rooms than the tests do (SEEDS)"
	@echo "make bench              measure the server"
	@echo "make screenshots        make the pictures in the README from a real conversation"
	@echo "make clean              remove what these made"

demo: $(VENV)/ready
	@$(BIN)/python -m demo

server: $(VENV)/ready
	@$(RUN) server --host $(HOST) --port $(PORT)

client: $(VENV)/ready
	@$(RUN) client $(HOST) $(PORT) "$(NAME)"

test: check

check: format lint types tests

format: $(VENV)/ready-dev
	$(BIN)/ruff format --check .

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .

types: $(VENV)/ready-dev
	$(BIN)/mypy

tests: $(VENV)/ready-dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

soak: $(VENV)/ready-dev
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

bench: $(VENV)/ready-dev
	$(BIN)/python -m benchmarks

screenshots: $(VENV)/ready-dev
	$(BIN)/python -m screenshots

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
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
