# Two commands do everything on a fresh machine: `make demo` and `make test`. They make .venv and install into it first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format clean gpu

demo: .venv/installed
	$(BIN)/smix demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist

# On a machine with a GPU, in an environment that has torch with CUDA: installs nothing (benchmarks/README.md).
gpu:
	$(PYTHON) -m scripts.gpu $(ARGS)

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "smix: expected Python 3.11 or newer as $(PYTHON), got %d.%d; try make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	@echo "Installing smix and PyTorch into .venv: several GB, a few minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	@echo "Installing smix, PyTorch and the tools of development into .venv: several GB, a few minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/installed
