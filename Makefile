# The suite's commands. `make run` and `make test` set up all they need themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
.PHONY: help setup setup-run run test check soak bench lint

help:      ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

setup:     ## only the set-up: Redis, python3-venv, .venv with everything
	@ops/setup.sh dev

setup-run:
	@ops/setup.sh run

run: setup-run  ## the whole suite on the paper exchange [FOR=SECONDS] [EXCHANGE_INFO=FILE] [KLINES=DIR]
	@exec $(PY) -m ops.run_suite $(if $(FOR),--for '$(FOR)') \
	  $(if $(EXCHANGE_INFO),--exchange-info '$(EXCHANGE_INFO)') $(if $(KLINES),--klines '$(KLINES)')

lint: setup
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy
	@find ops tests .ci -type f \( -name '*.sh' -o -name run \) -exec shellcheck -x {} +

test: lint ## everything, set-up included
	@$(PY) -m pytest -n 3 --dist loadfile

check: lint ## the fast part: lint, types, unit tests
	@$(PY) -m pytest -n 2 tests/unit -m 'not slow'

soak: setup  ## the heaviest tests ten times larger, drawn anew, some minutes long [TIMES=10]
	@QUANTUM_SOAK=$(or $(TIMES),10) $(PY) -m pytest -m soak tests

bench: setup  ## benchmarks: figures and ratios side by side, never a verdict
	@$(PY) -m tests.benchmarks
