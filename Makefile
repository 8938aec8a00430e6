PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready

.PHONY: run install test test-slow lint bench

run: $(READY)
	$(VENV)/bin/python app.py

install: $(READY)

# torch first, so that the wheel which is already at hand is taken before anything asks for another one.
$(READY): requirements-cpu.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet $$(grep '^torch==' requirements-cpu.txt)
	$(VENV)/bin/pip install --quiet -r requirements-cpu.txt
	touch $(READY)

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

test: lint
	$(VENV)/bin/python -m pytest -m "not slow"

test-slow: $(READY)
	$(VENV)/bin/python -m pytest -m slow

bench: $(READY)
	$(VENV)/bin/python -m benchmarks.decode
	$(VENV)/bin/python -m benchmarks.first_update
	$(VENV)/bin/python -m benchmarks.round
