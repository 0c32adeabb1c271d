# make demo   a first issue on disk, from nothing but Python 3.11 and make
# make test   every test
# make crash  kills a thousand senders, and compares what went out with what is known of it; CRASH_KILLS=100 is quicker
# make lint   ruff and mypy          make bench   the benchmarks          make clean   away with all that was made

# The first Python that is new enough; `make demo PYTHON=/path/to/python` takes another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
# Errors only: the second --quiet keeps warnings about package indexes out of the first thing anyone sees.
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
# More workers than this wait for each other's browsers.
WORKERS ?= 4
PYTEST_ARGS ?=
# --short: enough to see that a benchmark still runs
BENCH_ARGS ?=
CRASH_KILLS ?= 1000
# --soak 0 leaves the soak out, --cluster 0 the four workers
CRASH_ARGS ?=

.PHONY: help demo test crash lint bench clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/installed
	@$(BIN)/newsletter send 2026-01-07 --dry-run

test: $(VENV)/installed-test
	@.ci/chromium
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

crash: $(VENV)/installed-test
	@PYTHONPATH=tests $(BIN)/python tests/crash/crash_table.py --kills $(CRASH_KILLS) $(CRASH_ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/installed-test
	@set -e; for bench in $(filter-out %/__init__.py,$(wildcard benchmarks/*.py)); do \
		echo "$$bench"; $(BIN)/python $$bench $(BENCH_ARGS); done

clean:
	rm -rf $(VENV) build dist out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find newsletter tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed: pyproject.toml setup.py | $(BIN)/python
	@echo 'Installing newsletter into $(VENV) …'
	@$(PIP) install --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml setup.py | $(BIN)/python
	@echo 'Installing newsletter and what its tests need into $(VENV) …'
	@$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/installed

# A half-made environment must not pass for a whole one: it goes away if a step fails.
$(BIN)/python:
	@test -n '$(PYTHON)' || { \
		echo 'newsletter needs Python 3.11 or newer, and found none as python3 … python3.14.'; \
		echo 'Install one (Debian 12, Ubuntu 24.04: apt install python3 python3-venv), or name it: make demo PYTHON=/path/to/python3.11'; \
		exit 1; } >&2
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "newsletter needs Python 3.11 or newer; $(PYTHON) is $$('$(PYTHON)' -c \
			'import platform; print("Python", platform.python_version())' 2>/dev/null || echo 'no Python')."; \
		echo 'Name a newer one: make demo PYTHON=/path/to/python3.11'; \
		exit 1; } >&2
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'This Python cannot make virtual environments: its venv module is packaged apart.'; \
		echo 'Debian, Ubuntu: apt install python3-venv'; \
		exit 1; } >&2
	@'$(PYTHON)' -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
