PYTHON ?= python3
ifeq ($(strip $(PYTHON)),)
$(error PYTHON is empty; leave it out, or name a Python, as in make PYTHON=python3.13)
endif
# It would keep `python -m` from finding what lies in this folder.
unexport PYTHONSAFEPATH
SEEDS ?= 20000
MINUTES ?= 5

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
PROCESSORS := $(shell getconf _NPROCESSORS_ONLN)
PYTEST := $(BIN)/python -m pytest --dist worksteal --numprocesses

ADVISE_FIX = { echo "make fix mends most of this"; exit 1; }

.PHONY: help demo cluster-demo server client quick test format lint types tests coverage fix hooks trace soak fuzz bench compare screenshots recording packaging clean

help:
	@echo "make demo               watch an encrypted conversation between real processes"
	@echo "make cluster-demo       watch three servers carry one room, of which one is killed"
	@echo "make server             run a room (HOST, PORT)"
	@echo "make client NAME=ira    join it (HOST, PORT)"
	@echo
	@echo "make quick              while you edit: lint, types, the tests that start no process"
	@echo "make test               before anything lands: format, lint, types, all tests"
	@echo "make fix                format the code, and mend what the linter can mend"
	@echo "make hooks              let git check format, lint and types before each commit"
	@echo "make coverage           run all tests, and list what they do not reach"
	@echo "make trace              list the calls that take one message from one member to another"
	@echo "make soak               simulate many rooms, without and with an enemy (SEEDS of each)"
	@echo "make fuzz               look for inputs that break something (MINUTES)"
	@echo "make bench              measure the server and the client"
	@echo "make compare            measure the server beside others, and make plots and tables of that"
	@echo "make screenshots        make the picture in the README from a real conversation"
	@echo "make recording          make the recording in the README from a real run"
	@echo "make packaging          write the man page and the completions from the parser"
	@echo "make clean              remove what these made"
	@echo
	@echo "PYTHON=python3.13       with any of them: another Python, in a .venv-3.13 of its own"

demo: $(VENV)/ready
	@$(BIN)/python -m tools.demo

cluster-demo: $(VENV)/ready
	@$(BIN)/python -c 'import hiredis' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[redis]'
	@$(BIN)/python -m tools.cluster_demo

server: $(VENV)/ready
	@$(RUN) server --host $(HOST) --port $(PORT)

client: $(VENV)/ready
	@$(RUN) client $(HOST) $(PORT) "$(NAME)"

quick: lint types
	$(PYTEST) $(PROCESSORS) --ignore tests/processes -m "not slow"

test: format lint types tests

format: $(VENV)/ready-dev
	@$(BIN)/ruff format --check . || $(ADVISE_FIX)

lint: $(VENV)/ready-dev
	@$(BIN)/ruff check . || $(ADVISE_FIX)

types: $(VENV)/ready-dev
	$(BIN)/mypy

# Two for each processor, since many tests wait for a process and do not calculate.
tests: $(VENV)/ready-dev
	$(PYTEST) $$((2 * $(PROCESSORS)))

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

# Without an enemy, then with each: one that fails does not keep the others back.
soak: $(VENV)/ready-dev
	@status=0; for enemy in "" enemy former_member present_member lying_server; do \
	    $(BIN)/python -m tests.simulation --seeds $(SEEDS) --enemy "$$enemy" || status=1; done; exit $$status

# Without `atheris`, which is not there for every system, nothing guides the choice of inputs.
fuzz: $(VENV)/ready-dev
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]' || true
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

bench: $(VENV)/ready-dev
	$(BIN)/python -m benchmarks

# It draws with matplotlib. Those of ngircd, mosquitto and nats-server that are not installed are left out.
compare: $(VENV)/ready-dev
	@$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@$(BIN)/python -m benchmarks.compare --publish

screenshots: $(VENV)/ready-dev
	$(BIN)/python -m tools.screenshots

recording: $(VENV)/ready-dev
	$(BIN)/python -m tools.recording

packaging: $(VENV)/ready-dev
	$(BIN)/python -m tools.manpage
	$(BIN)/python -m tools.completion

clean:
	rm -rf .venv .venv-* .fuzz build dist *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
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
