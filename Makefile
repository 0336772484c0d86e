# Two commands do everything on a fresh machine: `make demo` and `make test`. They make .venv and install into it first.
PYTHON ?= python3
PYTHON_OLDEST ?= python3.11
PYTHON_NEWEST ?= python3.13
VENV ?= .venv
# Pinned versions to install; `make lock` refreshes the file.
CONSTRAINTS ?= constraints/tested.txt
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TEST := $(BIN)/python -m pytest -q -n auto --maxprocesses 4

.PHONY: demo test quick attack test-all test-oldest test-newest test-hermetic gpu check lock format clean

demo: $(VENV)/installed
	$(BIN)/smix demo

test: $(VENV)/installed-dev
	$(TEST) --dist loadfile $(WARNINGS) $(ARGS)

quick: $(VENV)/installed-dev
	$(TEST) --dist loadfile -m 'not slow and not cluster and not exhaustive' $(ARGS)

test-all: $(VENV)/installed-dev
	$(TEST) --dist loadfile -m 'not cluster' $(ARGS)

attack: $(VENV)/installed-dev
	$(BIN)/python -m scripts.attack $(ARGS)

# Lowest versions that pyproject.toml allows. Old releases emit deprecation warnings about each other, so warnings are no errors here.
test-oldest:
	$(MAKE) test VENV=.venv-oldest PYTHON=$(PYTHON_OLDEST) CONSTRAINTS=constraints/oldest.txt WARNINGS='-W default'

# Newest versions in the package index.
test-newest:
	rm -f .venv-newest/installed-dev
	$(MAKE) test INSTALL_OPTIONS='--upgrade --upgrade-strategy eager' VENV=.venv-newest PYTHON=$(PYTHON_NEWEST) CONSTRAINTS=constraints/none.txt

test-hermetic: $(VENV)/installed-dev
	$(BIN)/python -m scripts.hermetic

# On a machine with a GPU, in an environment that has torch with CUDA: installs nothing (benchmarks/README.md).
gpu:
	"$(PYTHON)" -m scripts.gpu $(ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(VENV)/installed-dev
	$(BIN)/python -m scripts.lock

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-oldest .venv-newest build dist

$(BIN)/python:
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "smix: expected Python 3.11 or newer as $(PYTHON), got %d.%d; try make PYTHON=python3.12" % sys.version_info[:2])'
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "Installing smix and PyTorch into $(VENV): several GB, a few minutes"
	$(INSTALL) $(INSTALL_OPTIONS) --constraint $(CONSTRAINTS) --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "Installing smix, PyTorch and the development tools into $(VENV): several GB, a few minutes"
	$(INSTALL) $(INSTALL_OPTIONS) --constraint $(CONSTRAINTS) --editable '.[dev]'
	@touch $@ $(VENV)/installed
