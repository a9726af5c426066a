# Two commands for a fresh machine with Python 3.11 and make: `make demo` and `make test`.
# Each makes its own environment in .venv (the first install takes some minutes and about 6 GB).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One allocator setting for every entry of a benchmark: page faults of fresh large tensors dominate small machines.
BENCH_ENV := GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296

.PHONY: demo test slow lint bench install clean

demo: $(VENV)/.installed
	$(BIN)/python -m examples.demo --out runs/demo

test: $(VENV)/.installed-test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/python -m pytest -n 2

slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/mypy

bench: $(VENV)/.installed-test
	$(BENCH_ENV) $(BIN)/python -m benchmarks.run
	$(BENCH_ENV) $(BIN)/python -m benchmarks.denoise
	$(BENCH_ENV) $(BIN)/python -m benchmarks.transforms
	$(BENCH_ENV) $(BIN)/python -m benchmarks.class_inpainting

install: $(VENV)/.installed-test

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -e '.[test]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) runs dist build .mypy_cache .pytest_cache .ruff_cache
