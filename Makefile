# make bench   set up, run the quick suite, print a summary and the report's path
# make bench-proxy   the proxy against Envoy and against none, in the same rounds
# make test    set up, run all tests; COV=1: and say which lines they reach, a seventh slower
# make test-ids   every id of the requirements with its test; MUTATE=1: is each guard missed?
# make soak    fuzzing (FUZZ_S=600), 5 GiB, a thousand connections (LOAD_S=1800), neighbours; fails on its figures
# ENGINE=docker|netns chooses where the testbed lives; without it the program chooses and says why.

PYTHON_BIN := .venv/bin/python
SUITE ?= quick
FUZZ_S ?= 600
LOAD_S ?= 1800
ARGS ?=

.PHONY: help setup bench test test-ids soak lint format lock proto compose clean bench-proxy

help:
	@sed -n 's/^# //p' Makefile

setup: .venv/.ready

.venv/.ready: pyproject.toml .ci/requirements.lock .ci/setup .ci/packages
	@.ci/setup

bench: setup
	@.venv/bin/ambientbench run $(SUITE) $(ARGS)

bench-proxy: setup
	@.venv/bin/ambientbench run proxy $(ARGS)

test: setup
	@TESTS=yes .ci/packages || :
	@$(PYTHON_BIN) -m pytest $(if $(COV),--cov --cov-report=term:skip-covered) $(ARGS)

test-ids: setup
	@$(PYTHON_BIN) -m proxy.tests.ids $(if $(MUTATE),--mutate)

soak: setup
	@$(PYTHON_BIN) -m proxy.tests.soak --fuzz-s $(FUZZ_S) --load-s $(LOAD_S) $(ARGS)

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
