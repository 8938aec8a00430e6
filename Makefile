PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
REWARDS := .venv-rewards

.PHONY: run install test test-slow test-rewards lint bench

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

# Two workers, each file in one of them: on two cores that halves the time.
test: lint
	$(VENV)/bin/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(READY)
	$(VENV)/bin/python -m pytest -m slow

# ImageReward and HPS v2 against the packages that published them: 6 GB of packages, 9 GB of memory, some minutes.
test-rewards: $(REWARDS)/.ready
	CUDA_VISIBLE_DEVICES= $(REWARDS)/bin/python -m tests.reference_rewards --wheel $(REWARDS)/open_clip_torch-*.whl $(ARGS)

# The wheel of hpsv2 lacks a file that this one holds; it cannot be installed beside image-reward.
$(REWARDS)/.ready: requirements.txt
	$(PYTHON) -m venv $(REWARDS)
	$(REWARDS)/bin/pip install --quiet $$(grep '^torch' requirements.txt)
	$(REWARDS)/bin/pip install --quiet -r requirements.txt
	$(REWARDS)/bin/pip download --quiet --no-deps --dest $(REWARDS) open_clip_torch==3.3.0
	touch $(REWARDS)/.ready

bench: $(READY)
	$(VENV)/bin/python -m benchmarks.decode
	$(VENV)/bin/python -m benchmarks.first_update
	$(VENV)/bin/python -m benchmarks.round
