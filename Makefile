# make bench   set up, run the quick suite, print a summary and the report's path
# make test    set up, run all tests
# ENGINE=docker|netns chooses where the testbed lives; without it the program chooses and says why.

PYTHON_BIN := .venv/bin/python
SUITE ?= quick
ARGS ?=

.PHONY: help setup bench test lint format lock proto compose clean

help:
	@sed -n 's/^# //p' Makefile

setup: .venv/.ready

.venv/.ready: pyproject.toml .ci/requirements.lock .ci/setup .ci/packages
	@.ci/setup

bench: setup
	@.venv/bin/ambientbench run $(SUITE) $(ARGS)

test: setup
	@$(PYTHON_BIN) -m pytest --cov --cov-report=term:skip-covered $(ARGS)

lint: setup
	$(PYTHON_BIN) -m ruff check .
	$(PYTHON_BIN) -m ruff format --check .
	$(PYTHON_BIN) -m mypy

format: setup
	$(PYTHON_BIN) -m ruff check --fix .
	$(PYTHON_BIN) -m ruff format .

# The newest versions that pyproject.toml allows, written down.
lock:
	@.ci/lock

proto: setup
	$(PYTHON_BIN) -m grpc_tools.protoc -I. --python_out=. --pyi_out=. proxy/proto/*.proto

compose: setup
	$(PYTHON_BIN) -m harness.compose --images

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
	find harness proxy -name __pycache__ -type d -prune -exec rm -rf {} +
